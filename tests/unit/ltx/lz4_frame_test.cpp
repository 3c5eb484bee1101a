#include "ltx/lz4_frame.hpp"

#include <gtest/gtest.h>
#include <lz4frame.h>

#include "ltx/page_codec.hpp"
#include "unit/ltx/ltx_support.hpp"

namespace litecluster::ltx {
namespace {

using namespace ltx::test;  // NOLINT: the helpers of these tests

Bytes frame_by_liblz4(ByteView content, const LZ4F_preferences_t& preferences) {
  Bytes frame(LZ4F_compressFrameBound(content.size(), &preferences));
  frame.resize(LZ4F_compressFrame(frame.data(), frame.size(), content.data(), content.size(), &preferences));
  return frame;
}

LZ4F_preferences_t legacy_preferences() {
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.blockSizeID = LZ4F_max64KB;
  preferences.frameInfo.blockMode = LZ4F_blockIndependent;
  preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
  return preferences;
}

Bytes half_random(std::size_t size) {
  std::mt19937 random(3);
  Bytes bytes(size);
  for (std::size_t index = 0; index < size / 2; ++index) bytes[index] = static_cast<std::byte>(random());
  return bytes;
}

Bytes all_random(std::size_t size) {
  std::mt19937 random(4);
  Bytes bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

Bytes write(ByteView content) {
  Bytes frame(content.size() + lz4_frame_overhead);
  frame.resize(write_lz4_frame(content, frame));
  return frame;
}

TEST(Lz4Frame, OfAPageEqualsTheKnownBytes) {
  const Bytes known = from_hex(
      "00000001 0000 04224d18 64 40 a7 0c000000 1f 31 01 00 ff e8 50 31 31 31 31 31 00000000 5e2d2198");
  Bytes frame(page_frame_size_max(512));
  frame.resize(pack_page(PageEncoding::frame, PageNo(1), filled(512, '1'), frame));
  EXPECT_EQ(frame, known);

  Bytes page(512);
  const auto size = unpack_page(0, ByteView(known).subspan(page_header_size), page);
  ASSERT_TRUE(size) << size.error().reason;
  EXPECT_EQ(*size, known.size() - page_header_size);
  EXPECT_EQ(page, filled(512, '1'));
}

TEST(Lz4Frame, EqualsThatOfLiblz4) {
  for (const std::size_t size : {512U, 1024U, 4096U, 65536U}) {
    EXPECT_EQ(write(half_random(size)), frame_by_liblz4(half_random(size), legacy_preferences())) << size;
    EXPECT_EQ(write(all_random(size)), frame_by_liblz4(all_random(size), legacy_preferences())) << size;
  }
}

TEST(Lz4Frame, IsReadWithWhateverFlagsItWasWritten) {
  for (unsigned flags = 0; flags < 8; ++flags) {
    LZ4F_preferences_t preferences = legacy_preferences();
    if ((flags & 1U) != 0) preferences.frameInfo.blockMode = LZ4F_blockLinked;
    if ((flags & 2U) != 0) preferences.frameInfo.blockChecksumFlag = LZ4F_blockChecksumEnabled;
    if ((flags & 4U) != 0) preferences.frameInfo.contentSize = 8192;
    const Bytes content = half_random(8192);
    Bytes frame = frame_by_liblz4(content, preferences);
    const std::size_t size = frame.size();
    frame.resize(size + 10);  // what follows is not its business
    Bytes page(8192);
    const auto read = read_lz4_frame(frame, page);
    ASSERT_TRUE(read) << flags << ": " << read.error().reason;
    EXPECT_EQ(*read, size);
    EXPECT_EQ(page, content);
  }
}

/// Two linked blocks, the second of which refers to the first.
TEST(Lz4Frame, OfSeveralLinkedBlocksIsRead) {
  LZ4F_preferences_t preferences = legacy_preferences();
  preferences.frameInfo.blockMode = LZ4F_blockLinked;
  preferences.autoFlush = 1;
  LZ4F_cctx* context = nullptr;
  ASSERT_FALSE(LZ4F_isError(LZ4F_createCompressionContext(&context, LZ4F_VERSION)));
  const Bytes half = all_random(2048);
  Bytes frame(16384);
  std::size_t size = LZ4F_compressBegin(context, frame.data(), frame.size(), &preferences);
  for (int part = 0; part < 2; ++part) {
    size += LZ4F_compressUpdate(context, frame.data() + size, frame.size() - size, half.data(), half.size(),
                                nullptr);
  }
  size += LZ4F_compressEnd(context, frame.data() + size, frame.size() - size, nullptr);
  LZ4F_freeCompressionContext(context);
  frame.resize(size);
  EXPECT_LT(size, 2500U);

  Bytes page(4096);
  const auto read = read_lz4_frame(frame, page);
  ASSERT_TRUE(read) << read.error().reason;
  EXPECT_EQ(*read, size);
  EXPECT_TRUE(std::equal(half.begin(), half.end(), page.begin() + 2048));
}

std::string refusal_of(ByteView frame, std::size_t page_size) {
  Bytes page(page_size);
  const auto read = read_lz4_frame(frame, page);
  return read ? "" : read.error().reason;
}

TEST(Lz4Frame, IsRefusedWhenCutOffAnywhere) {
  const Bytes frame = write(half_random(512));
  for (std::size_t size = 0; size < frame.size(); ++size) {
    EXPECT_EQ(refusal_of(ByteView(frame).first(size), 512), "truncated LZ4 frame") << size;
  }
}

TEST(Lz4Frame, IsRefusedWithoutContentChecksum) {
  LZ4F_preferences_t preferences = legacy_preferences();
  preferences.frameInfo.contentChecksumFlag = LZ4F_noContentChecksum;
  EXPECT_EQ(refusal_of(frame_by_liblz4(half_random(512), preferences), 512),
            "unsupported LZ4 frame flags 0x60");
}

TEST(Lz4Frame, IsRefusedWhenItsContentIsNotOnePage) {
  EXPECT_EQ(refusal_of(write(half_random(512)), 1024), "page unpacks to 512 bytes instead of 1024");
  EXPECT_NE(refusal_of(write(half_random(1024)), 512), "");
  EXPECT_NE(refusal_of(write(all_random(1024)), 512), "");
  LZ4F_preferences_t preferences = legacy_preferences();
  preferences.frameInfo.contentSize = 1024;
  EXPECT_EQ(refusal_of(frame_by_liblz4(half_random(1024), preferences), 512),
            "LZ4 frame content size is not the page size");
}

TEST(Lz4Frame, NoticesEveryFlippedBit) {
  const Bytes content = half_random(512);
  const Bytes good = write(content);
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    Bytes frame = good;
    frame[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    Bytes page(512);
    if (read_lz4_frame(frame, page)) {
      EXPECT_EQ(page, content) << bit;
    }
  }
}

}  // namespace
}  // namespace litecluster::ltx
