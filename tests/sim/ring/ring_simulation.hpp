// A cluster of nodes with the production state machines (session, roster, coordinator, participant) over a
// simulated KV bucket, network, clocks and hooks. Everything follows from the seed.
//
// The network loses, delays, reorders and repeats requests, replies and news of watches; reads may be stale;
// nodes join, leave, crash, restart, freeze and get cut off; the server refuses writes for a while; each
// clock runs at its own rate. After a while the world turns quiet and everything has to come to rest.
//
// Checked: from the call of on_own to the return of on_release (or the moment at which the node's lease ran
// out by its own clock, if it was frozen then) no partition has two owners; each version of the assignment is
// balanced and moves as few partitions as possible; nobody spins; once quiet, every partition is owned within
// a bound.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace litecluster::ring::sim {

enum class PlantedBug {
  none,
  own_before_release,   ///< nodes take the target of a partition for its holder
  expel_without_look,   ///< a silent member's record is overwritten whatever its revision
  clocks_out_of_range,  ///< clocks differ by far more than the lease's margin
  needless_moves,       ///< four partitions more than need be change hands
};

struct Config {
  std::uint64_t seed = 1;
  int nodes = 3;
  std::uint32_t partitions = 8;
  /// Seconds before the world turns quiet.
  double rough_seconds = 10;
  PlantedBug planted = PlantedBug::none;
  bool trace = false;
};

struct Outcome {
  /// Empty: all promises were kept.
  std::string violation;
  /// What happened, when `trace` was set.
  std::vector<std::string> history;
  std::uint64_t versions = 0;
  std::uint64_t moves = 0;
  std::uint64_t lapses = 0;
  std::uint64_t expelled = 0;
  /// The most that one process sent within a lease.
  int requests_per_lease = 0;
  /// From quiet to all partitions owned, in leases.
  double rest_leases = 0;
};

/// A small cluster, mostly; now and then one of up to 20 nodes and 256 partitions.
[[nodiscard]] Config random_config(std::uint64_t seed);

[[nodiscard]] Outcome simulate(const Config& config);

/// The last part of the history of the same run, for people.
[[nodiscard]] std::string explain(Config config);

}  // namespace litecluster::ring::sim
