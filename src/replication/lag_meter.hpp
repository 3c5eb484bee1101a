// Measures how far a follower is behind, and notices when it gets nowhere. Pure.
//
// Lag in time is the age of the oldest object that is not applied, counted from when this node first saw it:
// a follower that is stuck shows a growing number even while new objects keep coming. Only differences of
// this node's own clock enter.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include <litecluster/lag.hpp>
#include <litecluster/types.hpp>

#include "base/clock.hpp"

namespace litecluster::replication {

/// Not thread-safe.
class LagMeter {
 public:
  /// Without progress for `stall_after` while something is missing, stalled() turns true.
  explicit LagMeter(base::Duration stall_after) : stall_after_(stall_after) {}

  /// The log is known to reach `end` now. Call it with each change.
  void log_reaches(Txid end, base::BootTime now);
  void applied(Txid txid, base::BootTime now);
  /// What is known of the log may be out of date from now on; log_reaches() ends that.
  void connection_lost() { known_ = false; }

  [[nodiscard]] Lag lag(base::BootTime now) const;
  [[nodiscard]] bool stalled(base::BootTime now) const;

 private:
  struct Seen {
    Txid end;
    base::BootTime at;
  };
  // One entry per change of the end, joined where there would be too many: times then err to the old side.
  static constexpr std::size_t entries_max = 4096;

  base::Duration stall_after_;
  std::deque<Seen> waiting_;
  Txid end_;
  Txid applied_;
  std::optional<base::BootTime> progress_;
  bool known_ = false;
};

}  // namespace litecluster::replication
