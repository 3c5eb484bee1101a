// What an application wants to be told.
//
// Hooks run one at a time, in the order of the events, on a thread of their own; those that only bring news
// (of members, the leader, health) come after the others. Each gets a Context that is cancelled when what it
// was called for no longer holds (leadership or partition lost, shutdown), when AppOptions::hook_timeout has
// passed or, if it only brings news, when on_passive, or after a lost lease on_release, waits for it. A hook
// returns an Error to say that it failed; what it throws counts as an Error of code internal.
//
// A hook that does not return soon after its Context was cancelled is given up: it counts as failed, the
// check `hooks` becomes critical, and the following ones run on another thread. Its thread cannot be killed;
// once several are stuck no further hook runs until one of them returns, and all that are due fail.
#pragma once

#include <functional>
#include <span>
#include <string>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/health.hpp>
#include <litecluster/member.hpp>
#include <litecluster/ring.hpp>

namespace litecluster {

/// Any of them may be empty.
struct Hooks {
  /// Leadership was won and the database is ready. Exactly once per epoch won; when it fails, leadership is
  /// given back.
  std::function<Status(Context&)> on_active{};
  /// Once after each on_active that was called, whether it succeeded or not.
  std::function<Status(Context&)> on_passive{};
  /// Some node became leader; empty when there is none.
  std::function<Status(Context&, const std::string& leader)> on_leader_change{};
  /// The node is a member now. When it fails, App::run ends with its error.
  std::function<Status(Context&)> on_start{};
  /// The last of all, once after on_start.
  std::function<Status(Context&)> on_stop{};
  /// These partitions are ours from now on. When it fails it is called again after a while.
  std::function<Status(Context&, std::span<const Partition>)> on_own{};
  /// These partitions have to be given away: called for what on_own has succeeded for, and before anybody
  /// else owns them. The next owner waits for it.
  std::function<Status(Context&, std::span<const Partition>)> on_release{};
  std::function<Status(Context&, const Member&)> on_member_join{};
  std::function<Status(Context&, const Member&)> on_member_leave{};
  /// Of this node.
  std::function<Status(Context&, const Health&)> on_health_change{};
};

}  // namespace litecluster
