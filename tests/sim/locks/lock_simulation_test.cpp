#include "sim/locks/lock_simulation.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

namespace litecluster::locks::sim {
namespace {

/// LITECLUSTER_SIM_SEEDS makes it run longer than the default.
std::uint64_t seeds() {
  const char* const asked = std::getenv("LITECLUSTER_SIM_SEEDS");
  return asked == nullptr ? 100 : std::strtoull(asked, nullptr, 10);
}

TEST(LockSimulation, NeverTwoInsideAndTokensGrowWhateverHappens) {
  std::uint64_t acquisitions = 0;
  std::uint64_t losses = 0;
  std::uint64_t crashes_inside = 0;
  for (std::uint64_t seed = 1; seed <= seeds(); ++seed) {
    const Outcome outcome = Simulation({.seed = seed}).run();
    ASSERT_EQ(outcome.violation, "");
    acquisitions += outcome.acquisitions;
    losses += outcome.losses;
    crashes_inside += outcome.crashes_inside;
  }
  // The world is rough, but not so rough that nothing happens in it.
  EXPECT_GT(acquisitions, 30 * seeds());
  EXPECT_GT(losses, seeds());
  EXPECT_GT(crashes_inside, seeds());
}

TEST(LockSimulation, NeverTwoInsideOnAVeryBadNetwork) {
  for (std::uint64_t seed = 1; seed <= seeds() / 2; ++seed) {
    const Faults faults{.lost = 0.3, .repeated = 0.3, .slow = 0.4, .stale_read = 0.5, .deletion = 0.01};
    const Outcome outcome = Simulation({.seed = seed, .faults = faults, .claimants = 8}).run();
    ASSERT_EQ(outcome.violation, "");
    EXPECT_GT(outcome.acquisitions, 0U);
  }
}

TEST(LockSimulation, FindsALeaseThatIsCountedFromTheReply) {
  bool found = false;
  for (std::uint64_t seed = 1; seed <= 200 && !found; ++seed) {
    found = !Simulation({.seed = seed, .lease_from_reply = true}).run().violation.empty();
  }
  EXPECT_TRUE(found);
}

TEST(LockSimulation, FindsClocksThatDifferByMoreThanTheMargin) {
  bool found = false;
  for (std::uint64_t seed = 1; seed <= 200 && !found; ++seed) {
    found = !Simulation({.seed = seed, .faults = {.clock_rate = 0.3}}).run().violation.empty();
  }
  EXPECT_TRUE(found);
}

TEST(LockSimulation, OnAGoodNetworkAWaiterGetsADeadHoldersLockWithinALeaseAndAReleasedOneAtOnce) {
  const Faults only_crashes{.lost = 0,
                            .repeated = 0,
                            .slow = 0,
                            .stale_read = 0,
                            .pause = 0,
                            .crash = 0.01,
                            .partition = 0,
                            .deletion = 0};
  std::uint64_t crashes_inside = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Outcome outcome = Simulation({.seed = seed, .faults = only_crashes}).run();
    ASSERT_EQ(outcome.violation, "");
    EXPECT_EQ(outcome.losses, 0U);
    crashes_inside += outcome.crashes_inside;
    // The slowest clock needs 10.53 s for 10 s of its own.
    EXPECT_LT(outcome.longest_vacancy_after_death, 10600ms);
    EXPECT_LT(outcome.longest_vacancy_after_release, 20ms);
    EXPECT_GT(outcome.longest_vacancy_after_release, 0ms);
  }
  EXPECT_GT(crashes_inside, 20U);
}

}  // namespace
}  // namespace litecluster::locks::sim
