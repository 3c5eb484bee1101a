#include "ltx/header.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "unit/ltx/ltx_support.hpp"

namespace litecluster::ltx {
namespace {

Header full_header() {
  Header header;
  header.no_checksum = false;
  header.page_size = 65536;
  header.commit = 7;
  header.min_txid = Txid(5);
  header.max_txid = Txid(9);
  header.timestamp = base::WallTime(std::chrono::milliseconds(1795379006430));
  header.pre_apply = Checksum(123);
  header.wal_offset = 32;
  header.wal_size = 4152;
  header.wal_salt1 = 1;
  header.wal_salt2 = 2;
  header.node_id = 3;
  return header;
}

TEST(LtxHeader, ComesBackAsItWasWritten) {
  const Header header = full_header();
  ASSERT_TRUE(validate(header, "test"));
  const auto parsed = parse_header(serialize(header), "test");
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(*parsed, header);
}

TEST(LtxHeader, TakesEveryLegalPageSizeAndNoOther) {
  for (std::uint32_t size = 0; size <= 70'000; ++size) {
    Header header = full_header();
    header.page_size = size;
    const bool legal = size == 512 || size == 1024 || size == 2048 || size == 4096 || size == 8192 ||
                       size == 16384 || size == 32768 || size == 65536;
    ASSERT_EQ(validate(header, "test").has_value(), legal) << size;
  }
}

TEST(LtxHeader, IsRefusedWhenCutOff) {
  const auto bytes = serialize(full_header());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto parsed = parse_header(base::ByteView(bytes).first(size), "some.ltx");
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().message(), "read LTX header of some.ltx: offset " + std::to_string(size) +
                                            ": truncated header: " + std::to_string(size) + " of 100 bytes");
  }
}

TEST(LtxHeader, AcceptsAnythingInReservedBytes) {
  auto bytes = serialize(full_header());
  for (std::size_t offset = 80; offset < 100; ++offset) bytes[offset] = std::byte{0xFF};
  EXPECT_TRUE(parse_header(bytes, "test"));
}

struct Broken {
  const char* name;
  std::function<void(Header&)> change;
  const char* reason;
};
void PrintTo(const Broken& broken, std::ostream* out) {
  *out << broken.name;
}

class BrokenHeader : public testing::TestWithParam<Broken> {};

TEST_P(BrokenHeader, IsNeitherWrittenNorRead) {
  Header header = full_header();
  GetParam().change(header);
  const auto valid = validate(header, "test");
  ASSERT_FALSE(valid);
  EXPECT_EQ(valid.error().code(), ErrorCode::invalid_argument);
  EXPECT_NE(valid.error().reason().find(GetParam().reason), std::string::npos) << valid.error().message();
  const auto parsed = parse_header(serialize(header), "test");
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().code(), ErrorCode::corrupt);
  EXPECT_NE(parsed.error().reason().find("offset "), std::string::npos);
  EXPECT_NE(parsed.error().reason().find(GetParam().reason), std::string::npos) << parsed.error().message();
}

INSTANTIATE_TEST_SUITE_P(
    AllRules, BrokenHeader,
    testing::Values(Broken{"page size", [](Header& h) { h.page_size = 1000; }, "invalid page size 1000"},
                    Broken{"no min", [](Header& h) { h.min_txid = Txid(0); }, "min TXID is 0"},
                    Broken{"no max", [](Header& h) { h.max_txid = Txid(0); }, "is less than min TXID"},
                    Broken{"max below min", [](Header& h) { h.max_txid = Txid(4); }, "is less than min TXID"},
                    Broken{"commit", [](Header& h) { h.commit = 0xFFFF'FFFF; }, "SQLite's limit"},
                    Broken{"WAL offset", [](Header& h) { h.wal_offset = -1; }, "WAL offset -1 is negative"},
                    Broken{"WAL size", [](Header& h) { h.wal_size = -5; }, "WAL size -5 is negative"},
                    Broken{"salt without offset",
                           [](Header& h) {
                             h.wal_offset = 0;
                             h.wal_size = 0;
                           },
                           "salts are set but the WAL offset is 0"},
                    Broken{"size without offset",
                           [](Header& h) {
                             h.wal_offset = 0;
                             h.wal_salt1 = 0;
                             h.wal_salt2 = 0;
                           },
                           "but the WAL offset is 0"},
                    Broken{"snapshot with pre-apply", [](Header& h) { h.min_txid = Txid(1); },
                           "a snapshot must not have a pre-apply checksum"},
                    Broken{"no checksums with pre-apply", [](Header& h) { h.no_checksum = true; },
                           "pre-apply checksum not allowed"},
                    Broken{"checksums without pre-apply", [](Header& h) { h.pre_apply.reset(); },
                           "pre-apply checksum missing"},
                    Broken{"deletion without checksums",
                           [](Header& h) {
                             h.no_checksum = true;
                             h.pre_apply.reset();
                             h.commit = 0;
                           },
                           "0 pages needs database checksums"}));

std::string refusal_with(std::size_t offset, std::byte value) {
  auto bytes = serialize(full_header());
  bytes[offset] = value;
  const auto parsed = parse_header(bytes, "test");
  return parsed ? "" : parsed.error().reason();
}

TEST(LtxHeader, IsRefusedWithoutItsMagic) {
  for (std::size_t offset = 0; offset < 4; ++offset) {
    EXPECT_EQ(refusal_with(offset, std::byte{0}), "offset 0: invalid LTX file: it does not start with LTX1");
  }
}

TEST(LtxHeader, IsRefusedWithUnknownFlagsAndNamesThem) {
  EXPECT_EQ(refusal_with(7, std::byte{0x06}), "offset 4: unknown header flags 0x00000006");
  EXPECT_EQ(refusal_with(4, std::byte{0x80}), "offset 4: unknown header flags 0x80000000");
}

TEST(LtxHeader, IsRefusedWhenThePreApplyChecksumLacksItsFlag) {
  EXPECT_EQ(refusal_with(40, std::byte{0}), "offset 40: invalid pre-apply checksum 000000000000007b");
}

TEST(LtxFileName, IsLitestreams) {
  EXPECT_EQ(file_name(Txid(1), Txid(0x1F)), "0000000000000001-000000000000001f.ltx");
}

}  // namespace
}  // namespace litecluster::ltx
