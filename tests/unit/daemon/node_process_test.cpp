#include "daemon/node_process.hpp"

#include <gtest/gtest.h>

namespace litecluster::daemon {
namespace {

using namespace std::chrono_literals;

TEST(StopTimeout, IsAMinuteWhereLittleHasToBeWaitedFor) {
  Config config;
  EXPECT_EQ(stop_timeout(config), 60s);
  config.app.backend = Backend{.stop_timeout = 5s};
  EXPECT_EQ(stop_timeout(config), 60s);
}

TEST(StopTimeout, LeavesTheBackendTheTimeThatItWasPromised) {
  Config config;
  config.app.backend = Backend{.stop_timeout = 2min};
  EXPECT_GT(stop_timeout(config), 2min);
}

TEST(StopTimeout, LeavesTheHooksTheirTime) {
  Config config;
  config.app.hook_timeout = 10min;
  EXPECT_EQ(stop_timeout(config), 60s) << "there are none";
  config.hooks["on_passive"] = {"true"};
  EXPECT_GT(stop_timeout(config), 10min);
  config.hooks["on_stop"] = {"true"};
  EXPECT_GT(stop_timeout(config), 20min);
}

}  // namespace
}  // namespace litecluster::daemon
