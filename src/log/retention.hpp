// Which objects may go.
//
// The promise, for a policy with `retention` and levels whose smallest interval is I, at time `now`:
//   * the latest state can be restored;
//   * so can every TXID younger than `raw_grace`;
//   * so can, for each time from now - retention on, the last state from before it, to within I.
// Hence:
//   * An L0 object goes when a compacted object holds the same TXID and both are older than `raw_grace`.
//     They go from the lowest TXID on, when they have also been in the bucket for raw_grace_min, and the
//     first that has to stay keeps all after it. The newest stays always: stock Litestream finds the end of
//     the log by it.
//   * The base is the newest snapshot from before now - retention. Older snapshots go.
//   * Objects of all levels that end at or before the base go once they are older than the retention,
//     except the last of each level, by which compaction knows where to go on. Without a base none goes.
//   * Stale L0 objects (epoch rule, log_view.hpp) go when older than the grace.
// Somebody may be reading what goes: a reader that finds an object missing plans again.
#pragma once

#include <optional>
#include <vector>

#include <litecluster/error.hpp>

#include "base/clock.hpp"
#include "log/log_view.hpp"
#include "log/object.hpp"

namespace litecluster::log {

/// The smallest grace that is accepted.
inline constexpr base::Duration raw_grace_min = std::chrono::minutes(1);

struct RetentionPolicy {
  /// At least raw_grace_min; less is taken as that.
  base::Duration raw_grace = std::chrono::minutes(5);
  base::Duration retention = std::chrono::hours(24);
  /// Objects removed in one go.
  std::size_t removals_max = 10'000;
};

/// Which time the rules go by. A clock that jumped must not make history look old: what was kept for a day is
/// gone for good once it was removed.
struct RetentionTimes {
  RetentionTimes(base::WallTime wall) : now(wall), history(wall) {}  // NOLINT(google-explicit-constructor)
  RetentionTimes(base::WallTime wall, base::WallTime history_time) : now(wall), history(history_time) {}

  /// For the grace.
  base::WallTime now;
  /// For `retention`.
  base::WallTime history;
};

/// Tells the times, for one term of leadership. Pure.
///
/// A wall clock that is ahead of where time has got to, counted on the boot clock from the newest time stamp
/// that the log had when the term began, is believed only after it has been so for as long as the retention.
/// Until then history goes by the counted time. So neither a clock that jumps nor a leader whose clock is a
/// year ahead removes what was promised; a log that was idle for long keeps its history a little longer.
class RetentionClock {
 public:
  RetentionClock(base::WallTime newest_in_log, base::WallTime wall, base::BootTime boot);

  [[nodiscard]] RetentionTimes at(base::WallTime wall, base::BootTime boot, const RetentionPolicy& policy);

 private:
  base::WallTime wall_;  // where time had got to
  base::BootTime boot_;  // at this moment
  std::optional<base::BootTime> ahead_since_;
};

/// The objects to remove, in the order in which to remove them: stopping at any point keeps the promise.
/// `settled`: L0 objects above this sequence stay, whatever their age (settled_sequence.hpp).
/// Pure. Error: internal when the latest state could not be restored from what is left; then nothing may be
/// removed.
[[nodiscard]] Result<std::vector<Object>> plan_retention(const LogView& view, const RetentionPolicy& policy,
                                                         const RetentionTimes& times, Revision settled);

}  // namespace litecluster::log
