// When to checkpoint. Pure: it is told what the WAL looks like and when, and answers what to do.
//
// A checkpoint of ours has two steps (db/database.hpp): copying pages back, which holds nobody up, and
// letting the WAL start anew, for which writers are held for a moment. The first is due when enough frames
// have gathered, the second soon after, in a quiet moment if one comes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/clock.hpp"

namespace litecluster::db {

struct CheckpointLimits {
  /// Frames in the WAL from which on a checkpoint is wanted.
  std::uint32_t frames = 1000;
  /// A moment is quiet when nothing was committed for so long.
  base::Duration quiet = std::chrono::milliseconds(20);
  /// With so many frames no quiet moment is waited for.
  std::uint32_t frames_urgent = 4000;
  /// After a checkpoint that others kept from completing, the next try is not before this has passed.
  base::Duration retry = std::chrono::milliseconds(250);
};

/// Not thread-safe.
class CheckpointPolicy {
 public:
  explicit CheckpointPolicy(const CheckpointLimits& limits) : limits_(limits) {}

  /// The WAL was seen with `frames` frames up to the last commit.
  void observe(std::uint32_t frames, base::BootTime now) {
    if (frames == frames_) return;
    if (frames < frames_) settled_ = 0;  // it was started anew
    frames_ = frames;
    last_change_ = now;
  }
  /// A checkpoint was tried. `complete`: all frames that there were are copied back, and the WAL starts anew
  /// with the next commit, if no reader of the application keeps it from doing so.
  void attempted(bool complete, base::BootTime now) {
    blocked_until_ = complete ? base::BootTime{} : now + limits_.retry;
    if (complete) settled_ = frames_;
  }

  /// Enough has gathered since the last complete one.
  [[nodiscard]] bool wanted() const { return frames_ - settled_ >= limits_.frames; }
  [[nodiscard]] bool due(base::BootTime now) const {
    if (!wanted() || now < blocked_until_) return false;
    return frames_ - settled_ >= limits_.frames_urgent || now - last_change_ >= limits_.quiet;
  }
  /// When to ask again if nothing happens before; meaningful while wanted().
  [[nodiscard]] base::BootTime wake_at() const {
    return std::max(last_change_ + limits_.quiet, blocked_until_);
  }

 private:
  CheckpointLimits limits_;
  std::uint32_t frames_ = 0;
  std::uint32_t settled_ = 0;  // frames that the last complete checkpoint found
  base::BootTime last_change_{};
  base::BootTime blocked_until_{};
};

}  // namespace litecluster::db
