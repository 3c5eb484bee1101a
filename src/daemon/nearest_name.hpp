// For "did you mean": the known name that is the fewest edits away.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace litecluster::daemon {

/// Insertions, removals and replacements that make one out of the other.
[[nodiscard]] std::size_t edits_between(std::string_view from, std::string_view to);

/// The first of the nearest; empty when `known` is.
[[nodiscard]] std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

}  // namespace litecluster::daemon
