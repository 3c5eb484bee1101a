// Looks for a smaller run that breaks the same promise, by leaving out faults, nodes and time.
//
// A run is one path of chance: what is left out changes everything behind it, and most often the violation is
// gone. So each attempt is made in a few variations, and what comes last is left out first: all before it
// stays as it was. No clock and no chance of its own: the same seed gives the same result.
#pragma once

#include <cstdint>

#include "sim/cluster/world.hpp"

namespace litecluster::test::cluster {

struct Shrunk {
  Reduction reduction;
  Outcome outcome;  ///< of the smallest run
  std::uint64_t runs = 0;
};

/// `seed`: of a run that breaks a promise. Needs at most `runs_max` runs, at least one.
[[nodiscard]] Shrunk shrink(World& world, std::uint64_t seed, std::uint64_t runs_max);

}  // namespace litecluster::test::cluster
