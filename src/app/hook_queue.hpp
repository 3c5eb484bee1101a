// The order in which hooks run and what happens to one that hangs. Pure.
//
// One hook runs at a time, on a worker: of those that wait the one of the first rank, and within a rank the
// one that came first. When it is not back after `timeout` it is cancelled, and when it is not back `grace`
// after it was cancelled, for whatever reason, it is given up: its worker is stuck, and the next hook runs on
// another one. With stuck_max stuck workers nothing runs any more until one of them comes back, and what is
// due fails at once, so that nobody waits for ever; news fail with stuck_max_news, so that they cannot take
// the last worker from those who have to release something. A call that is cancelled while it waits fails and
// is never started.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <variant>
#include <vector>

#include "base/clock.hpp"

namespace litecluster::app {

/// In the order in which they go.
enum class HookRank : std::uint8_t {
  start,  ///< on_start
  duty,   ///< something waits for its end: a role, partitions, shutdown
  news,   ///< it only tells what has happened
};

enum class HookFailure {
  queue_full,
  gave_up,    ///< it ran and did not come back
  all_stuck,  ///< it never ran
  cancelled,  ///< it never ran
};

using HookId = std::uint64_t;
using WorkerId = std::uint64_t;

struct StartHook {
  HookId hook;
  WorkerId worker;
};
struct CancelHookContext {
  HookId hook;
  bool in_the_way = false;  ///< of another one; otherwise it takes too long
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
  static constexpr std::size_t waiting_max = 1024;  ///< of one rank
  static constexpr std::size_t stuck_max_news = 8;
  static constexpr std::size_t stuck_max = 16;

  HookQueue(base::Duration timeout, base::Duration grace) : timeout_(timeout), grace_(grace) {}

  void submit(base::BootTime now, HookId hook, HookRank rank = HookRank::duty);
  /// Ranks behind `last` wait until they are allowed again. One of theirs that runs is cancelled when another
  /// that may run waits for it. At first all are allowed.
  void allow(base::BootTime now, HookRank last);
  /// Whatever waits fails as cancelled.
  void drop_waiting();
  /// The Context of this call was cancelled by its owner.
  void cancelled(base::BootTime now, HookId hook);
  /// The worker came back.
  void finished(base::BootTime now, WorkerId worker);
  void tick(base::BootTime now);

  [[nodiscard]] std::vector<HookAction> take_actions();
  [[nodiscard]] std::optional<base::BootTime> next_tick() const;
  [[nodiscard]] bool idle() const;

 private:
  struct Running {
    HookId hook;
    HookRank rank;
    base::BootTime cancel_at;
    std::optional<base::BootTime> give_up_at;
  };
  void start_next(base::BootTime now);
  void cancel_running(base::BootTime now, bool in_the_way);
  void clear_the_way(base::BootTime now);
  void fail_waiting(HookRank first, HookFailure failure);
  [[nodiscard]] std::deque<HookId>& waiting(HookRank rank) {
    return waiting_[static_cast<std::size_t>(rank)];
  }

  base::Duration timeout_;
  base::Duration grace_;
  std::array<std::deque<HookId>, 3> waiting_;  ///< by rank
  HookRank allowed_ = HookRank::news;
  std::optional<Running> running_;
  WorkerId worker_ = 1;
  std::set<WorkerId> stuck_;
  std::vector<HookAction> actions_;
};

}  // namespace litecluster::app
