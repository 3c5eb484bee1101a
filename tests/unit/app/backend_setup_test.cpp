#include "app/backend_setup.hpp"

#include <gtest/gtest.h>

namespace litecluster::app {
namespace {

using namespace std::chrono_literals;
using backend::Supervisor;
using backend::SupervisorState;

/// How often it has failed, 15 s after it was healthy each time, until it is given up.
int failures_until_given_up(const Backend& wanted, int limit) {
  Supervisor supervisor(supervisor_config(wanted));
  base::BootTime now(100s);
  static_cast<void>(supervisor.start(now));
  for (int failures = 0; failures < limit; ++failures) {
    if (supervisor.state() == SupervisorState::given_up) return failures;
    static_cast<void>(supervisor.process_started(now));
    now += 15s;
    static_cast<void>(supervisor.process_exited("exit status 1", now));
    now += 200ms;
    static_cast<void>(supervisor.tick(now));
  }
  return limit;
}

TEST(BackendSetup, RestartsAreCountedWithinTheTimeThatAStartMayTake) {
  EXPECT_EQ(failures_until_given_up({.start_timeout = 5min, .restarts_max = 5}, 20), 6);
  EXPECT_EQ(failures_until_given_up({.start_timeout = 30s, .restarts_max = 5}, 20), 20);
}

TEST(BackendSetup, RestartsAreCountedWithinAMinuteAtLeast) {
  EXPECT_EQ(failures_until_given_up({.start_timeout = 1s, .restarts_max = 3}, 20), 4);
}

}  // namespace
}  // namespace litecluster::app
