// The guard's fences, and which of them go on in a child process.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include <sys/types.h>

#include "backend/guard.hpp"

namespace litecluster::backend {

class GuardFences {
 public:
  explicit GuardFences(const std::vector<std::shared_ptr<Fence>>& fences)
      : fences_(fences), runs_(fences.size()) {}

  /// One that still goes on is dropped once more when it has ended: what it was called for may have happened
  /// behind its back.
  void drop() {
    for (std::size_t index = 0; index < runs_.size(); ++index) {
      if (runs_[index].pid > 0) {
        runs_[index].again = true;
      } else {
        drop(index);
      }
    }
  }

  /// What was to be dropped once more may be wanted again.
  void forget_again() {
    for (Run& run : runs_) run.again = false;
  }

  /// True when nothing goes on, and nothing failed the last time.
  [[nodiscard]] bool through() const {
    return std::ranges::all_of(runs_, [](const Run& run) { return run.pid <= 0 && !run.failed; });
  }

  /// A child of ours was reaped. False when it was none of a fence.
  bool ended(pid_t pid, int wait_status) {
    const auto run = std::ranges::find(runs_, pid, &Run::pid);
    if (run == runs_.end()) return false;
    if (run->again) {
      drop(static_cast<std::size_t>(run - runs_.begin()));
    } else {
      *run = {.failed = wait_status != 0};
    }
    return true;
  }

 private:
  struct Run {
    pid_t pid = 0;
    bool again = false;
    bool failed = false;  ///< what was to be dropped may still be there
  };

  void drop(std::size_t index) { runs_[index] = {.pid = fences_[index]->drop()}; }

  const std::vector<std::shared_ptr<Fence>>& fences_;
  std::vector<Run> runs_;  // one for each fence
};

}  // namespace litecluster::backend
