#include "ltx/crc64.hpp"

#include <gtest/gtest.h>

#include <random>

namespace litecluster::ltx {
namespace {

using Function = std::uint64_t (*)(base::ByteView, std::uint64_t);

class Crc64 : public testing::TestWithParam<Function> {};

base::Bytes random_bytes(std::size_t size) {
  std::mt19937_64 random(7);
  base::Bytes bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

/// One bit at a time, straight from the definition.
std::uint64_t crc_by_definition(base::ByteView bytes, std::uint64_t previous) {
  std::uint64_t crc = ~previous;
  for (const std::byte byte : bytes) {
    crc ^= std::to_integer<std::uint64_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? 0xD800'0000'0000'0000ULL : 0);
  }
  return ~crc;
}

TEST_P(Crc64, HasTheCheckValueOfGoIso) {
  EXPECT_EQ(GetParam()(base::as_bytes("123456789"), 0), 0xB909'56C7'75A4'1001ULL);
}

TEST_P(Crc64, OfNothingIsZero) {
  EXPECT_EQ(GetParam()({}, 0), 0U);
}

TEST_P(Crc64, FollowsTheDefinitionAtEveryLengthAndAlignment) {
  const base::Bytes bytes = random_bytes(1400);
  for (std::size_t size = 0; size <= 1300; ++size) {
    const base::ByteView piece = base::ByteView(bytes).subspan(size % 67, size);
    ASSERT_EQ(GetParam()(piece, size), crc_by_definition(piece, size)) << size;
  }
}

TEST_P(Crc64, IsTheSameForAllWaysToCutTheInput) {
  const base::Bytes bytes = random_bytes(1000);
  const std::uint64_t whole = GetParam()(bytes, 0);
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    const base::ByteView view(bytes);
    ASSERT_EQ(GetParam()(view.subspan(cut), GetParam()(view.first(cut), 0)), whole) << cut;
  }
}

INSTANTIATE_TEST_SUITE_P(AllWays, Crc64, testing::Values(&crc64, &crc64_clmul, &crc64_portable));

}  // namespace
}  // namespace litecluster::ltx
