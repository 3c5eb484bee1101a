#include "app/hook_queue.hpp"

#include <algorithm>
#include <utility>

namespace litecluster::app {
namespace {

constexpr std::array ranks = {HookRank::start, HookRank::duty, HookRank::news};

}  // namespace

void HookQueue::submit(base::BootTime now, HookId hook, HookRank rank) {
  if (waiting(rank).size() >= waiting_max) {
    actions_.emplace_back(FailHook{hook, HookFailure::queue_full});
    return;
  }
  waiting(rank).push_back(hook);
  start_next(now);
}

void HookQueue::allow(base::BootTime now, HookRank last) {
  allowed_ = last;
  start_next(now);
}

void HookQueue::drop_waiting() {
  fail_waiting(HookRank::start, HookFailure::cancelled);
}

void HookQueue::cancelled(base::BootTime now, HookId hook) {
  if (running_ && running_->hook == hook) {
    if (!running_->give_up_at) running_->give_up_at = now + grace_;
    return;
  }
  for (auto& calls : waiting_) {
    if (std::erase(calls, hook) != 0) actions_.emplace_back(FailHook{hook, HookFailure::cancelled});
  }
}

void HookQueue::finished(base::BootTime now, WorkerId worker) {
  if (stuck_.erase(worker) != 0) {
    actions_.emplace_back(StuckChanged{stuck_.size()});
  } else if (worker == worker_) {
    running_.reset();
  }
  start_next(now);
}

void HookQueue::tick(base::BootTime now) {
  if (!running_) return;
  if (now >= running_->cancel_at) cancel_running(now, false);
  if (!running_->give_up_at || now < *running_->give_up_at) return;
  actions_.emplace_back(FailHook{running_->hook, HookFailure::gave_up});
  stuck_.insert(worker_++);
  running_.reset();
  actions_.emplace_back(StuckChanged{stuck_.size()});
  start_next(now);
}

void HookQueue::cancel_running(base::BootTime now, bool in_the_way) {
  if (running_->give_up_at) return;
  running_->give_up_at = now + grace_;
  actions_.emplace_back(CancelHookContext{running_->hook, in_the_way});
}

void HookQueue::clear_the_way(base::BootTime now) {
  if (running_->rank <= allowed_) return;
  const bool awaited =
      std::ranges::any_of(ranks, [&](HookRank rank) { return rank <= allowed_ && !waiting(rank).empty(); });
  if (awaited) cancel_running(now, true);
}

void HookQueue::start_next(base::BootTime now) {
  if (running_) return clear_the_way(now);
  if (stuck_.size() >= stuck_max_news) fail_waiting(HookRank::news, HookFailure::all_stuck);
  if (stuck_.size() >= stuck_max) fail_waiting(HookRank::start, HookFailure::all_stuck);
  for (const HookRank rank : ranks) {
    if (rank > allowed_) return;
    if (waiting(rank).empty()) continue;
    running_ = Running{
        .hook = waiting(rank).front(), .rank = rank, .cancel_at = now + timeout_, .give_up_at = std::nullopt};
    waiting(rank).pop_front();
    actions_.emplace_back(StartHook{running_->hook, worker_});
    return;
  }
}

void HookQueue::fail_waiting(HookRank first, HookFailure failure) {
  for (const HookRank rank : ranks) {
    if (rank < first) continue;
    for (const HookId hook : std::exchange(waiting(rank), {})) {
      actions_.emplace_back(FailHook{hook, failure});
    }
  }
}

std::vector<HookAction> HookQueue::take_actions() {
  return std::exchange(actions_, {});
}

std::optional<base::BootTime> HookQueue::next_tick() const {
  if (!running_) return std::nullopt;
  return running_->give_up_at.value_or(running_->cancel_at);
}

bool HookQueue::idle() const {
  return !running_ && std::ranges::all_of(waiting_, [](const auto& calls) { return calls.empty(); });
}

}  // namespace litecluster::app
