// What is left out of a run, so that less happens in it: made by shrink(), passed back to see the same run
// again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace litecluster::test::cluster {

/// Ascending, each once.
using Numbers = std::vector<std::uint32_t>;

/// Everything that is not said stays as the seed has it. What is left out draws its random numbers all the
/// same, so that a run is the same as without the reduction until the first thing that is missing.
struct Reduction {
  std::optional<Numbers> faults;    ///< only these of the planned ones; 0 is the servers' absence
  std::optional<Numbers> troubles;  ///< only these of those that come by chance, counted as they come
  std::optional<std::uint32_t> nodes;
  std::optional<std::uint32_t> heal_ms;  ///< all is well from then on, if not before
  std::uint32_t variation = 0;           ///< other chances once the run has begun; 0: the seed's own

  [[nodiscard]] bool operator==(const Reduction&) const = default;
};

/// Such as "faults=0,3 troubles=1-17,20 nodes=2 heal=900 variation=1".
[[nodiscard]] std::string to_string(const Reduction& reduction);
/// Nothing: it is not of that form.
[[nodiscard]] std::optional<Reduction> parse_reduction(std::string_view text);

[[nodiscard]] bool contains(const std::optional<Numbers>& numbers, std::uint32_t number);

}  // namespace litecluster::test::cluster
