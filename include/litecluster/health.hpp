// Health of a node: a list of checks, of which the worst one is the node's.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <litecluster/context.hpp>

namespace litecluster {

/// Ordered: a later one is worse.
enum class HealthLevel {
  passing,
  warning,   ///< works, but somebody should look
  critical,  ///< does not do its work
};

/// "passing", "warning" or "critical".
[[nodiscard]] std::string_view to_string(HealthLevel level);

/// What one check found. `reason` is for people; empty when passing.
struct HealthResult {
  HealthLevel level = HealthLevel::passing;
  std::string reason;

  friend bool operator==(const HealthResult&, const HealthResult&) = default;
};

/// One line of the list. Names of ours: `nats`, `lease`, `replication`, `backend`, `disk`, `database`, `vip`,
/// `hooks`, `ring`; a user's own may be anything else.
struct HealthCheck {
  std::string name;
  HealthResult result;

  friend bool operator==(const HealthCheck&, const HealthCheck&) = default;
};

/// A value: the state of all checks at one moment.
struct Health {
  /// That of the worst check; passing when there is none.
  HealthLevel level = HealthLevel::passing;
  /// Sorted by name.
  std::vector<HealthCheck> checks;

  /// "name: reason" of each check that is as bad as `level`, joined by "; ". Empty when passing.
  [[nodiscard]] std::string reason() const;

  friend bool operator==(const Health&, const Health&) = default;
};

/// A check of the user's own. Called now and then from a thread of the library; it must return before its
/// Context is done, otherwise the check counts as critical. What it throws makes it critical, too.
using HealthProbe = std::function<HealthResult(const Context&)>;

}  // namespace litecluster
