#include "base/file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "support/child_process.hpp"
#include "support/refused_system_call.hpp"
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

class NewFile {
 public:
  explicit NewFile(const std::filesystem::path& target) : target_(target) {
    if (file_ && !file_->append(as_bytes("new"))) file_ = failure(ErrorCode::io, "append", "", "");
  }
  /// nullopt: committed.
  std::optional<ErrorCode> commit_new() {
    const Status done = file_ ? file_->commit_new() : std::unexpected(file_.error());
    return done ? std::nullopt : std::optional(done.error().code());
  }
  [[nodiscard]] std::string content() const {
    return std::string(as_text(read_file(target_, 100).value_or(Bytes())));
  }

 private:
  std::filesystem::path target_;
  Result<AtomicFile> file_ = AtomicFile::create(target_);
};

/// The answer of a child process in which the kernel refuses these calls.
std::string in_child(const std::vector<test::RefusedCall>& refused, const std::function<bool()>& body) {
  auto child = test::ChildProcess::run([&] {
    const bool set = std::ranges::all_of(refused, [](const test::RefusedCall& call) { return refuse(call); });
    if (!set) return 77;
    return body() ? 0 : 1;
  });
  return child.wait();
}

void expect_new_file_replaces_nothing(const std::vector<test::RefusedCall>& refused) {
  const std::string ended = in_child(refused, [] {
    const test::TemporaryDirectory directory;
    NewFile first(directory / "target");
    if (first.commit_new() || first.content() != "new" || entries_in(directory.path()) != 1) return false;
    if (!write_file_durably(directory / "target", as_bytes("precious"))) return false;
    NewFile second(directory / "target");
    return second.commit_new() == ErrorCode::already_exists && second.content() == "precious";
  });
  if (ended == "77") GTEST_SKIP() << "no filters of system calls here";
  EXPECT_EQ(ended, "0");
}

TEST(AtomicFile, CommittedAsNewReplacesNothing) {
  expect_new_file_replaces_nothing({});
}

TEST(AtomicFile, CommittedAsNewReplacesNothingWhereRenamesAlwaysReplace) {
  expect_new_file_replaces_nothing({{.number = SYS_renameat2, .error = EINVAL}});
}

TEST(AtomicFile, CommittedAsNewReplacesNothingWhereThereAreNoHardLinksEither) {
  expect_new_file_replaces_nothing({{.number = SYS_renameat2, .error = EINVAL},
#if defined(SYS_link)
                                    {.number = SYS_link, .error = EPERM},
#endif
                                    {.number = SYS_linkat, .error = EPERM}});
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
