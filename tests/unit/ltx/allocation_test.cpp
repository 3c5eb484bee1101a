// No input makes the codec allocate more than the input justifies: the largest single allocation while
// reading hostile files is bounded by a page, a window, or the size of the file.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "ltx/page_reader.hpp"
#include "ltx/verified_object.hpp"
#include "unit/ltx/ltx_support.hpp"

namespace {
std::atomic<std::size_t> largest_allocation = 0;
std::atomic<std::size_t> allocation_count = 0;
}  // namespace

// Not inlined: the compiler would see malloc() meet delete.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocation_count;
  if (size > largest_allocation) largest_allocation = size;
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t /*size*/) noexcept {
  std::free(memory);
}

namespace litecluster::ltx {
namespace {

using namespace ltx::test;  // NOLINT: the helpers of these tests

Bytes file_claiming(std::size_t offset, std::uint32_t value) {
  Bytes file = encode(make_header(2, 2, 9, 512), {{1, filled(512, 'a')}, {5, filled(512, 'b')}});
  base::store_big_endian(file.data() + offset % (file.size() - sizeof value + 1), value);
  return file;
}

std::size_t largest_while_reading(ByteView file) {
  largest_allocation = 0;
  MemorySource source(file, "test.ltx");
  static_cast<void>(verify(source));
  TricklingSource slow(file, 50);
  static_cast<void>(verify(slow));
  MemoryRandomAccess access(file, "test.ltx");
  if (auto reader = PageReader::open(access)) static_cast<void>(reader->read_page(PageNo(1)));
  Bytes output;
  BytesSink sink(output);
  MemorySource input(file, "test.ltx");
  Source* inputs = &input;
  static_cast<void>(compact({&inputs, 1}, sink));
  return largest_allocation;
}

constexpr std::size_t window_size = 66 * 1024;  // what a stream is read into: any one page frame fits

TEST(Allocation, DoesNotFollowSizesThatAFileClaims) {
  for (const std::uint32_t value : {0xFFFF'FFFFU, 0x7FFF'FFFFU, 0x4000'0000U, 0x0100'0000U}) {
    for (std::size_t offset = 8; offset + 4 <= 250; ++offset) {
      const Bytes file = file_claiming(offset, value);
      ASSERT_LE(largest_while_reading(file), window_size) << offset << " " << value;
    }
  }
}

TEST(Allocation, DoesNotFollowTheSizeFieldOfTheIndex) {
  Bytes file = encode(make_header(2, 2, 9, 512), {{1, filled(512, 'a')}});
  for (unsigned bit = 0; bit < 64; ++bit) {
    base::store_big_endian(file.data() + file.size() - 24, std::uint64_t{1} << bit);
    ASSERT_LE(largest_while_reading(file), window_size) << bit;
  }
}

TEST(Allocation, OfAReaderIsBoundedByPageAndWindowForALegacyFrameThatClaimsLargeBlocks) {
  // LZ4 frame with blocks of 4 MiB (descriptor byte 0x70), of which one block claims 4 MiB.
  Bytes file = encode(make_header(2, 2, 9, 512), {{1, filled(512, 'a')}}, PageEncoding::frame);
  file[111] = std::byte{0x70};
  ASSERT_LE(largest_while_reading(file), window_size);
  base::store_big_endian(file.data() + 113, 0x0000'4000U);
  ASSERT_LE(largest_while_reading(file), window_size);
}

TEST(Allocation, OfAnEncoderStopsOnceItsBuffersAreThere) {
  const Bytes page = filled(4096, 'x');
  Bytes bytes;
  BytesSink sink(bytes);
  Encoder encoder;
  const Header header = make_header(2, 2, 100, 4096);
  const auto write_file = [&] {
    bytes.clear();
    bool fine = encoder.begin(header, sink).has_value();
    for (const std::uint32_t number : {1U, 5U, 100U}) {
      fine = encoder.add_page(PageNo(number), page).has_value() && fine;
    }
    return encoder.finish().has_value() && fine;
  };
  ASSERT_TRUE(write_file());
  allocation_count = 0;
  bool fine = true;
  for (int round = 0; round < 100; ++round) fine = write_file() && fine;
  const std::size_t count = allocation_count;
  EXPECT_TRUE(fine);
  EXPECT_EQ(count, 0U);
}

}  // namespace
}  // namespace litecluster::ltx
