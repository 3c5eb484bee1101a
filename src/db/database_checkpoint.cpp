// Checkpoints: the pages of the WAL go back into the database file, and the WAL starts anew.
//
// First without holding anybody up: a new pin is taken at the end of the WAL, then the old one let go, then a
// PASSIVE checkpoint copies everything up to the new pin. In a quiet moment that is all there is to it: the
// next pin finds nothing left to copy, reads the file alone, and leaves the WAL free to start anew. While
// commits keep coming, what came during the copy is copied under the write barrier, where none can come.
//
// A pin is never let go before (1) a successor stands or the barrier does, (2) everything up to the
// successor's state was captured, and (3) the checkpoint lock was got once, which proves that no checkpoint
// is still running that began before the WAL was last started anew. (3) closes the door to SQLite's WAL-reset
// race; docs/capture.md, "The race".
#include <algorithm>
#include <thread>
#include <utility>

#include "base/fault_point.hpp"
#include "base/logging.hpp"
#include "db/database_implementation.hpp"

namespace litecluster::db {

namespace {

constexpr int rounds_max = 3;
constexpr std::chrono::microseconds retry_pause{200};
constexpr std::uint32_t few_frames = 64;
constexpr int captures_max = 8;
constexpr const char* another_checkpoint = "another checkpoint is running";
constexpr const char* older_reader = "a reader still needs an older state";

}  // namespace

CheckpointStep Database::Implementation::checkpoint_due(base::BootTime now) {
  const auto header = connections_.worker.try_header();
  if (header) policy_.observe(header->frame_max, now);
  return policy_.due(now);
}

std::optional<base::BootTime> Database::Implementation::checkpoint_wake_at() const {
  if (!policy_.wanted()) return std::nullopt;
  return policy_.wake_at();
}

// Captures to the end. False when that would need too much memory at once.
Result<bool> Database::Implementation::drain(CheckpointReport& report) {
  std::uint64_t bytes = 0;
  for (int count = 0; count < captures_max; ++count) {
    auto captured = capture();
    if (!captured) return std::unexpected(captured.error());
    if (!*captured) return true;
    bytes += (*captured)->size_bytes();
    const bool large = (*captured)->size_bytes() > options_.capture_memory_max;
    report.captured.push_back(std::move(**captured));
    if (large || bytes > options_.capture_memory_max) break;
  }
  report.obstacle = "more was committed than can be held in memory: publish it first";
  return false;
}

// Takes a pin at the end of the WAL and lets go of the old one, unless report.obstacle says why not.
Result<PinnedState> Database::Implementation::move_pin(CheckpointReport& report) {
  WalConnection& successor = connections_.pins[1 - active_pin_];
  const auto pinned = successor.pin();
  if (!pinned) return std::unexpected(pinned.error());
  LITECLUSTER_FAULT_POINT("checkpoint.second_pin");
  const auto drained = drain(report);
  if (!drained || !*drained) {
    successor.end_read();
    if (!drained) return std::unexpected(drained.error());
    return *pinned;
  }
  if (auto probed = copy_back(base::BootClock::now() + options_.checkpoint_patience); !probed) {
    successor.end_read();
    if (probed.error().code() != ErrorCode::busy) return std::unexpected(probed.error());
    report.obstacle = another_checkpoint;
    return *pinned;
  }
  connections_.pins[active_pin_].end_read();
  active_pin_ = 1 - active_pin_;
  policy_.pinned(pinned->all_in_file);
  LITECLUSTER_FAULT_POINT("checkpoint.moved_pin");
  return *pinned;
}

// Under the barrier: nothing can be committed, so the state pinned is the one captured.
Status Database::Implementation::pin_again() {
  for (int attempt = 0; attempt < 4; ++attempt) {
    if (attempt > 0) active_pin_ = 1 - active_pin_;
    if (auto pinned = connections_.pins[active_pin_].begin_read(); pinned) return {};
  }
  return std::unexpected(
      fail(DatabaseHealth::wal_broken, "no new read transaction could be had; attach again"));
}

// A PASSIVE checkpoint that waits a little for others to end theirs.
Result<WalConnection::Copied> Database::Implementation::copy_back(base::BootTime give_up) {
  for (;;) {
    auto copied = connections_.worker.copy_back();
    if (copied || copied.error().code() != ErrorCode::busy || base::BootClock::now() >= give_up)
      return copied;
    std::this_thread::sleep_for(retry_pause);
  }
}

// Under the barrier. Readers that need an older state end sooner or later, and no new one can come.
Result<WalConnection::Copied> Database::Implementation::copy_all(base::BootTime give_up) {
  for (;;) {
    const auto copied = copy_back(give_up);
    if (!copied || copied->copied == copied->frames || copied->frames < options_.checkpoint.frames_urgent ||
        base::BootClock::now() >= give_up) {
      return copied;
    }
    std::this_thread::sleep_for(retry_pause);
  }
}

// SQLite's own waiting doubles its pauses, and loses against writers that follow each other closely.
Status Database::Implementation::take_barrier() {
  const base::BootTime give_up = base::BootClock::now() + options_.barrier_timeout;
  for (;;) {
    auto begun = connections_.barrier.begin_barrier();
    if (begun || begun.error().code() != ErrorCode::busy || base::BootClock::now() >= give_up) return begun;
    std::this_thread::sleep_for(retry_pause);
  }
}

Status Database::Implementation::copy_under_barrier(CheckpointReport& report) {
  if (auto begun = take_barrier(); !begun) {
    if (begun.error().code() != ErrorCode::busy) return begun;
    report.obstacle = "a write transaction was in progress";
    return {};
  }
  const base::BootTime begin = base::BootClock::now();
  LITECLUSTER_FAULT_POINT("checkpoint.barrier");
  Status outcome;
  const auto drained = drain(report);
  if (!drained) {
    outcome = std::unexpected(drained.error());
  } else if (*drained) {
    const base::BootTime give_up = base::BootClock::now() + options_.reader_patience;
    if (auto probed = copy_back(give_up); probed) {
      connections_.pins[active_pin_].end_read();
      LITECLUSTER_FAULT_POINT("checkpoint.unpinned");
      const auto copied = copy_all(give_up);
      LITECLUSTER_FAULT_POINT("checkpoint.copied");
      outcome = pin_again();
      policy_.pinned(copied && copied->copied == copied->frames);
      if (!copied) {
        report.obstacle = copied.error().message();
      } else if (copied->copied < copied->frames) {
        report.obstacle = older_reader;
      } else {
        report.restarts = true;
      }
    } else {
      report.obstacle =
          probed.error().code() == ErrorCode::busy ? another_checkpoint : probed.error().message();
    }
  }
  connections_.barrier.end_read();
  report.held = base::BootClock::now() - begin;
  return outcome;
}

void Database::Implementation::describe(CheckpointReport& report, CheckpointStep step) {
  if (const auto header = connections_.worker.try_header()) report.frames = header->frame_max;
  report.frames_copied = connections_.worker.copied_frames();
  if (report.restarts) report.obstacle.clear();
  const base::BootTime now = base::BootClock::now();
  policy_.observe(report.frames, now);
  if (step == CheckpointStep::move_pin) {
    if (!report.obstacle.empty()) policy_.hindered(now);
    return;
  }
  if (step == CheckpointStep::complete || report.restarts) {
    policy_.attempted(report.restarts, now);
  } else {
    policy_.copied();
    if (!report.obstacle.empty()) policy_.hindered(now);
  }
  const base::MutexLock lock(mutex_);
  ++shared_.statistics.checkpoints;
  shared_.statistics.held_total += report.held;
  shared_.statistics.held_max = std::max(shared_.statistics.held_max, report.held);
}

Result<CheckpointReport> Database::Implementation::checkpoint(CheckpointStep step) {
  CheckpointReport report;
  if (auto done = run_checkpoint(report, step); !done) {
    keep(std::move(report.captured));
    return std::unexpected(done.error());
  }
  describe(report, step);
  return report;
}

Status Database::Implementation::run_checkpoint(CheckpointReport& report, CheckpointStep step) {
  const auto drained = drain(report);
  if (!drained) return std::unexpected(drained.error());
  if (step == CheckpointStep::move_pin) {
    if (!*drained) return {};
    if (const auto moved = move_pin(report); !moved) return std::unexpected(moved.error());
    return {};
  }
  // The frames that are about to be overwritten are one proof of what the log has, the journal is the other.
  if (auto synced = state_->sync(); !synced) return synced;
  const auto header = connections_.worker.header();
  if (!header) return std::unexpected(header.error());
  report.restarts = *drained && header->frame_max == 0;
  const bool complete = step == CheckpointStep::complete;
  if (auto copied = copy_without_barrier(report, complete ? rounds_max : 1); !copied) return copied;
  if (complete && report.obstacle.empty() && !report.restarts) return copy_under_barrier(report);
  return {};
}

// Moves the pin forward and copies back up to it, again while commits keep coming.
Status Database::Implementation::copy_without_barrier(CheckpointReport& report, int rounds) {
  for (int round = 0; report.obstacle.empty() && !report.restarts && round < rounds; ++round) {
    if (LITECLUSTER_FAULT_REQUESTED("checkpoint.full_disk")) {
      return failure(ErrorCode::resource_exhausted, "checkpoint", options_.path.string(),
                     "no space (by a test)");
    }
    const auto moved = move_pin(report);
    if (!moved) return std::unexpected(moved.error());
    if (!report.obstacle.empty()) break;
    report.restarts = moved->all_in_file;
    if (report.restarts) break;
    const auto copied = copy_back(base::BootClock::now() + options_.checkpoint_patience);
    if (!copied && copied.error().code() != ErrorCode::busy) return std::unexpected(copied.error());
    if (!copied) {
      report.obstacle = another_checkpoint;
    } else if (copied->copied < moved->header.frame_max) {
      if (copied->frames >= options_.checkpoint.frames_urgent) break;
      report.obstacle = older_reader;
    } else if (copied->copied < copied->frames && copied->frames - copied->copied < few_frames) {
      break;
    }
  }
  return {};
}

}  // namespace litecluster::db
