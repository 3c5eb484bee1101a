#include "membership/health_board.hpp"

#include <algorithm>
#include <utility>

namespace litecluster::membership {

bool HealthBoard::report(std::string_view name, HealthResult result) {
  if (result.level == HealthLevel::passing) result.reason.clear();
  auto found = checks_.find(name);
  if (found == checks_.end()) {
    if (checks_.size() >= health_checks_max) return false;
    // A new check that passes is what everybody expects.
    changed_ = changed_ || result.level != HealthLevel::passing;
    checks_.emplace(name, std::move(result));
  } else {
    if (found->second == result) return true;
    changed_ = changed_ || found->second.level != result.level;
    found->second = std::move(result);
  }
  summarise();
  return true;
}

void HealthBoard::summarise() {
  health_ = {};
  for (const auto& [name, result] : checks_) {
    health_.level = std::max(health_.level, result.level);
    health_.checks.push_back({name, result});
  }
}

std::optional<Health> HealthBoard::take_change() {
  if (!std::exchange(changed_, false)) return std::nullopt;
  return health_;
}

}  // namespace litecluster::membership
