#include "replication/batcher.hpp"

#include <algorithm>

namespace litecluster::replication {

void Batcher::captured(base::BootTime now, bool produced) {
  last_attempt_ = now;
  pending_ = false;
  pending_bytes_ = 0;
  urgent_ = false;
  if (produced) {
    const base::BootTime credit_max = now - limits_.burst * limits_.min_sync_interval;
    next_due_ = std::max(next_due_, credit_max) + limits_.min_sync_interval;
    ++prepared_;
  }
}

// The time from which a capture may start; nothing while one is prepared or an append makes it wait.
std::optional<base::BootTime> Batcher::due_at() const {
  if (prepared_ > 0) return std::nullopt;
  const bool eager = pending_ && pending_bytes_ >= limits_.eager_bytes;
  if (in_flight_ && !eager) return std::nullopt;
  if (urgent_ || eager) return last_attempt_;
  const base::BootTime poll = last_attempt_ + limits_.poll_interval;
  if (!pending_) return poll;
  return std::min(poll, next_due_);
}

bool Batcher::capture_due(base::BootTime now) const {
  const auto due = due_at();
  return due && now >= *due;
}

base::BootTime Batcher::wake_at() const {
  return due_at().value_or(last_attempt_ + limits_.poll_interval);
}

}  // namespace litecluster::replication
