// When the leader writes a snapshot.
#pragma once

#include <litecluster/types.hpp>

#include "log/log_view.hpp"

namespace litecluster::log {

/// True when the newest complete state in the log (a snapshot; before there is one, any object that begins at
/// TXID 1) is from before the current multiple of `interval` of wall time and `position`, up to which the log
/// is acknowledged, has moved on. An idle database is never snapshotted again. `interval` is at least a
/// second.
[[nodiscard]] bool snapshot_due(const LogView& view, Txid position, base::WallTime now,
                                base::Duration interval);

}  // namespace litecluster::log
