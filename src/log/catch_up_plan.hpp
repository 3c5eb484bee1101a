// How a standby gets from its own TXID to the end of the log: the chain of objects that costs least to fetch,
// or a new start from a snapshot when no chain leads there.
#pragma once

#include <cstdint>
#include <vector>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "log/log_view.hpp"
#include "log/restore_plan.hpp"

namespace litecluster::log {

/// One fetch counts like this many bytes: one compacted object is better than many small ones, but not than
/// few.
inline constexpr std::uint64_t fetch_cost_bytes = 16 * 1024;

struct CatchUpPlan {
  /// False: the objects continue the replica's state. True: the replica starts again from nothing.
  bool reseed = false;
  /// In the order in which they are applied; empty when the replica is up to date. An object may repeat
  /// transactions that the replica has already: its pages are then the newer ones, and applying it is right.
  std::vector<Object> objects;
};

/// `from` is the TXID of the replica; 0 when it has no state, which means re-seeding. Errors: gap when
/// neither a chain nor a restore leads to the end; failed_precondition when `from` lies beyond the end of the
/// log, so that the replica holds transactions that the log does not know.
[[nodiscard]] Result<CatchUpPlan> plan_catch_up(const LogView& view, Txid from);

}  // namespace litecluster::log
