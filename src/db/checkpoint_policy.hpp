// When to checkpoint. Pure: it is told what the WAL looks like and when, and answers what to do.
//
// Pages are copied back up to a new pin as often as the application itself would do it; that holds nobody up.
// Letting the WAL start anew is wanted as soon, in a quiet moment if one comes; under load, where writers
// have to be held for it, only when a good deal has gathered.
//
// Behind a pin at mark 0 (docs/capture.md) nobody can copy back, and from its own threshold on an application
// that checkpoints by itself tries, and sorts the whole index of the WAL, at each commit. So such a pin is
// moved to the WAL soon after the WAL was started anew.
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

/// Each does what those before it do.
enum class CheckpointStep {
  none,
  move_pin,  ///< a new pin at the end of the WAL
  copy,      ///< pages up to it are copied back
  complete,  ///< the WAL starts anew
};

/// Not thread-safe.
class CheckpointPolicy {
 public:
  explicit CheckpointPolicy(const CheckpointLimits& limits) : limits_(limits) {}

  /// The WAL was seen with `frames` frames up to the last commit.
  void observe(std::uint32_t frames, base::BootTime now) {
    if (frames == frames_) return;
    if (frames < frames_) settled_ = copied_ = 0;  // it was started anew
    frames_ = frames;
    last_change_ = now;
  }
  /// A new pin stands. `all_in_file`: at mark 0.
  void pinned(bool all_in_file) { pin_in_file_ = all_in_file; }
  /// Pages were copied back as far as could be.
  void copied() { copied_ = frames_; }
  /// A step could not be done because of others.
  void hindered(base::BootTime now) { blocked_until_ = now + limits_.retry; }
  /// A checkpoint was tried. `complete`: all frames that there were are copied back, and the WAL starts anew
  /// with the next commit, if no reader of the application keeps it from doing so.
  void attempted(bool complete, base::BootTime now) {
    blocked_until_ = complete ? base::BootTime{} : now + limits_.retry;
    copied_ = frames_;
    if (complete) settled_ = frames_;
  }

  /// Enough has gathered since the last complete one.
  [[nodiscard]] bool wanted() const { return frames_ - settled_ >= limits_.frames; }
  [[nodiscard]] CheckpointStep due(base::BootTime now) const {
    if (now < blocked_until_) return CheckpointStep::none;
    const std::uint32_t grown = frames_ - settled_;
    if (grown >= limits_.frames_urgent) return CheckpointStep::complete;
    if (wanted() && now - last_change_ >= limits_.quiet) return CheckpointStep::complete;
    if (wanted() && frames_ - copied_ >= limits_.frames) return CheckpointStep::copy;
    if (pin_in_file_ && grown >= std::max(limits_.frames / 4, 1U)) return CheckpointStep::move_pin;
    return CheckpointStep::none;
  }
  /// When to ask again if nothing happens before; meaningful while wanted().
  [[nodiscard]] base::BootTime wake_at() const {
    return std::max(last_change_ + limits_.quiet, blocked_until_);
  }

 private:
  CheckpointLimits limits_;
  std::uint32_t frames_ = 0;
  std::uint32_t settled_ = 0;  // frames that the last complete checkpoint found
  std::uint32_t copied_ = 0;   // frames that there were when pages were last copied back
  bool pin_in_file_ = false;
  base::BootTime last_change_{};
  base::BootTime blocked_until_{};
};

}  // namespace litecluster::db
