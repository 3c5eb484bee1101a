// The checks of this node and what each found last. Pure.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <litecluster/health.hpp>

namespace litecluster::membership {

constexpr std::size_t health_checks_max = 128;

/// Not thread-safe.
class HealthBoard {
 public:
  /// Records what a check found; a new name adds a check, within health_checks_max (false beyond).
  bool report(std::string_view name, HealthResult result);

  [[nodiscard]] const Health& health() const { return health_; }
  /// Whether take_change() would return something.
  [[nodiscard]] bool has_change() const { return changed_; }
  /// The health, once after each change of the node's level or of the level of any check. A changed reason
  /// alone is no news.
  [[nodiscard]] std::optional<Health> take_change();

 private:
  void summarise();

  std::map<std::string, HealthResult, std::less<>> checks_;
  Health health_;
  bool changed_ = false;
};

}  // namespace litecluster::membership
