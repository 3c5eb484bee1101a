// What a follower does next, given the log as it is known and the replica's position. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <variant>
#include <vector>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "log/log_view.hpp"

namespace litecluster::replication {

/// Nothing: the replica is at the end of the log.
struct UpToDate {};

/// Objects that continue the replica, in order.
struct ApplyObjects {
  std::vector<log::Object> objects;
};

/// The replica has to start again from a complete state.
struct Reseed {
  std::vector<log::Object> objects;
  std::string reason;
};

/// No way leads on from here now; what arrives later may open one.
struct Stuck {
  Error reason;
};

using FollowWork = std::variant<UpToDate, ApplyObjects, Reseed, Stuck>;

/// What the replica holds at its position.
struct AppliedState {
  Checksum checksum;
  /// File checksum of the raw object that led there, when it was one: two states can have the same checksum
  /// (ltx/checksum.hpp).
  std::optional<Checksum> file{};
};

/// Raw objects are taken one by one, without a plan, while no more than this many are missing; and no more at
/// once.
inline constexpr std::size_t raw_objects_ahead_max = 256;

/// `applied`: 0 for a replica without content. `trusted`: false when the replica's content cannot be vouched
/// for (quarantined), which forces a new start. `state`: nothing while its position is a guess.
[[nodiscard]] FollowWork plan_follow(const log::LogView& view, Txid applied, bool trusted,
                                     std::optional<AppliedState> state = std::nullopt);

/// That the log, as far as it says so, has at `applied` the state that the replica has there. Where servers
/// lost what they had acknowledged, another one may have come under the same TXID. Error:
/// failed_precondition.
[[nodiscard]] Status check_same_state(const log::LogView& view, Txid applied, const AppliedState& state);

/// That the object, if it continues `applied` and says so, was made on that state. Another one can have the
/// same pages in it and hide that there were two histories. Error: failed_precondition.
[[nodiscard]] Status check_made_on(const log::Object& object, Txid applied, const AppliedState& state);

}  // namespace litecluster::replication
