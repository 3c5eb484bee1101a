// LITECLUSTER_SIM_RUNS=1000000 runs that many seeds in Cluster...OnFixedSeeds, LITECLUSTER_SIM_NEW_RUNS in
// ...OnNewSeeds; LITECLUSTER_SIM_FIRST sets the first one; LITECLUSTER_SIM_SECONDS ends each of the two after
// that time, with a line a minute; LITECLUSTER_SIM_SEED=N prints the history of one run.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <optional>

#include "base/random.hpp"
#include "sim/cluster/world.hpp"

namespace litecluster::test::cluster {
namespace {

std::uint64_t environment(const char* name, std::uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

void print(std::uint64_t runs, std::uint64_t first, const Statistics& total, double seconds) {
  fmt::print(
      "{} runs from seed {}: {} terms, {} promotions, {} hand-overs, {} writes, {} appends, {} seeds, {} "
      "merged, {} "
      "removed, {} deposed, {} put aside, {} power failures, {} events, {:.0f} runs/s\n",
      runs, first, total.terms, total.promotions, total.hand_overs, total.writes, total.appends, total.seeds,
      total.merged, total.removed, total.deposed, total.diverged, total.power_failures, total.events,
      static_cast<double>(runs) / seconds);
  static_cast<void>(std::fflush(stdout));
}

/// Runs `count` seeds from `first` on; on a violation prints the history of the failing one.
void expect_no_violation(std::uint64_t first, std::uint64_t count) {
  World world;
  Statistics total;
  const double limit = static_cast<double>(environment("LITECLUSTER_SIM_SECONDS", 0));
  const auto begin = std::chrono::steady_clock::now();
  const auto passed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  double told = 0;
  std::uint64_t runs = 0;
  for (; runs < count; ++runs) {
    const Outcome result = world.run(first + runs);
    total.add(result.statistics);
    if (!result.violation.empty()) {
      FAIL() << "seed " << first + runs << ": " << result.violation << "\n" << world.history(first + runs);
    }
    if (runs % 256 != 0) continue;
    if (limit > 0 && passed() > limit) break;
    if (passed() - told > 60) {
      told = passed();
      print(runs, first, total, told);
    }
  }
  print(runs, first, total, passed());
  // The world is rough enough for all of it to happen.
  EXPECT_GT(total.terms, runs);
  EXPECT_GT(total.diverged, runs / 50);
  EXPECT_GT(total.seeds, runs / 10);
}

/// The number of runs until the bug shows, or nothing.
std::optional<std::uint64_t> runs_until_found(PlantedBug bug, std::uint64_t runs_max) {
  World world(bug);
  for (std::uint64_t seed = 1; seed <= runs_max; ++seed) {
    const Outcome result = world.run(seed);
    if (result.violation.empty()) continue;
    fmt::print("found at seed {}: {}\n", seed, result.violation);
    return seed;
  }
  return std::nullopt;
}

TEST(ClusterSimulation, KeepsEveryPromiseOnFixedSeeds) {
  expect_no_violation(environment("LITECLUSTER_SIM_FIRST", 1), environment("LITECLUSTER_SIM_RUNS", 300));
}

TEST(ClusterSimulation, KeepsEveryPromiseOnNewSeeds) {
  expect_no_violation(base::random_u64() >> 1U, environment("LITECLUSTER_SIM_NEW_RUNS", 300));
}

TEST(ClusterSimulation, ReproducesARunFromItsSeed) {
  World first;
  World second;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) EXPECT_EQ(first.history(seed), second.history(seed));
}

TEST(ClusterSimulation, FindsADeadlineTakenAfterTheReply) {
  EXPECT_TRUE(runs_until_found(PlantedBug::deadline_after_reply, 2'000));
}

TEST(ClusterSimulation, FindsALeaderThatDoesNotReadTheLog) {
  EXPECT_TRUE(runs_until_found(PlantedBug::lead_without_reading, 2'000));
}

TEST(ClusterSimulation, FindsAFormerLeaderThatIsBelieved) {
  EXPECT_TRUE(runs_until_found(PlantedBug::former_primary_trusted, 2'000));
}

TEST(ClusterSimulation, FindsAHandOverThatDoesNotWait) {
  EXPECT_TRUE(runs_until_found(PlantedBug::no_final_sync, 2'000));
}

TEST(ClusterSimulation, FindsAGuardThatSleeps) {
  EXPECT_TRUE(runs_until_found(PlantedBug::guard_asleep, 2'000));
}

TEST(ClusterSimulation, PrintsTheHistoryOfTheSeedAskedFor) {
  if (std::getenv("LITECLUSTER_SIM_SEED") == nullptr) GTEST_SKIP() << "LITECLUSTER_SIM_SEED is not set";
  World world;
  const std::uint64_t seed = environment("LITECLUSTER_SIM_SEED", 1);
  fmt::print("{}", world.history(seed));
  EXPECT_EQ(world.run(seed).violation, "");
}

}  // namespace
}  // namespace litecluster::test::cluster
