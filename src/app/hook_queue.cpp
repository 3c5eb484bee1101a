#include "app/hook_queue.hpp"

#include <algorithm>
#include <utility>

namespace litecluster::app {

void HookQueue::submit(base::BootTime now, HookId hook) {
  if (waiting_.size() >= waiting_max) {
    actions_.emplace_back(FailHook{hook, HookFailure::queue_full});
    return;
  }
  waiting_.push_back(hook);
  start_next(now);
}

void HookQueue::cancelled(base::BootTime now, HookId hook) {
  if (running_ && running_->hook == hook && !running_->give_up_at) running_->give_up_at = now + grace_;
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
  if (!running_->give_up_at && now >= running_->cancel_at) {
    running_->give_up_at = now + grace_;
    actions_.emplace_back(CancelHookContext{running_->hook});
  }
  if (!running_->give_up_at || now < *running_->give_up_at) return;
  actions_.emplace_back(FailHook{running_->hook, HookFailure::gave_up});
  stuck_.insert(worker_++);
  running_.reset();
  actions_.emplace_back(StuckChanged{stuck_.size()});
  start_next(now);
}

void HookQueue::start_next(base::BootTime now) {
  if (running_) return;
  if (stuck_.size() >= stuck_max) {
    for (const HookId hook : std::exchange(waiting_, {})) {
      actions_.emplace_back(FailHook{hook, HookFailure::all_stuck});
    }
    return;
  }
  if (waiting_.empty()) return;
  running_ = Running{.hook = waiting_.front(), .cancel_at = now + timeout_, .give_up_at = std::nullopt};
  waiting_.pop_front();
  actions_.emplace_back(StartHook{running_->hook, worker_});
}

std::vector<HookAction> HookQueue::take_actions() {
  return std::exchange(actions_, {});
}

std::optional<base::BootTime> HookQueue::next_tick() const {
  if (!running_) return std::nullopt;
  return running_->give_up_at.value_or(running_->cancel_at);
}

}  // namespace litecluster::app
