#include "base/bytes.hpp"

#include <gtest/gtest.h>

namespace litecluster::base {
namespace {

TEST(ByteReader, ReadsBigEndianNumbersInOrder) {
  Bytes bytes;
  append_big_endian<std::uint32_t>(bytes, 0x01020304);
  append_big_endian<std::uint64_t>(bytes, 0xF0E0D0C0B0A09080ULL);
  append_big_endian<std::uint16_t>(bytes, 0xBEEF);
  ByteReader reader(bytes);
  EXPECT_EQ(reader.read_big_endian<std::uint32_t>(), 0x01020304U);
  EXPECT_EQ(reader.read_big_endian<std::uint64_t>(), 0xF0E0D0C0B0A09080ULL);
  EXPECT_EQ(reader.read_big_endian<std::uint16_t>(), 0xBEEF);
  EXPECT_EQ(reader.remaining(), 0U);
  EXPECT_FALSE(reader.failed());
}

TEST(ByteReader, CannotOverrunAndStaysFailed) {
  const Bytes bytes(6);
  ByteReader reader(bytes);
  EXPECT_TRUE(reader.read_big_endian<std::uint32_t>().has_value());
  EXPECT_FALSE(reader.read_big_endian<std::uint32_t>().has_value());
  EXPECT_TRUE(reader.failed());
  // Two bytes are left, but after a failure nothing is read from the middle of a field.
  EXPECT_FALSE(reader.read_big_endian<std::uint16_t>().has_value());
  EXPECT_FALSE(reader.take(static_cast<std::size_t>(-1)).has_value());
}

TEST(Bytes, LoadsLittleEndian) {
  const Bytes bytes = {std::byte{0x78}, std::byte{0x56}, std::byte{0x34}, std::byte{0x12}};
  EXPECT_EQ(load_little_endian<std::uint32_t>(bytes.data()), 0x12345678U);
}

}  // namespace
}  // namespace litecluster::base
