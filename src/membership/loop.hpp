// One thread that runs jobs in the order in which they were posted, and timers on boot time. State machines
// that belong together live on one loop, and need no lock; their I/O runs on another and posts its results.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "base/mutex.hpp"

namespace litecluster::membership {

/// Thread-safe.
class Loop {
 public:
  using Job = std::move_only_function<void()>;
  static constexpr std::size_t jobs_max = 4096;

  /// Belongs to the loop; lives as long as it.
  class Timer {
   public:
    explicit Timer(std::function<void()> callback) : callback_(std::move(callback)) {}

   private:
    friend class Loop;
    std::function<void()> callback_;
    std::optional<base::BootTime> at_;
  };

  Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  /// As stop().
  ~Loop();

  /// Whether a post waits while jobs_max jobs are there already. `not_needed` is for those who are limited
  /// otherwise and must not wait.
  enum class Room { needed, not_needed };

  /// May block, though never the loop's own thread. Dropped after stop().
  void post(Job job, Room room = Room::needed);
  /// A timer that is not set.
  [[nodiscard]] Timer* add_timer(std::function<void()> callback);
  /// Runs the callback once at `at`, or never.
  void set_timer(Timer* timer, std::optional<base::BootTime> at);
  /// Waits for the job that is running; those that wait are dropped. Not from the loop's own thread.
  void stop();

 private:
  void run();

  base::Mutex mutex_;
  base::ConditionVariable changed_;  // of the thread
  base::ConditionVariable room_;     // of those who wait in post()
  std::deque<Job> jobs_ LITECLUSTER_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Timer>> timers_ LITECLUSTER_GUARDED_BY(mutex_);
  bool stopping_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  std::jthread thread_;
};

}  // namespace litecluster::membership
