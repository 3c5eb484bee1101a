// The nodes of a cluster as one of them sees the others.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <litecluster/app_options.hpp>
#include <litecluster/health.hpp>
#include <litecluster/types.hpp>

namespace litecluster {

/// What a node does at the moment.
enum class Role {
  starting,  ///< not yet anything else
  active,    ///< leader of an active/passive cluster
  passive,   ///< standby
  worker,    ///< member of a pool or ring
};

/// "starting", "active", "passive" or "worker".
[[nodiscard]] std::string_view to_string(Role role);
/// "active_passive", "pool" or "ring".
[[nodiscard]] std::string_view to_string(Mode mode);

/// Names one life of one node. A node that restarts, or that lost its lease and came back, is a new life with
/// a larger `joined`: its former life has certainly ended.
struct MemberId {
  std::string node{};
  /// Random, new with each life.
  std::string incarnation{};
  /// Revision of the first record of this life. Grows over the lives of a node. 0: not known yet.
  Revision joined{};

  friend bool operator==(const MemberId&, const MemberId&) = default;
};

/// What a node says about itself.
struct Member {
  MemberId id{};
  Mode mode = Mode::active_passive;
  Role role = Role::starting;
  /// Of its database; unset in pools and rings and while not known.
  std::optional<Position> position{};
  /// Term of leadership that it takes part in; 0 when there is none.
  Epoch epoch{};
  HealthLevel health = HealthLevel::passing;
  std::string health_reason{};
  std::vector<std::string> addresses{};
  std::map<std::string, std::string> labels{};
  /// Version of the program.
  std::string version{};

  friend bool operator==(const Member&, const Member&) = default;
};

}  // namespace litecluster
