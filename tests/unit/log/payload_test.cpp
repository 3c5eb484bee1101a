#include "log/payload.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>

#include <cerrno>
#include <cstdlib>

#include "base/file.hpp"
#include "support/child_process.hpp"
#include "support/refused_system_call.hpp"
#include "support/temporary_directory.hpp"

namespace litecluster::log {
namespace {

namespace fs = std::filesystem;
using litecluster::test::ChildProcess;
using litecluster::test::TemporaryDirectory;

bool works_and_leaves_nothing(const fs::path& directory, const fs::path& looked_at) {
  const auto payload =
      Payload::spooled(directory, [](ltx::Sink& sink) { return sink.write(base::as_bytes("content")); });
  if (!payload) return false;
  base::Bytes bytes(payload->size());
  const auto count = payload->read(0, bytes);
  return count && base::as_text(bytes) == "content" && fs::is_empty(looked_at);
}

TEST(SpoolFile, HasNoNameInADirectoryThatIsMade) {
  const TemporaryDirectory directory;
  EXPECT_TRUE(works_and_leaves_nothing(directory / "made" / "spool", directory / "made" / "spool"));
}

TEST(SpoolFile, LosesItsNameAtOnceWhereTheFileSystemHasNoNamelessFiles) {
  for (const std::uint32_t error : {EOPNOTSUPP, EISDIR, ENOENT}) {
    const TemporaryDirectory directory;
    auto child = ChildProcess::run([&] {
      constexpr std::uint32_t nameless = O_TMPFILE & ~O_DIRECTORY;
      if (!litecluster::test::refuse({.number = SYS_openat, .error = error, .third_argument_bits = nameless}))
        return 77;
      if (base::open_file(directory.path(), O_TMPFILE | O_RDWR)) return 2;
      return works_and_leaves_nothing(directory.path(), directory.path()) ? 0 : 1;
    });
    const std::string ended = child.wait();
    if (ended == "77") GTEST_SKIP() << "no filters of system calls here";
    EXPECT_EQ(ended, "0") << error;
  }
}

TEST(SpoolFile, IsInTheTemporaryDirectoryUnlessToldOtherwise) {
  const TemporaryDirectory directory;
  auto child = ChildProcess::run([&] {
    ::setenv("TMPDIR", directory.path().c_str(), 1);
    return works_and_leaves_nothing({}, directory.path()) ? 0 : 1;
  });
  EXPECT_EQ(child.wait(), "0");
}

// not_found means that an object vanished, and that it is worth while to plan again.
TEST(SpoolFile, IsRefusedAsAnErrorOfTheDiskWhereThereIsNoDirectory) {
  EXPECT_EQ(open_spool_file("/proc/no-such/spool").error().code(), ErrorCode::io);
  auto child = ChildProcess::run([] {
    ::setenv("TMPDIR", "/no/such/directory", 1);
    const auto refused = open_spool_file({});
    return !refused && refused.error().code() == ErrorCode::io ? 0 : 1;
  });
  EXPECT_EQ(child.wait(), "0");
}

}  // namespace
}  // namespace litecluster::log
