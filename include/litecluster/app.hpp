// One node of a cluster.
//
//   auto app = lc::App::create({.cluster = "myapp", .node = "node-1",
//                               .sqlite = lc::Sqlite{.path = "/data/app.db"}});
//   app->on_active([](lc::Context& ctx) -> lc::Status { … });
//   app->run(ctx);
//
// Hooks are set before run(). run() blocks until its Context is cancelled; everything else may be called from
// any thread meanwhile.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <litecluster/app_options.hpp>
#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/health.hpp>
#include <litecluster/hooks.hpp>
#include <litecluster/kv.hpp>
#include <litecluster/lock.hpp>
#include <litecluster/member.hpp>
#include <litecluster/replication.hpp>
#include <litecluster/ring.hpp>
#include <litecluster/types.hpp>

namespace litecluster {

/// What a node of a ring sees of it.
struct RingStatus {
  RingVersion version;
  std::uint32_t partitions = 0;
  std::uint32_t owned = 0;   ///< by this node, now
  std::uint32_t moving = 0;  ///< that somebody has to release first
};

/// What a node knows of itself and of its cluster at one moment.
struct NodeStatus {
  std::string cluster;
  std::string node;
  Mode mode = Mode::active_passive;
  Role role = Role::starting;
  /// "standby", "promoting", "active", "demoting" or "stopped". In pools and rings: "starting", "working",
  /// "joining" (the lease was lost, and the node comes back), "leaving" or "stopped".
  std::string stage;
  /// Who leads as far as this node can see; empty when nobody is known.
  std::string leader;
  Epoch epoch;
  std::optional<Position> position;
  Lag lag;
  Health health;
  /// Directories with commits of ours that never reached the log.
  std::vector<std::string> diverged;
  /// In mode ring only.
  std::optional<RingStatus> ring;
};

class App {
 public:
  /// Checks the options; connects to nothing. Errors: invalid_argument, which names the option.
  [[nodiscard]] static Result<App> create(AppOptions options);

  App(App&&) noexcept;
  App& operator=(App&&) noexcept;
  /// run() must have returned.
  ~App();

  void on_active(std::function<Status(Context&)> hook);
  void on_passive(std::function<Status(Context&)> hook);
  void on_leader_change(std::function<Status(Context&, const std::string& leader)> hook);
  void on_start(std::function<Status(Context&)> hook);
  void on_stop(std::function<Status(Context&)> hook);
  void on_own(std::function<Status(Context&, std::span<const Partition>)> hook);
  void on_release(std::function<Status(Context&, std::span<const Partition>)> hook);
  void on_member_join(std::function<Status(Context&, const Member&)> hook);
  void on_member_leave(std::function<Status(Context&, const Member&)> hook);
  void on_health_change(std::function<Status(Context&, const Health&)> hook);
  /// A check of the program's own, beside ours. run() refuses a name that is one of ours (health.hpp).
  void add_health_check(std::string name, HealthProbe probe);

  /// Takes part in the cluster until `context` is cancelled, then steps down or releases its partitions in
  /// order and leaves. Errors: what makes it impossible to take part at all (options, credentials, a node of
  /// this name, another mode or number of partitions in this cluster, a database that cannot be used, an
  /// on_start that failed), in pools and rings a backend that cannot be kept running, and in rings servers
  /// that lost what this process knew (failed_precondition, operation "watch members": a new App can take
  /// part again). An unreachable NATS is waited for.
  [[nodiscard]] Status run(const Context& context);

  /// True while this node holds the lease by its own clock and is ready. Reads the clock, no I/O.
  [[nodiscard]] bool is_leader() const;
  /// Empty when nobody is known to lead.
  [[nodiscard]] std::string leader() const;
  /// Of the present term as far as known; 0 before the first.
  [[nodiscard]] Epoch epoch() const;
  /// Gives leadership back in order, to `successor` if one is named, and returns when that is done. Errors:
  /// not_leader, not_found (no such live successor); unavailable: it is done, but the lease ended before the
  /// last commits were known to be in the log.
  [[nodiscard]] Status step_down(const Context& context, std::string_view successor = {});

  [[nodiscard]] std::vector<Member> members() const;
  [[nodiscard]] Health health() const;
  [[nodiscard]] NodeStatus status() const;

  /// The cluster's key-value bucket `<cluster>-kv`, over a connection of its own. Does not block: the first
  /// call on it connects, and opens or creates the bucket. May be used before, during and after run(), in
  /// every mode, and also when the App is gone. The same is true of lock().
  [[nodiscard]] Kv kv() const;
  /// A lock of the cluster, shared by everybody who uses the same name.
  [[nodiscard]] Lock lock(std::string_view name, const LockOptions& options = {}) const;
  /// The ring of this node. Serving is arranged before run(); before run() and after it nobody owns anything
  /// and requests wait. In other modes it is empty, and requests fail with failed_precondition.
  [[nodiscard]] Ring ring() const;
  [[nodiscard]] Wal wal() const;
  [[nodiscard]] Snapshots snapshots() const;

  class Impl;
  /// For the daemon: what lies behind.
  [[nodiscard]] Impl& impl() const { return *impl_; }

 private:
  explicit App(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace litecluster
