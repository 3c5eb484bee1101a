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

#include <vector>

#include <litecluster/error.hpp>

#include "log/log_view.hpp"
#include "log/object.hpp"

namespace litecluster::log {

/// The smallest grace that is accepted. A writer trusts an acknowledgement only for a part of it
/// (appender.hpp).
inline constexpr base::Duration raw_grace_min = std::chrono::minutes(1);

struct RetentionPolicy {
  /// At least raw_grace_min; less is taken as that.
  base::Duration raw_grace = std::chrono::minutes(5);
  base::Duration retention = std::chrono::hours(24);
  /// Objects removed in one go.
  std::size_t removals_max = 10'000;
};

/// The objects to remove, in the order in which to remove them: stopping at any point keeps the promise.
/// `settled`: L0 objects above this sequence stay, whatever their age (settled_sequence.hpp).
/// Pure. Error: internal when the latest state could not be restored from what is left; then nothing may be
/// removed.
[[nodiscard]] Result<std::vector<Object>> plan_retention(const LogView& view, const RetentionPolicy& policy,
                                                         base::WallTime now, Revision settled);

}  // namespace litecluster::log
