// Drives Session, Roster and HealthBoard over the coordination bucket.
//
// Three threads, asleep nearly always: the loop, on which all state lives and on which listeners are called;
// one for reads and writes; one that waits on the watch.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/health.hpp>
#include <litecluster/kv_entry.hpp>
#include <litecluster/member.hpp>

#include "membership/loop.hpp"
#include "membership/roster.hpp"
#include "membership/session.hpp"
#include "nats/kv_bucket.hpp"

namespace litecluster::membership {

struct ServiceOptions {
  std::string node{};
  Mode mode = Mode::active_passive;
  base::Duration heartbeat = std::chrono::seconds(3);
  std::vector<std::string> addresses{};
  std::map<std::string, std::string> labels{};
  std::string version{};
  /// Mode::ring only: the number of partitions.
  std::uint32_t partitions = 0;
  /// The incarnation that a supervisor has seen die, if any.
  std::string dead_incarnation{};
};

/// The node is a member under this id until `deadline`, unless renewed.
struct LifeBegun {
  MemberId id;
  base::BootTime deadline;
};
struct LifeRenewed {
  base::BootTime deadline;
};
/// The lease was lost: let go of everything. In rings settled() has to follow; other modes come back by
/// themselves.
struct LifeOver {
  MemberId id;
  std::string reason;
};
/// Final: the goodbye is written.
struct Left {};
/// Final: another process has the name, other nodes run in another mode, or (in a ring; the operation is then
/// "watch members") the servers lost the bucket or its newest changes, and a new process has to begin anew.
struct Refused {
  Error error;
};
/// Members changed in a way that Roster::generation() counts.
struct RosterChanged {};
struct HealthChanged {
  Health health;
};
/// Mode::ring only: a change of another key than `members.*`.
struct OtherKeySeen {
  KvEntry entry;
};
/// All that was in the bucket at the start has been delivered.
struct InitialComplete {};
using ServiceEvent = std::variant<LifeBegun, LifeRenewed, LifeOver, Left, Refused, RosterEvent, RosterChanged,
                                  HealthChanged, OtherKeySeen, InitialComplete>;
/// Called on the loop, in order; has to return at once.
using ServiceListener = std::function<void(const ServiceEvent&)>;

/// Thread-safe, except where noted.
class Service {
 public:
  /// Does nothing until start(). Errors: invalid_argument (names, labels, heartbeat).
  [[nodiscard]] static Result<std::unique_ptr<Service>> create(nats::KeyValue bucket, ServiceOptions options);
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;
  /// Stops the threads, at most a heartbeat later. Without leave() before, others notice after a lease.
  ~Service();

  /// Before start().
  void add_listener(ServiceListener listener);
  /// Needs no server to be there now.
  void start();
  /// Waits until the node is a member. Errors: what refused it, cancelled, deadline_exceeded.
  [[nodiscard]] Status wait_joined(const Context& context);
  /// Stops the threads, as the destructor does: listeners are not called any more, and what is told to this
  /// object is dropped. Not from a listener.
  void stop();
  /// Says goodbye and waits for it. What was owned has to be let go before. Errors: cancelled,
  /// deadline_exceeded.
  [[nodiscard]] Status leave(const Context& context);

  /// Those who are here, sorted by name; this node too, once it has joined.
  [[nodiscard]] std::vector<Member> members() const;
  [[nodiscard]] MemberId id() const;
  /// Whether this node is a member, by its own clock. Lock-free.
  [[nodiscard]] bool live() const;
  /// Why the bucket could not be read, written or watched last; empty when all is well.
  [[nodiscard]] std::string last_problem() const;

  [[nodiscard]] Health health() const;
  /// What a check found. Others are told when its level changed.
  void report(const std::string& name, HealthResult result);

  /// Published with the next renewal.
  void set_position(std::optional<Position> position);
  /// Published at once.
  void set_role(Role role, Epoch epoch);

  /// For layers that live on the same loop. It may outlive this object, and then drops what is posted.
  [[nodiscard]] std::shared_ptr<Loop> loop();
  /// The following ones may be called on the loop only.
  [[nodiscard]] const Roster& roster() const;
  void acknowledge(RingVersion released);
  void settled();
  /// Leaves for good once all is let go, and tells Refused.
  void refuse(Error error);

 private:
  class Impl;
  explicit Service(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The bucket `<cluster>-coord` with the settings that this layer and the election rely on.
[[nodiscard]] nats::KeyValueOptions coordination_bucket(std::string_view cluster);

}  // namespace litecluster::membership
