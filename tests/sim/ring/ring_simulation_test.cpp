#include "sim/ring/ring_simulation.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <string_view>

namespace litecluster::ring::sim {
namespace {

/// LITECLUSTER_SIM_SEEDS makes it run longer than the default, LITECLUSTER_SIM_FIRST begins elsewhere.
std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* const asked = std::getenv(name);
  return asked == nullptr ? otherwise : std::strtoull(asked, nullptr, 10);
}

TEST(RingSimulation, NeverTwoOwnersAndAllOwnedOnceQuiet) {
  const std::uint64_t first = from_environment("LITECLUSTER_SIM_FIRST", 1);
  const std::uint64_t seeds = from_environment("LITECLUSTER_SIM_SEEDS", 4000);
  Outcome total;
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    const Config config = random_config(seed);
    const Outcome outcome = simulate(config);
    ASSERT_EQ(outcome.violation, "") << explain(config);
    total.versions += outcome.versions;
    total.moves += outcome.moves;
    total.lapses += outcome.lapses;
    total.expelled += outcome.expelled;
    total.requests_per_lease = std::max(total.requests_per_lease, outcome.requests_per_lease);
    total.rest_leases = std::max(total.rest_leases, outcome.rest_leases);
  }
  std::cout << seeds << " runs: " << total.versions << " versions, " << total.moves << " moves, "
            << total.lapses << " lapses, " << total.expelled << " expelled, at rest after at most "
            << total.rest_leases << " leases, at most " << total.requests_per_lease
            << " requests of a node within a lease\n";
  // The world is rough enough for all of it to happen.
  EXPECT_GT(total.versions, seeds);
  EXPECT_GT(total.lapses, seeds / 20);
  EXPECT_GT(total.expelled, seeds / 20);
}

TEST(RingSimulation, TheSameSeedIsTheSameRun) {
  Config config = random_config(512);
  config.trace = true;
  EXPECT_EQ(simulate(config).history, simulate(config).history);
}

/// The number of runs until the bug shows as what it is; 0: it did not.
std::uint64_t found_after(PlantedBug planted, std::string_view shown_as, std::uint64_t seeds) {
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    Config config = random_config(seed);
    config.planted = planted;
    if (simulate(config).violation.contains(shown_as)) return seed;
  }
  return 0;
}

TEST(RingSimulation, FindsOwningBeforeReleasing) {
  EXPECT_GT(found_after(PlantedBug::own_before_release, " is owned by ", 200), 0U);
}

TEST(RingSimulation, FindsExpellingWithoutCompareAndSwap) {
  EXPECT_GT(found_after(PlantedBug::expel_without_look, " is owned by ", 20'000), 0U);
}

TEST(RingSimulation, FindsMovesThatNeedNotBe) {
  EXPECT_GT(found_after(PlantedBug::needless_moves, " would do", 200), 0U);
}

TEST(RingSimulation, FindsClocksBeyondTheMargin) {
  EXPECT_GT(found_after(PlantedBug::clocks_out_of_range, " is owned by ", 20'000), 0U);
}

}  // namespace
}  // namespace litecluster::ring::sim
