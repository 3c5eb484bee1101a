#include "wal/format.hpp"

#include <gtest/gtest.h>

namespace litecluster::wal {
namespace {

Header sample(ChecksumOrder order) {
  return {.order = order,
          .page_size = 4096,
          .checkpoint_sequence = 5,
          .salts = {.first = 0xDEAD'BEEF, .second = 42},
          .checksum = {}};
}

TEST(WalHeader, SurvivesBytesInBothOrders) {
  for (const auto order : {ChecksumOrder::little_endian, ChecksumOrder::big_endian}) {
    const auto parsed = parse_header(serialize(sample(order)));
    ASSERT_TRUE(parsed);
    Header expected = sample(order);
    expected.checksum = parsed->checksum;
    EXPECT_EQ(*parsed, expected);
  }
}

TEST(WalHeader, IsRefusedWithAnyBitFlipped) {
  const auto bytes = serialize(sample(ChecksumOrder::little_endian));
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    auto damaged = bytes;
    damaged[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(parse_header(damaged)) << bit;
  }
}

TEST(WalHeader, IsRefusedWhenCutOffOrOfAnImpossiblePageSize) {
  const auto bytes = serialize(sample(ChecksumOrder::big_endian));
  EXPECT_FALSE(parse_header(base::ByteView(bytes).first(31)));
  for (const std::uint32_t size : {0U, 256U, 1000U, 131072U}) {
    Header header = sample(ChecksumOrder::big_endian);
    header.page_size = size;
    EXPECT_FALSE(parse_header(serialize(header))) << size;
  }
}

TEST(WalFrames, LieOneBehindTheOther) {
  EXPECT_EQ(frame_offset(1, 4096), 32U);
  EXPECT_EQ(frame_offset(3, 4096), 32U + 2 * 4120);
  EXPECT_EQ(frames_before(frame_offset(3, 4096), 4096), 2U);
  EXPECT_EQ(frames_before(0, 4096), 0U);
}

}  // namespace
}  // namespace litecluster::wal
