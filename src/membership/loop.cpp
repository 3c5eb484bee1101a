#include "membership/loop.hpp"

#include <algorithm>
#include <utility>

namespace litecluster::membership {
namespace {

/// Boot time goes on while the machine is suspended, the clock of the wait does not: look again.
constexpr base::Duration wait_max = std::chrono::seconds(1);

}  // namespace

Loop::Loop() : thread_([this] { run(); }) {}

Loop::~Loop() {
  stop();
}

void Loop::post(Job job, Room room) {
  base::MutexLock lock(mutex_);
  while (room == Room::needed && jobs_.size() >= jobs_max && !stopping_ &&
         std::this_thread::get_id() != thread_.get_id()) {
    room_.wait(lock);
  }
  if (stopping_) return;
  jobs_.push_back(std::move(job));
  changed_.notify_one();
}

Loop::Timer* Loop::add_timer(std::function<void()> callback) {
  const base::MutexLock lock(mutex_);
  return timers_.emplace_back(std::make_unique<Timer>(std::move(callback))).get();
}

void Loop::set_timer(Timer* timer, std::optional<base::BootTime> at) {
  const base::MutexLock lock(mutex_);
  if (timer->at_ == at) return;
  timer->at_ = at;
  changed_.notify_one();
}

void Loop::stop() {
  {
    const base::MutexLock lock(mutex_);
    stopping_ = true;
    changed_.notify_one();
    room_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
  const base::MutexLock lock(mutex_);
  jobs_.clear();
}

void Loop::run() {
  base::MutexLock lock(mutex_);
  while (!stopping_) {
    // Timers first: a process that was suspended has to see its deadlines before anything else.
    const base::BootTime now = base::BootClock::now();
    const auto due = std::ranges::find_if(
        timers_, [now](const std::unique_ptr<Timer>& timer) { return timer->at_ && *timer->at_ <= now; });
    if (due != timers_.end()) {
      Timer& timer = **due;
      timer.at_.reset();
      lock.unlock();
      timer.callback_();
      lock.lock();
      continue;
    }
    if (!jobs_.empty()) {
      {
        Job job = std::move(jobs_.front());
        jobs_.pop_front();
        room_.notify_one();
        lock.unlock();
        job();
      }
      lock.lock();
      continue;
    }
    std::optional<base::BootTime> next;
    for (const std::unique_ptr<Timer>& timer : timers_) {
      if (timer->at_) next = next ? std::min(*next, *timer->at_) : timer->at_;
    }
    if (next) {
      changed_.wait_for(lock, std::clamp<base::Duration>(*next - now, base::Duration(1), wait_max));
    } else {
      changed_.wait(lock);
    }
  }
}

}  // namespace litecluster::membership
