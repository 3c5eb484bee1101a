#include "app/guard_deadline.hpp"

#include <gtest/gtest.h>

namespace litecluster::app {
namespace {

using namespace std::chrono_literals;
using base::BootTime;
using membership::LifeBegun;
using membership::LifeOver;
using membership::LifeRenewed;

BootTime at(base::Duration since) {
  return BootTime(100s) + since;
}

TEST(GuardDeadline, FollowsTheLifeAndLeavesOnReleaseALittleMore) {
  GuardDeadline deadline(300ms);
  EXPECT_EQ(deadline.observe(LifeBegun{{}, at(1s)}), at(1300ms));
  EXPECT_EQ(deadline.observe(LifeRenewed{at(2s)}), at(2300ms));
  EXPECT_FALSE(deadline.observe(LifeOver{{}, "not renewed"})) << "something may still be owned";
}

TEST(GuardDeadline, ARenewalThatComesAfterAllIsLetGoDoesNotBringItBack) {
  GuardDeadline deadline(300ms);
  static_cast<void>(deadline.observe(LifeBegun{{}, at(1s)}));
  EXPECT_EQ(deadline.settled(), BootTime::max());
  EXPECT_FALSE(deadline.observe(LifeRenewed{at(2s)}));
  EXPECT_EQ(deadline.observe(LifeBegun{{}, at(3s)}), at(3300ms)) << "the next life owns again";
  EXPECT_EQ(deadline.observe(LifeRenewed{at(4s)}), at(4300ms));
}

TEST(GuardDeadline, EndsWithTheGoodbye) {
  GuardDeadline deadline(300ms);
  static_cast<void>(deadline.observe(LifeBegun{{}, at(1s)}));
  EXPECT_EQ(deadline.observe(membership::Left{}), BootTime::max());
  EXPECT_FALSE(deadline.observe(LifeRenewed{at(2s)}));
}

}  // namespace
}  // namespace litecluster::app
