// When to checkpoint. Pure: it is told what the WAL looks like and when, and answers what to do.
//
// A checkpoint of ours has two steps (db/database.hpp): copying pages back, which holds nobody up, and
// letting the WAL start anew, for which writers are held for a moment. The first is due when enough frames
// have gathered, the second soon after, in a quiet moment if one comes.
#pragma once

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
    frames_ = frames;
    last_change_ = now;
  }
  /// A checkpoint was tried. `frames_left`: frames that remain because somebody needs them; 0 when the next
  /// commit starts the WAL anew.
  void attempted(std::uint32_t frames_left, base::BootTime now) {
    blocked_until_ = frames_left == 0 ? base::BootTime{} : now + limits_.retry;
    settled_frames_ = frames_left == 0 ? frames_ : 0;
  }

  [[nodiscard]] bool due(base::BootTime now) const {
    if (frames_ < limits_.frames || frames_ == settled_frames_ || now < blocked_until_) return false;
    return frames_ >= limits_.frames_urgent || now - last_change_ >= limits_.quiet;
  }
  /// When to ask again if nothing happens before; only meaningful while frames() has reached the limit.
  [[nodiscard]] base::BootTime wake_at() const {
    const base::BootTime quiet = last_change_ + limits_.quiet;
    return quiet > blocked_until_ ? quiet : blocked_until_;
  }
  [[nodiscard]] bool wanted() const { return frames_ >= limits_.frames && frames_ != settled_frames_; }

 private:
  CheckpointLimits limits_;
  std::uint32_t frames_ = 0;
  std::uint32_t settled_frames_ = 0;  // all of these were copied back; they wait for the WAL to start anew
  base::BootTime last_change_{};
  base::BootTime blocked_until_{};
};

}  // namespace litecluster::db
