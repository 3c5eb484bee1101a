// A systemctl of our own in PATH stands for systemd: it keeps the state of the unit in files. With "restarts"
// the unit has a Restart= that answers a kill, unless there is a stop job.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdlib>
#include <fstream>

#include "backend/backend.hpp"
#include "support/eventually.hpp"
#include "support/temporary_directory.hpp"

namespace litecluster::backend {
namespace {

using namespace std::chrono_literals;

constexpr const char* fake_systemctl = R"(#!/bin/sh
echo "$*" >> "$UNIT_DIR/calls"
case "$1" in
  start)
    test ! -e "$UNIT_DIR/job" || exit 1
    test -e "$UNIT_DIR/broken" || touch "$UNIT_DIR/active" ;;
  stop)
    if test "$2" = --no-block; then touch "$UNIT_DIR/job"; exit; fi
    test ! -e "$UNIT_DIR/stubborn" || sleep 1000
    rm -f "$UNIT_DIR/active" "$UNIT_DIR/job" ;;
  kill)
    test -e "$UNIT_DIR/restarts" -a ! -e "$UNIT_DIR/job" || rm -f "$UNIT_DIR/active"
    rm -f "$UNIT_DIR/stubborn" ;;
  is-active) test -e "$UNIT_DIR/active" ;;
esac
)";

class SystemdBackendTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto program = directory_ / "systemctl";
    std::ofstream(program) << fake_systemctl;
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
    path_ = std::getenv("PATH");
    ::setenv("PATH", (directory_.path().string() + ":" + path_).c_str(), 1);
    ::setenv("UNIT_DIR", directory_.path().c_str(), 1);
  }
  void TearDown() override { ::setenv("PATH", path_.c_str(), 1); }

  [[nodiscard]] static std::unique_ptr<Backend> make(SystemdBackendOptions options = {}) {
    options.unit = "shop.service";
    options.probe_interval = 10ms;
    auto made = make_systemd_backend(std::move(options));
    EXPECT_TRUE(made);
    return std::move(*made);
  }
  [[nodiscard]] bool active() const { return std::filesystem::exists(directory_ / "active"); }

  test::TemporaryDirectory directory_;
  std::string path_;
  const Context soon_ = Context::background().with_timeout(60s);
};

TEST_F(SystemdBackendTest, StartsAndStopsTheUnit) {
  auto backend = make();
  ASSERT_TRUE(backend->start(soon_));
  EXPECT_TRUE(active());
  EXPECT_TRUE(backend->health());
  ASSERT_TRUE(backend->stop(soon_));
  EXPECT_FALSE(active());
}

TEST_F(SystemdBackendTest, FailsWhenTheUnitDoesNotBecomeActive) {
  std::ofstream(directory_ / "broken") << "x";
  auto backend = make({.start_timeout = 200ms});
  const Status status = backend->start(soon_);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), ErrorCode::unavailable);
}

TEST_F(SystemdBackendTest, TellsWhenTheUnitFails) {
  auto backend = make();
  std::atomic<bool> failed{false};
  backend->on_failure([&](const Error&) { failed = true; });
  ASSERT_TRUE(backend->start(soon_));
  std::filesystem::remove(directory_ / "active");
  EXPECT_TRUE(test::eventually([&] { return failed.load(); }));
}

TEST_F(SystemdBackendTest, KillsAUnitThatDoesNotStop) {
  auto backend = make({.grace = 200ms});
  ASSERT_TRUE(backend->start(soon_));
  std::ofstream(directory_ / "stubborn") << "x";
  EXPECT_TRUE(backend->stop(soon_));
  EXPECT_FALSE(active());
}

TEST_F(SystemdBackendTest, ItsFenceEndsAUnitThatSystemdWouldStartAgain) {
  for (const char* state : {"active", "restarts", "stubborn"}) std::ofstream(directory_ / state) << "x";
  const auto fence = make_systemd_fence("shop.service");
  const pid_t pid = fence->drop();
  ASSERT_GT(pid, 0);
  int status = -1;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(active());
}

TEST_F(SystemdBackendTest, RefusesANameThatIsNone) {
  EXPECT_FALSE(make_systemd_backend({.unit = ""}));
  EXPECT_FALSE(make_systemd_backend({.unit = "../x"}));
}

}  // namespace
}  // namespace litecluster::backend
