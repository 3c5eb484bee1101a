#include "base/file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <iterator>

#include "support/temporary_directory.hpp"

namespace litecluster::base {
namespace {

std::size_t entries_in(const std::filesystem::path& directory) {
  const std::filesystem::directory_iterator all(directory);
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

TEST(AtomicFile, AppearsWholeOnCommit) {
  const test::TemporaryDirectory directory;
  const auto target = directory / "target";
  auto file = AtomicFile::create(target);
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->append(as_bytes("hello ")));
  ASSERT_TRUE(file->append(as_bytes("world")));
  EXPECT_FALSE(std::filesystem::exists(target));
  ASSERT_TRUE(file->commit());
  EXPECT_EQ(as_text(*read_file(target, 100)), "hello world");
  EXPECT_EQ(entries_in(directory.path()), 1U);
}

TEST(AtomicFile, LeavesTheOldContentAndNoRestWhenAbandoned) {
  const test::TemporaryDirectory directory;
  const auto target = directory / "target";
  ASSERT_TRUE(write_file_durably(target, as_bytes("old")));
  {
    auto file = AtomicFile::create(target);
    ASSERT_TRUE(file);
    ASSERT_TRUE(file->append(as_bytes("new")));
    const AtomicFile moved = std::move(*file);
  }
  EXPECT_EQ(as_text(*read_file(target, 100)), "old");
  EXPECT_EQ(entries_in(directory.path()), 1U);
}

TEST(AtomicFile, SaysWhatCouldNotBeCreated) {
  const auto file = AtomicFile::create("/nonexistent-directory/file");
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code(), ErrorCode::not_found);
  EXPECT_NE(file.error().message().find("/nonexistent-directory/file"), std::string::npos);
}

TEST(ReadFile, RefusesAFileAboveTheLimit) {
  const test::TemporaryDirectory directory;
  ASSERT_TRUE(write_file_durably(directory / "file", as_bytes("12345")));
  EXPECT_EQ(read_file(directory / "file", 4).error().code(), ErrorCode::too_large);
  EXPECT_EQ(read_file(directory / "file", 5)->size(), 5U);
}

TEST(ReadAt, StopsAtTheEndOfTheFile) {
  const test::TemporaryDirectory directory;
  ASSERT_TRUE(write_file_durably(directory / "file", as_bytes("12345")));
  const auto file = open_file(directory / "file", O_RDONLY);
  Bytes buffer(10);
  EXPECT_EQ(*read_at(file->get(), buffer, 3, "file"), 2U);
  EXPECT_EQ(*read_at(file->get(), buffer, 100, "file"), 0U);
}

}  // namespace
}  // namespace litecluster::base
