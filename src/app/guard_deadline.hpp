// Until when the guard lets the backend of a ring's node run. Pure.
//
// It may own partitions until the life of its node is over by its deadline. Once all is let go of there is
// nothing to kill it for, and it has the time that it needs to end: a renewal that is answered only then, or
// that another record of the same life brings about, changes nothing any more.
#pragma once

#include <optional>
#include <variant>

#include "base/clock.hpp"
#include "membership/service.hpp"

namespace litecluster::app {

/// Not thread-safe.
class GuardDeadline {
 public:
  /// `extra`: what on_release is left beyond the end of a life.
  explicit GuardDeadline(base::Duration extra) : extra_(extra) {}

  /// What follows from an event; unset: nothing. BootTime::max(): none.
  [[nodiscard]] std::optional<base::BootTime> observe(const membership::ServiceEvent& event) {
    if (const auto* begun = std::get_if<membership::LifeBegun>(&event)) {
      owning_ = true;
      return begun->deadline + extra_;
    }
    if (std::holds_alternative<membership::Left>(event)) return settled();
    const auto* renewed = std::get_if<membership::LifeRenewed>(&event);
    if (renewed == nullptr || !owning_) return std::nullopt;
    return renewed->deadline + extra_;
  }
  /// All is let go of.
  [[nodiscard]] base::BootTime settled() {
    owning_ = false;
    return base::BootTime::max();
  }

 private:
  base::Duration extra_;
  bool owning_ = false;  ///< or allowed to
};

}  // namespace litecluster::app
