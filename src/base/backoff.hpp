// The one retry policy: exponential back-off with a cap and jitter. Pure: it says how long to wait and never
// waits itself.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/clock.hpp"

namespace litecluster::base {

/// Not thread-safe.
class Backoff {
 public:
  /// The first delay is around `initial`, each following one twice as long, none above `cap`.
  constexpr Backoff(Duration initial, Duration cap) : initial_(initial), cap_(cap), next_(initial) {}

  /// The time to wait before the next attempt: between half and the whole of the current step. `random` is
  /// any number; it decides the jitter, which keeps many clients from coming back in the same instant.
  [[nodiscard]] constexpr Duration next(std::uint64_t random) {
    const Duration step = next_;
    next_ = std::min(cap_, step + step);
    const auto half = static_cast<std::uint64_t>(step.count()) / 2;
    return Duration(static_cast<Duration::rep>(half + (half == 0 ? 0 : random % (half + 1))));
  }

  /// After a success: the next failure starts from the beginning.
  constexpr void reset() { next_ = initial_; }

 private:
  Duration initial_;
  Duration cap_;
  Duration next_;
};

}  // namespace litecluster::base
