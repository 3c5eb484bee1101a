// LITECLUSTER_SIM_RUNS=1000000 runs that many seeds in Election.NeverHasTwoLeaders...; LITECLUSTER_SIM_FIRST
// sets the first one; LITECLUSTER_SIM_SEED=N prints the history of one run.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>

#include "base/random.hpp"
#include "sim/election/world.hpp"

namespace litecluster::test {
namespace {

using election::PlantedBug;

std::uint64_t environment(const char* name, std::uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

/// Runs `count` seeds from `first` on; on a violation prints the history of the failing one.
void expect_no_violation(std::uint64_t first, std::uint64_t count) {
  World world;
  std::uint64_t terms = 0;
  std::uint64_t events = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint64_t index = 0; index < count; ++index) {
    const SimulationResult result = world.run(first + index);
    terms += result.terms;
    events += result.events;
    if (!result.violation.empty()) {
      FAIL() << "seed " << first + index << ": " << result.violation << "\n" << world.history(first + index);
    }
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  fmt::print("{} runs from seed {}: {} terms, {} events, {:.0f} runs/s\n", count, first, terms, events,
             static_cast<double>(count) / took.count());
  EXPECT_GT(terms, count) << "the runs are too tame to prove anything";
}

/// The number of runs until the bug shows, or nothing.
std::optional<std::uint64_t> runs_until_found(PlantedBug bug, std::uint64_t runs_max) {
  World world(bug);
  for (std::uint64_t seed = 1; seed <= runs_max; ++seed) {
    if (!world.run(seed).violation.empty()) return seed;
  }
  return std::nullopt;
}

TEST(ElectionSimulation, NeverHasTwoLeadersAndAlwaysFindsOneOnFixedSeeds) {
  expect_no_violation(environment("LITECLUSTER_SIM_FIRST", 1), environment("LITECLUSTER_SIM_RUNS", 20'000));
}

TEST(ElectionSimulation, NeverHasTwoLeadersAndAlwaysFindsOneOnNewSeeds) {
  expect_no_violation(base::random_u64() >> 1U, environment("LITECLUSTER_SIM_NEW_RUNS", 20'000));
}

TEST(ElectionSimulation, ReproducesARunFromItsSeed) {
  World first;
  World second;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    EXPECT_EQ(first.history(seed), second.history(seed));
  }
}

TEST(ElectionSimulation, FindsADeadlineTakenAfterTheReply) {
  const auto seed = runs_until_found(PlantedBug::deadline_after_reply, 20'000);
  ASSERT_TRUE(seed);
  RecordProperty("first_seed", static_cast<int>(*seed));
  fmt::print("found at seed {}\n", *seed);
}

TEST(ElectionSimulation, FindsATakerWithoutPatience) {
  const auto seed = runs_until_found(PlantedBug::impatient_taker, 20'000);
  ASSERT_TRUE(seed);
  RecordProperty("first_seed", static_cast<int>(*seed));
  fmt::print("found at seed {}\n", *seed);
}

TEST(ElectionSimulation, FindsATermThatGoesOnAfterItsDeadline) {
  const auto seed = runs_until_found(PlantedBug::resume_after_deadline, 20'000);
  ASSERT_TRUE(seed);
  RecordProperty("first_seed", static_cast<int>(*seed));
  fmt::print("found at seed {}\n", *seed);
}

TEST(ElectionSimulation, PrintsTheHistoryOfTheSeedAskedFor) {
  if (std::getenv("LITECLUSTER_SIM_SEED") == nullptr) GTEST_SKIP() << "LITECLUSTER_SIM_SEED is not set";
  World world;
  const std::uint64_t seed = environment("LITECLUSTER_SIM_SEED", 1);
  const std::string history = world.history(seed);
  fmt::print("{}", history);
  EXPECT_EQ(world.run(seed).violation, "");
}

}  // namespace
}  // namespace litecluster::test
