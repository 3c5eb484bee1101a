// Runs hooks on threads of their own, by the rules of HookQueue.
#pragma once

#include <functional>
#include <memory>

#include <litecluster/health.hpp>

#include "app/hook_queue.hpp"
#include "base/clock.hpp"
#include "membership/hook_call.hpp"

namespace litecluster::app {

struct HookRunnerOptions {
  base::Duration timeout = std::chrono::seconds(30);
  /// From the cancelling of a hook's Context until it is given up.
  base::Duration grace = std::chrono::seconds(5);
  /// Told what the check `hooks` finds, whenever that changes. Must return at once. May be empty.
  std::function<void(const HealthResult&)> report{};
};

/// Thread-safe.
class HookRunner {
 public:
  explicit HookRunner(HookRunnerOptions options);
  HookRunner(const HookRunner&) = delete;
  HookRunner& operator=(const HookRunner&) = delete;
  /// Cancels all calls, and waits for the one that runs for at most `grace`. Those that did not run are
  /// reported as cancelled. Not from inside a hook.
  ~HookRunner();

  /// Returns at once. What the body throws becomes an Error of code internal. With HookQueue::waiting_max
  /// calls of its rank waiting, the call fails with resource_exhausted. One whose Context is cancelled before
  /// its turn has come fails with cancelled.
  void submit(membership::HookCall call, HookRank rank = HookRank::duty);
  /// As HookQueue::allow(). Returns at once.
  void allow(HookRank last);
  /// Whatever waits fails with cancelled. Returns at once.
  void drop_waiting();
  /// submit() of duties, for layers that know no HookRunner. Does nothing but fail once the runner is gone.
  [[nodiscard]] membership::HookExecutor executor();
  /// Waits until nothing runs or waits. Errors: cancelled, deadline_exceeded.
  [[nodiscard]] Status drain(const Context& context);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace litecluster::app
