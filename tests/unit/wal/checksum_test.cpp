#include "wal/checksum.hpp"

#include <gtest/gtest.h>

namespace litecluster::wal {
namespace {

base::Bytes words(std::initializer_list<std::uint32_t> values) {
  base::Bytes bytes;
  for (const std::uint32_t value : values) base::append_big_endian(bytes, value);
  return bytes;
}

TEST(WalChecksum, AddsPairsOfWordsAsTheFormatSays) {
  // s0 += x0 + s1; s1 += x1 + s0, by hand: (1, 3), then (1+3+3, 3+4+7).
  const auto sum = continue_checksum({}, words({1, 2, 3, 4}), ChecksumOrder::big_endian);
  EXPECT_EQ(sum, (Checksum{.first = 7, .second = 14}));
}

TEST(WalChecksum, DependsOnTheOrderOfBytes) {
  const auto bytes = words({0x0100'0000, 0x0200'0000});
  EXPECT_EQ(continue_checksum({}, bytes, ChecksumOrder::little_endian), (Checksum{.first = 1, .second = 3}));
  EXPECT_NE(continue_checksum({}, bytes, ChecksumOrder::big_endian), (Checksum{.first = 1, .second = 3}));
}

TEST(WalChecksum, ContinuesWhereItStopped) {
  const auto bytes = words({9, 8, 7, 6, 5, 4, 0xFFFF'FFFF, 0xFFFF'FFFE});
  for (const auto order : {ChecksumOrder::little_endian, ChecksumOrder::big_endian}) {
    const auto whole = continue_checksum({}, bytes, order);
    const auto first = continue_checksum({}, base::ByteView(bytes).first(8), order);
    EXPECT_EQ(continue_checksum(first, base::ByteView(bytes).subspan(8), order), whole);
  }
}

}  // namespace
}  // namespace litecluster::wal
