#include "ltx/page_index.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "unit/ltx/ltx_support.hpp"

namespace litecluster::ltx {
namespace {

using namespace ltx::test;  // NOLINT: the helpers of these tests

TEST(Varint, ComesBackAsItWasWritten) {
  for (unsigned bits = 0; bits <= 64; ++bits) {
    const std::uint64_t value = bits == 0 ? 0 : std::numeric_limits<std::uint64_t>::max() >> (64 - bits);
    Bytes bytes;
    append_varint(bytes, value);
    const auto parsed = parse_varint(bytes);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->value, value);
    EXPECT_EQ(parsed->size, bytes.size());
    EXPECT_FALSE(parse_varint(ByteView(bytes).first(bytes.size() - 1)));
  }
}

TEST(Varint, IsRefusedAbove64Bits) {
  EXPECT_TRUE(parse_varint(from_hex("ffffffffffffffffff01")));
  EXPECT_FALSE(parse_varint(from_hex("ffffffffffffffffff02")));
  EXPECT_FALSE(parse_varint(from_hex("ffffffffffffffffffff01")));
  EXPECT_FALSE(parse_varint({}));
}

std::string refusal_of(std::string_view hex) {
  const auto entries = parse_index(from_hex(hex), 1000, "test");
  return entries ? "" : entries.error().reason();
}

TEST(PageIndex, MayBeEmpty) {
  EXPECT_EQ(refusal_of("00"), "");
}

TEST(PageIndex, IsRefusedWithTheOffsetOfTheBadEntry) {
  EXPECT_EQ(refusal_of(""), "offset 1000: page index: number cut off or too large");
  EXPECT_EQ(refusal_of("01 64 18"), "offset 1003: page index: number cut off or too large");
  EXPECT_EQ(refusal_of("01 64 18 00 00"), "offset 1003: page index ends before its stated size");
  EXPECT_EQ(refusal_of("01 64 18 01 7c 18 00"), "offset 1003: page index: page 1 after 1");
  EXPECT_EQ(refusal_of("01 65 18 00"),
            "offset 1000: page index: page 1 said to be at offset 101, but the frame before it ends at 100");
  EXPECT_EQ(refusal_of("01 64 06 00"), "offset 1000: page index: page 1 said to take 6 bytes");
  EXPECT_EQ(refusal_of("01 64 ffffffff0f 00"),
            "offset 1000: page index: page 1 said to take 4294967295 bytes");
  EXPECT_EQ(refusal_of("8080808010 64 18 00"), "offset 1000: page index: page number 4294967296");
}

}  // namespace
}  // namespace litecluster::ltx
