// Files that genuine Litestream 0.5.17 wrote, accepted or rejected (tests/data/ltx).
#include <gtest/gtest.h>

#include "ltx/database_builder.hpp"
#include "ltx/decoder.hpp"
#include "ltx/page_index.hpp"
#include "support/temporary_directory.hpp"
#include "unit/ltx/ltx_support.hpp"

namespace litecluster::ltx {
namespace {

using namespace ltx::test;  // NOLINT: the helpers of these tests

/// A complete file, written by Litestream 0.5.17's VFS.
constexpr std::string_view worked_example =
    "4c54 5831 0000 0002 0000 1000 0000 0002 0000 0000 0000 0001 0000 0000 0000 0001"
    "0000 01a2 04ed 8bde 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000"
    "0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000"
    "0000 0000 0000 0001 0001 0000 009b f612 5351 4c69 7465 2066 6f72 6d61 7420 3300"
    "1000 0101 0040 2020 0000 0001 0000 0002 0001 0055 0100 0000 040e 0002 1000 0f02"
    "000d ff00 0100 2e63 010d 0000 0001 0fc2 000f c22f 000d 0f02 00ff ffff ffff ffff"
    "ffff ffff ffff ffff 30f0 2f3c 0106 170f 0f01 6974 6162 6c65 7474 0243 5245 4154"
    "4520 5441 424c 4520 7428 6964 2069 6e74 6567 6572 2070 7269 6d61 7279 206b 6579"
    "2c20 7320 7465 7874 2900 0000 0200 0100 0000 2e8f 0d00 0000 0010 0000 0200 ffff"
    "ffff ffff ffff ffff ffff ffff ffe0 0002 0000 0200 c000 0000 0000 0000 0000 0000"
    "0000 0000 0000 0001 64a5 0102 8902 3800 0000 0000 0000 0009 0000 0000 0000 0000"
    "a9d3 c556 0cbe 6b15";

TEST(WorkedExample, IsReadByteByByte) {
  const Bytes bytes = from_hex(worked_example);
  ASSERT_EQ(bytes.size(), 360U);
  EXPECT_EQ(bytes, sample("genuine-v0517-real1.ltx"));
  const auto decoded = decode(bytes);
  ASSERT_TRUE(decoded) << decoded.error().message();

  const Header& header = decoded->info.header;
  EXPECT_TRUE(header.no_checksum);
  EXPECT_TRUE(header.is_snapshot());
  EXPECT_EQ(header.page_size, 4096U);
  EXPECT_EQ(header.commit, 2U);
  EXPECT_EQ(header.min_txid, Txid(1));
  EXPECT_EQ(header.max_txid, Txid(1));
  EXPECT_EQ(header.timestamp.time_since_epoch().count(), 1795379006430);
  EXPECT_EQ(header.pre_apply, std::nullopt);
  EXPECT_EQ(header.wal_offset, 0);
  EXPECT_EQ(decoded->info.trailer.post_apply, std::nullopt);
  EXPECT_EQ(to_string(decoded->info.trailer.file), "a9d3c5560cbe6b15");
  EXPECT_EQ(decoded->info.size_bytes, 360U);
  EXPECT_EQ(decoded->info.page_count, 2U);
  EXPECT_EQ(base::as_text(decoded->pages.at(1)).substr(0, 15), "SQLite format 3");
  EXPECT_EQ(decoded->pages.at(2)[0], std::byte{0x0D});
}

TEST(WorkedExample, HeaderHasTheKnownChecksumAndIsWrittenTheSame) {
  const Bytes bytes = from_hex(worked_example);
  const ByteView head = ByteView(bytes).first(header_size);
  EXPECT_EQ(crc64(head), 0x4BFF'72AD'29D0'FAA5ULL);
  const auto written = serialize(*parse_header(head, "test"));
  EXPECT_TRUE(std::ranges::equal(written, head));
}

TEST(WorkedExample, IndexNamesBothFrames) {
  const Bytes bytes = from_hex(worked_example);
  const auto entries = parse_index(ByteView(bytes).subspan(0x147, 9), 0x147, "test");
  ASSERT_TRUE(entries) << entries.error().message();
  EXPECT_EQ(*entries, (std::vector<IndexEntry>{{PageNo(1), 100, 165}, {PageNo(2), 265, 56}}));
}

TEST(WorkedExample, ComesOutEquivalentWhenWrittenAgain) {
  const auto decoded = decode(from_hex(worked_example));
  const auto again = decode(encode(decoded->info.header, decoded->pages));
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->pages, decoded->pages);
  EXPECT_EQ(again->info.header, decoded->info.header);
}

class GoodSample : public testing::TestWithParam<const char*> {};

TEST_P(GoodSample, Verifies) {
  auto source = FileSource::open(sample_path(GetParam()));
  ASSERT_TRUE(source);
  const auto info = verify(*source);
  ASSERT_TRUE(info) << info.error().message();
  EXPECT_EQ(info->size_bytes, std::filesystem::file_size(sample_path(GetParam())));
}

INSTANTIATE_TEST_SUITE_P(Samples, GoodSample,
                         testing::Values("genuine-v0517-real1.ltx", "genuine-v0517-real3.ltx",
                                         "genuine-v0517-real4.ltx", "lab-accepted-blk1.ltx",
                                         "lab-accepted-blk2.ltx", "lab-accepted-frm1.ltx",
                                         "lab-accepted-frm2.ltx"));

TEST(GenuineSamples, HoldTheStatedPages) {
  const auto third = decode(sample("genuine-v0517-real3.ltx"));
  ASSERT_TRUE(third);
  EXPECT_EQ(third->info.header.min_txid, Txid(3));
  EXPECT_EQ(third->info.header.max_txid, Txid(3));
  EXPECT_EQ(third->pages.size(), 2U);
  EXPECT_TRUE(third->pages.contains(1));
  EXPECT_TRUE(third->pages.contains(30));
  const auto fourth = decode(sample("genuine-v0517-real4.ltx"));
  ASSERT_TRUE(fourth);
  EXPECT_EQ(fourth->info.header.max_txid, Txid(4));
  EXPECT_EQ(fourth->pages.size(), 16U);
}

class AcceptedByLitestream : public testing::TestWithParam<const char*> {
 protected:
  static Status apply(DatabaseBuilder& builder, const std::string& name) {
    auto source = FileSource::open(sample_path(name));
    if (!source) return std::unexpected(source.error());
    const auto info = builder.apply(*source);
    if (!info) return std::unexpected(info.error());
    return {};
  }
};

TEST_P(AcceptedByLitestream, ExpandsAndAppliesToTheOriginalDatabase) {
  const litecluster::test::TemporaryDirectory directory;
  const std::string kind = GetParam();
  auto builder = DatabaseBuilder::create(directory / "db");
  ASSERT_TRUE(builder);
  ASSERT_TRUE(apply(*builder, "lab-accepted-" + kind + "1.ltx"));
  ASSERT_TRUE(builder->commit());
  EXPECT_EQ(*base::read_file(directory / "db", 1U << 20U), sample("s1.db"));

  auto update = DatabaseBuilder::update(directory / "db");
  ASSERT_TRUE(update);
  ASSERT_TRUE(apply(*update, "lab-accepted-" + kind + "2.ltx"));
  ASSERT_TRUE(update->commit());
  EXPECT_EQ(*base::read_file(directory / "db", 1U << 20U), sample("s2.db"));
}

INSTANTIATE_TEST_SUITE_P(BothEncodings, AcceptedByLitestream, testing::Values("blk", "frm"));

struct Rejected {
  const char* name;
  const char* reason;
  Acceptance acceptance;
};

void PrintTo(const Rejected& rejected, std::ostream* out) {
  *out << rejected.name;
}

class RejectedByLitestream : public testing::TestWithParam<Rejected> {};

TEST_P(RejectedByLitestream, IsRefusedForTheSameReason) {
  auto source = FileSource::open(sample_path(GetParam().name));
  ASSERT_TRUE(source);
  const auto info = verify(*source, GetParam().acceptance);
  ASSERT_FALSE(info);
  EXPECT_EQ(info.error().code(), ErrorCode::corrupt);
  EXPECT_NE(info.error().message().find(GetParam().name), std::string::npos) << info.error().message();
  EXPECT_NE(info.error().reason().find(GetParam().reason), std::string::npos) << info.error().message();
}

TEST_P(RejectedByLitestream, NeverTouchesATarget) {
  if (GetParam().acceptance == Acceptance::litestream) return;  // a good file, for all but Litestream
  const litecluster::test::TemporaryDirectory directory;
  ASSERT_TRUE(base::write_file_durably(directory / "db", sample("s1.db")));
  {
    auto builder = DatabaseBuilder::update(directory / "db");
    ASSERT_TRUE(builder);
    auto source = FileSource::open(sample_path(GetParam().name));
    EXPECT_FALSE(builder->apply(*source));
    EXPECT_FALSE(builder->commit());
  }
  EXPECT_EQ(*base::read_file(directory / "db", 1U << 20U), sample("s1.db"));
  const std::filesystem::directory_iterator all(directory.path());
  EXPECT_EQ(std::distance(begin(all), end(all)), 1);
}

INSTANTIATE_TEST_SUITE_P(
    Samples, RejectedByLitestream,
    testing::Values(Rejected{"lab-rejected-bad_crc.ltx", "file checksum mismatch", Acceptance::any},
                    Rejected{"lab-rejected-bad_cksum.ltx", "post-apply checksum not allowed",
                             Acceptance::litestream},
                    Rejected{"lab-rejected-bad_short.ltx",
                             "the snapshot ends at page 29 but its commit is 30", Acceptance::any}));

// The file carries real database checksums, which Litestream cannot take but the format allows.
TEST(ChecksummedSample, IsReadAndItsDatabaseChecksumHolds) {
  const Bytes bytes = sample("lab-rejected-bad_cksum.ltx");
  const auto decoded = decode(bytes);
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_FALSE(decoded->info.header.no_checksum);
  EXPECT_EQ(decoded->info.trailer.post_apply, checksum_of(decoded->pages));
  ASSERT_TRUE(decoded->info.position());
  EXPECT_EQ(decoded->info.position()->txid, Txid(2));
}

TEST(ChecksummedSample, BecomesAcceptableToLitestreamByCompaction) {
  const auto compacted = try_compact({sample("lab-rejected-bad_cksum.ltx")});
  ASSERT_TRUE(compacted) << compacted.error().message();
  MemorySource source(*compacted, "test.ltx");
  EXPECT_TRUE(verify(source, Acceptance::litestream));
}

}  // namespace
}  // namespace litecluster::ltx
