// How often to look for a commit after the file system reported writes to the WAL. Pure.
//
// A write to the WAL is not yet a commit: the commit follows when its last frame is written, perhaps synced,
// and the wal-index updated, which no notification tells. So after a report we look again: at first very
// soon, then after a quarter of the time that has passed since. A commit is thus seen at most a quarter later
// than it came, and a transaction that writes for long, or is rolled back, costs few wake-ups. While reports
// keep coming they are not listened to (each would wake us), only counted at each look.
#pragma once

#include <algorithm>

#include "base/clock.hpp"

namespace litecluster::db {

/// Not thread-safe.
class WakeSchedule {
 public:
  static constexpr base::Duration delay_min = std::chrono::microseconds(50);
  static constexpr base::Duration delay_max_in_burst = std::chrono::milliseconds(5);

  explicit WakeSchedule(base::Duration idle_delay) : idle_delay_(idle_delay) {}

  struct Next {
    /// How long to wait before looking again.
    base::Duration delay;
    /// Whether a report ends the wait.
    bool listen;
  };

  /// Reports have arrived since the last look.
  void reported(base::BootTime now) {
    if (!burst_) {
      burst_ = true;
      since_ = now;
    }
    active_ = true;
  }
  /// No report has arrived since the last look.
  void silent(base::BootTime now) {
    if (burst_) {
      burst_ = false;
      since_ = now - delay_min;
    }
  }
  /// What was being looked for was found: until the next report nothing is expected.
  void found() { active_ = burst_ = false; }

  [[nodiscard]] Next next(base::BootTime now) {
    if (!active_) return {.delay = idle_delay_, .listen = true};
    const base::Duration quarter = std::max<base::Duration>((now - since_) / 4, delay_min);
    if (burst_) return {.delay = std::min(quarter, delay_max_in_burst), .listen = false};
    if (quarter >= idle_delay_) {
      active_ = false;
      return {.delay = idle_delay_, .listen = true};
    }
    return {.delay = quarter, .listen = true};
  }

 private:
  base::Duration idle_delay_;
  bool active_ = false;     // a commit may be on its way
  bool burst_ = false;      // reports keep coming
  base::BootTime since_{};  // begin of the burst, or of the silence after it
};

}  // namespace litecluster::db
