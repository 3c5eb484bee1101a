#include "daemon/nearest_name.hpp"

#include <gtest/gtest.h>

namespace litecluster::daemon {
namespace {

TEST(NearestName, IsTheOneWithTheFewestEdits) {
  EXPECT_EQ(edits_between("", "abc"), 3U);
  EXPECT_EQ(edits_between("kitten", "sitting"), 3U);
  EXPECT_EQ(nearest_name("--leas-ttl", {"--node", "--lease-ttl", "--heartbeat"}), "--lease-ttl");
  EXPECT_EQ(nearest_name("stauts", {"run", "status", "stepdown"}), "status");
  EXPECT_EQ(nearest_name("x", {}), "");
}

}  // namespace
}  // namespace litecluster::daemon
