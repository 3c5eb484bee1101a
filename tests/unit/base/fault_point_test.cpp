#include "base/fault_point.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "support/temporary_directory.hpp"

namespace litecluster::base {
namespace {

// The directory is looked up once in a process, so each case has one of its own.
template <typename Body>
int status_of_child(const std::filesystem::path& directory, const Body& body) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setenv("LITECLUSTER_FAULT_DIRECTORY", directory.c_str(), 1);
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return status;
}

TEST(FaultPoint, AFileArmsARunningProcessOnce) {
  const test::TemporaryDirectory directory;
  const int status = status_of_child(directory.path(), [&] {
    if (LITECLUSTER_FAULT_REQUESTED("point")) return 1;
    std::ofstream(directory / "point") << "fail";
    if (!LITECLUSTER_FAULT_REQUESTED("point")) return 2;
    return LITECLUSTER_FAULT_REQUESTED("point") ? 3 : 0;
  });
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(FaultPoint, KillsWhereTheFileIsFound) {
  const test::TemporaryDirectory directory;
  std::ofstream(directory / "point") << "kill";
  const int status = status_of_child(directory.path(), [] {
    LITECLUSTER_FAULT_POINT("other");
    LITECLUSTER_FAULT_POINT("point");
    return 0;
  });
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_FALSE(std::filesystem::exists(directory / "point"));
}

}  // namespace
}  // namespace litecluster::base
