#include "ltx/stream.hpp"

#include <gtest/gtest.h>

#include "support/temporary_directory.hpp"
#include "unit/ltx/ltx_support.hpp"

namespace litecluster::ltx {
namespace {

using namespace ltx::test;  // NOLINT: the helpers of these tests

TEST(BufferedSource, ShowsAWindowThatNeverSkipsOrRepeatsAByte) {
  Bytes bytes(300'000);
  for (std::size_t index = 0; index < bytes.size(); ++index) bytes[index] = static_cast<std::byte>(index * 7);
  TricklingSource source(bytes, 1000);
  std::mt19937 random(1);
  std::size_t offset = 0;
  while (offset < bytes.size()) {
    const std::size_t wanted = random() % 100'000;
    const auto window = source.peek(wanted);
    ASSERT_TRUE(window);
    ASSERT_GE(window->size(), std::min(wanted, bytes.size() - offset));
    ASSERT_TRUE(
        std::equal(window->begin(), window->end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset)));
    const std::size_t step = std::min<std::size_t>(window->size(), random() % 50'000);
    source.skip(step);
    offset += step;
  }
  EXPECT_TRUE(source.peek(1)->empty());
}

TEST(FileSink, WritesAllInOrder) {
  const litecluster::test::TemporaryDirectory directory;
  auto file = base::AtomicFile::create(directory / "file");
  ASSERT_TRUE(file);
  FileSink sink(*file);
  Bytes expected;
  for (const std::size_t size : {10U, 300'000U, 262'144U, 1U, 262'143U}) {
    const Bytes piece = filled(size, static_cast<unsigned>(size % 251));
    ASSERT_TRUE(sink.write(piece));
    base::append_bytes(expected, piece);
  }
  ASSERT_TRUE(sink.flush());
  ASSERT_TRUE(file->commit());
  EXPECT_EQ(*base::read_file(directory / "file", 1U << 20U), expected);
}

TEST(FileSource, SaysThatAFileIsMissing) {
  EXPECT_EQ(FileSource::open("/nonexistent/file").error().code(), ErrorCode::not_found);
  EXPECT_EQ(FileRandomAccess::open("/nonexistent/file").error().code(), ErrorCode::not_found);
}

}  // namespace
}  // namespace litecluster::ltx
