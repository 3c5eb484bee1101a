// The order in which hooks run and what happens to one that hangs. Pure.
//
// One hook runs at a time, on a worker. When it is not back after `timeout` it is cancelled, and when it is
// not back `grace` after it was cancelled, for whatever reason, it is given up: its worker is stuck, and the
// next hook runs on another one. With stuck_max stuck workers nothing runs any more until one of them comes
// back, and what is due fails at once, so that nobody waits for ever.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <variant>
#include <vector>

#include "base/clock.hpp"

namespace litecluster::app {

enum class HookFailure {
  queue_full,
  gave_up,    ///< it ran and did not come back
  all_stuck,  ///< it never ran
};

using HookId = std::uint64_t;
using WorkerId = std::uint64_t;

struct StartHook {
  HookId hook;
  WorkerId worker;
};
struct CancelHookContext {
  HookId hook;
};
/// The call has failed and is forgotten; its worker may still be in it.
struct FailHook {
  HookId hook;
  HookFailure failure;
};
/// No worker is stuck any more, or one more is.
struct StuckChanged {
  std::size_t stuck;
};
using HookAction = std::variant<StartHook, CancelHookContext, FailHook, StuckChanged>;

/// Not thread-safe.
class HookQueue {
 public:
  static constexpr std::size_t waiting_max = 1024;
  static constexpr std::size_t stuck_max = 8;

  HookQueue(base::Duration timeout, base::Duration grace) : timeout_(timeout), grace_(grace) {}

  void submit(base::BootTime now, HookId hook);
  /// The Context of this call was cancelled by its owner.
  void cancelled(base::BootTime now, HookId hook);
  /// The worker came back.
  void finished(base::BootTime now, WorkerId worker);
  void tick(base::BootTime now);

  [[nodiscard]] std::vector<HookAction> take_actions();
  [[nodiscard]] std::optional<base::BootTime> next_tick() const;
  [[nodiscard]] bool idle() const { return !running_ && waiting_.empty(); }

 private:
  struct Running {
    HookId hook;
    base::BootTime cancel_at;
    std::optional<base::BootTime> give_up_at;
  };
  void start_next(base::BootTime now);

  base::Duration timeout_;
  base::Duration grace_;
  std::deque<HookId> waiting_;
  std::optional<Running> running_;
  WorkerId worker_ = 1;
  std::set<WorkerId> stuck_;
  std::vector<HookAction> actions_;
};

}  // namespace litecluster::app
