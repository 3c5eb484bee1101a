// Which objects make up a past state: the choice that Litestream makes, so that both restore the same.
//
// Start from the newest snapshot that is not beyond the target, or from nothing. Then, again and again, of
// all objects of levels 8 to 0 that continue what is reached (min <= reached + 1, max > reached) and are not
// beyond the target take the one that reaches farthest; of equals the one with the smaller min, then the
// higher level, then the earlier time. Objects may overlap, but nothing may be missing between them. This
// reaches every TXID that any choice could reach. It ends, as at a hole, before an object that says that it
// was made on another state.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "log/log_view.hpp"
#include "log/object.hpp"

namespace litecluster::log {

/// What to restore: the latest state unless one of the fields is set. Not both.
struct RestoreTarget {
  /// The state after exactly this TXID.
  std::optional<Txid> txid{};
  /// The last state from before this time (strictly, as in Litestream).
  std::optional<base::WallTime> time{};

  [[nodiscard]] static RestoreTarget latest() { return {}; }
  [[nodiscard]] static RestoreTarget at(Txid txid) { return {.txid = txid}; }
  [[nodiscard]] static RestoreTarget before(base::WallTime time) {
    return {.txid = std::nullopt, .time = time};
  }
};

/// Objects in the order in which they are applied. The first has min TXID 1, each next one continues or
/// overlaps those before it.
struct RestorePlan {
  std::vector<Object> objects;

  /// The state that comes out. The plan is not empty.
  [[nodiscard]] Txid txid() const { return objects.back().name.max; }
  [[nodiscard]] std::optional<Checksum> checksum() const { return objects.back().checksum; }
  /// Bytes of all LTX files together.
  [[nodiscard]] std::uint64_t size() const;
};

/// Errors: not_found (the log is empty; it does not reach back or on to the target; the TXID lies inside a
/// compacted object: the message names the nearest TXIDs that can be restored), gap (objects are missing in
/// the middle: the message says which TXIDs), invalid_argument (both targets set, or TXID 0).
[[nodiscard]] Result<RestorePlan> plan_restore(const LogView& view, const RestoreTarget& target);

/// The latest state that can be put together, whatever is missing behind it. Error: not_found (no object
/// begins at TXID 1, or there is none at all).
[[nodiscard]] Result<RestorePlan> plan_reachable(const LogView& view);

/// How to go on from the state after `from`, which is on the way to the target, without a new start. The plan
/// may be empty: nothing more to apply. Errors: as above.
[[nodiscard]] Result<RestorePlan> plan_onward(const LogView& view, Txid from, const RestoreTarget& target);
/// The same from the state after `last`, which is known to be the last object applied.
[[nodiscard]] Result<RestorePlan> plan_onward(const LogView& view, const Object& last,
                                              const RestoreTarget& target);

}  // namespace litecluster::log
