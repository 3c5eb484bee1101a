// When the publisher captures. Pure: it is told what happened and when, and answers what to do next.
//
// A commit that follows a quiet moment goes out at once: nobody waits for a timer. While an append is on its
// way to the log the commits that follow gather in the WAL and go out together as the next TXID, so one TXID
// holds whatever was committed during one round trip. Under sustained load captures start `min_sync_interval`
// apart on average, which bounds the number of objects per second; a few may follow each other faster, so
// that an application that commits at just that rate, never quite evenly, does not wait. Somebody who waits
// in sync() is not made to wait for that interval. When a lot of WAL has gathered while an append is still in
// flight, the next capture is prepared early, so that encoding overlaps with sending; no more than one
// capture is ever prepared.
#pragma once

#include <cstdint>
#include <optional>

#include "base/clock.hpp"

namespace litecluster::replication {

struct BatchLimits {
  /// Time between the starts of two captures under sustained load, on average.
  base::Duration min_sync_interval = std::chrono::milliseconds(10);
  /// So many captures may come early before that holds.
  int burst = 4;
  /// Captures are attempted at least this often: the safety net below change notification.
  base::Duration poll_interval = std::chrono::seconds(1);
  /// WAL bytes that, once gathered during an append in flight, are captured ahead of its end.
  std::uint64_t eager_bytes = std::uint64_t{1} << 20U;
};

/// Not thread-safe.
class Batcher {
 public:
  Batcher(const BatchLimits& limits, base::BootTime now)
      : limits_(limits), last_attempt_(now), next_due_(now - limits.burst * limits.min_sync_interval) {}

  /// The WAL may have changed; `wal_bytes` is how much of it lies beyond what was captured, as far as known.
  void changed(std::uint64_t wal_bytes) {
    pending_ = true;
    pending_bytes_ = wal_bytes;
  }
  /// Somebody waits until all that is committed now is acknowledged.
  void sync_requested() { urgent_ = true; }
  /// A capture was made at `now`. `produced`: it found commits, which now wait for their append.
  void captured(base::BootTime now, bool produced);
  /// The oldest prepared capture was handed to the log.
  void append_started() {
    --prepared_;
    in_flight_ = true;
  }
  /// The log acknowledged it.
  void append_finished() { in_flight_ = false; }
  /// The append failed and will be tried again: the capture is prepared again, ahead of any other.
  void append_failed() {
    in_flight_ = false;
    ++prepared_;
  }

  /// Capture now?
  [[nodiscard]] bool capture_due(base::BootTime now) const;
  /// Hand the prepared capture to the log now?
  [[nodiscard]] bool append_due() const { return prepared_ > 0 && !in_flight_; }
  /// When to ask again if nothing happens before.
  [[nodiscard]] base::BootTime wake_at() const;
  /// Nothing is prepared or in flight, and no change or request is waiting.
  [[nodiscard]] bool idle() const { return !pending_ && !urgent_ && prepared_ == 0 && !in_flight_; }

 private:
  [[nodiscard]] std::optional<base::BootTime> due_at() const;

  BatchLimits limits_;
  base::BootTime last_attempt_;
  // When the next capture would start if they had come evenly; as far as `burst` intervals behind.
  base::BootTime next_due_;
  std::uint64_t pending_bytes_ = 0;
  bool pending_ = true;  // after a start there may be anything in the WAL
  bool urgent_ = false;
  int prepared_ = 0;  // at most two: one captured ahead, one that came back
  bool in_flight_ = false;
};

}  // namespace litecluster::replication
