#include "ltx/page_reader.hpp"

#include <gtest/gtest.h>

#include "unit/ltx/ltx_support.hpp"

namespace litecluster::ltx {
namespace {

using namespace ltx::test;  // NOLINT: the helpers of these tests

TEST(PageReader, FindsEachPageOfAGenuineFile) {
  const Bytes file = sample("genuine-v0517-real4.ltx");
  const auto decoded = decode(file);
  MemoryRandomAccess access(file, "test.ltx");
  auto reader = PageReader::open(access);
  ASSERT_TRUE(reader) << reader.error().message();
  EXPECT_EQ(reader->header(), decoded->info.header);
  EXPECT_EQ(reader->trailer(), decoded->info.trailer);
  EXPECT_EQ(reader->entries().size(), 16U);
  for (auto page = decoded->pages.rbegin(); page != decoded->pages.rend(); ++page) {
    EXPECT_TRUE(reader->contains(PageNo(page->first)));
    const auto bytes = reader->read_page(PageNo(page->first));
    ASSERT_TRUE(bytes) << bytes.error().message();
    EXPECT_TRUE(std::ranges::equal(*bytes, page->second));
  }
  EXPECT_EQ(reader->read_page(PageNo(4'000'000)).error().code(), ErrorCode::not_found);
}

TEST(PageReader, ReadsAnIndexThatIsLongerThanTheFirstReadOfTheEnd) {
  Pages pages;
  for (std::uint32_t number = 1; number <= 8000; ++number) pages[number * 2] = filled(512, number % 251U);
  for (const auto encoding : {PageEncoding::block, PageEncoding::frame}) {
    const Bytes file = encode(make_header(2, 2, 16000), pages, encoding);
    MemoryRandomAccess access(file, "test.ltx");
    auto reader = PageReader::open(access);
    ASSERT_TRUE(reader) << reader.error().message();
    EXPECT_EQ(reader->entries().size(), 8000U);
    EXPECT_FALSE(reader->contains(PageNo(3)));
    const auto page = reader->read_page(PageNo(7000));
    ASSERT_TRUE(page);
    EXPECT_EQ((*page)[0], static_cast<std::byte>(3500 % 251));
  }
}

TEST(PageReader, RefusesEveryTruncationOfASmallFile) {
  const Bytes file = encode(make_header(2, 2, 9), {{1, filled(512, 'a')}, {7, filled(512, 'b')}});
  for (std::size_t size = 0; size < file.size(); ++size) {
    MemoryRandomAccess access(ByteView(file).first(size), "test.ltx");
    const auto reader = PageReader::open(access);
    ASSERT_FALSE(reader) << size;
    EXPECT_EQ(reader.error().code(), ErrorCode::corrupt);
  }
}

TEST(PageReader, RefusesAnIndexSizeThatReachesBeyondTheFile) {
  Bytes file = encode(make_header(2, 2, 9), {{1, filled(512, 'a')}});
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1000}, std::uint64_t{1} << 63U,
                                   ~std::uint64_t{0}, ~std::uint64_t{0} - 23}) {
    base::store_big_endian(file.data() + file.size() - 24, size);
    MemoryRandomAccess access(file, "test.ltx");
    EXPECT_FALSE(PageReader::open(access)) << size;
  }
}

TEST(PageReader, RefusesAFrameOfAnotherPageThanTheIndexSays) {
  Bytes file = encode(make_header(2, 2, 9), {{1, filled(512, 'a')}});
  file[103] = std::byte{2};
  MemoryRandomAccess access(file, "test.ltx");
  auto reader = PageReader::open(access);
  ASSERT_TRUE(reader) << reader.error().message();
  const auto page = reader->read_page(PageNo(1));
  ASSERT_FALSE(page);
  EXPECT_EQ(page.error().reason(), "offset 100: page 2 where the index says page 1");
}

}  // namespace
}  // namespace litecluster::ltx
