// One node at work: everything behind App. What follows is about mode active_passive; in pools and rings all
// is left to a WorkerNode.
//
// The thread that calls run() carries out the steps that the RoleMachine names, one at a time. Events (a term
// won or lost, a request to step down, a backend that failed) come from other threads; they are told to the
// machine at once, under the mutex, and a step that they make pointless has its Context cancelled. So nothing
// ever waits behind a slow step but the steps themselves, and a lost lease ends whatever is under way.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <litecluster/app.hpp>

#include "app/backend_setup.hpp"
#include "app/database_role.hpp"
#include "app/health_prober.hpp"
#include "app/node_hooks.hpp"
#include "app/role_machine.hpp"
#include "app/worker_node.hpp"
#include "backend/guard.hpp"
#include "base/mutex.hpp"
#include "election/lease_store.hpp"
#include "locks/client_impl.hpp"
#include "log/bucket_guard.hpp"
#include "log/open_bucket.hpp"
#include "membership/service.hpp"
#include "nats/connection.hpp"
#include "replication/position_beacon.hpp"
#include "vip/virtual_address.hpp"

namespace litecluster {

class App::Impl {
 public:
  explicit Impl(AppOptions options);
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl();

  Hooks hooks;
  std::map<std::string, HealthProbe> probes;
  /// Set before run() by the daemon; nullptr: processes are our own children and nobody guards us.
  backend::GuardLink* guard = nullptr;

  [[nodiscard]] Status run(const Context& context);
  [[nodiscard]] Status step_down(const Context& context, std::string_view successor);

  [[nodiscard]] bool is_leader() const;
  [[nodiscard]] std::string leader() const;
  [[nodiscard]] Epoch epoch() const;
  [[nodiscard]] std::vector<Member> members() const;
  [[nodiscard]] Health health() const;
  [[nodiscard]] NodeStatus status() const;
  /// KV and locks; made at the first call, independent of run().
  [[nodiscard]] Result<std::shared_ptr<Client::Impl>> client() const;
  [[nodiscard]] std::shared_ptr<nats::Connection> connection() const;
  [[nodiscard]] std::shared_ptr<app::DatabaseRole> database() const;
  [[nodiscard]] const AppOptions& options() const { return options_; }
  [[nodiscard]] std::shared_ptr<Ring::Impl> ring() const { return ring_; }
  /// The log's bucket; failed_precondition while not running or without a database.
  [[nodiscard]] Result<std::shared_ptr<log::ObjectBucket>> bucket() const;

 private:
  // What other threads may use while the node runs. They take copies, so that nothing vanishes under them.
  struct Parts {
    std::shared_ptr<nats::Connection> connection;
    std::shared_ptr<log::OpenedBucket> log;
    std::shared_ptr<app::DatabaseRole> database;
    std::shared_ptr<membership::Service> members;
  };
  [[nodiscard]] Parts parts() const;
  void share_parts(bool running);

  [[nodiscard]] Status start(const Context& context);
  [[nodiscard]] Status open_database(const Context& context);
  [[nodiscard]] Status check_bucket(const Context& context, bool write_later);
  [[nodiscard]] Status open_backend();
  [[nodiscard]] Status start_members(const Context& context);
  void lease_event(const election::LeaseEvent& event);
  void member_event(const membership::ServiceEvent& event);
  [[nodiscard]] static bool can_catch_up(const app::DatabaseRole& database);
  [[nodiscard]] static Status check_successor(const Parts& running, std::string_view successor);
  void publishing_ended(const Error& error);
  void wish_step_down(const std::string& reason);

  void work();
  [[nodiscard]] Status carry_out(app::Step step, const Context& context);
  /// Before the first thing of a term that the guard has to take back; disarm() when nothing of it is left.
  [[nodiscard]] Status arm();
  [[nodiscard]] Status disarm();
  [[nodiscard]] bool bucket_is_the_same();
  [[nodiscard]] Status final_sync(const Context& context);
  [[nodiscard]] Status release_lease(const Context& context);
  [[nodiscard]] Status become_standby(const Context& context);
  void tick();
  void report_health();
  void report_disk();
  void cancel_obsolete_step() LITECLUSTER_REQUIRES(mutex_);
  void stop_everything();

  // For other threads than the working one.
  [[nodiscard]] std::shared_ptr<membership::Service> member_service() const;
  [[nodiscard]] std::shared_ptr<election::LeaseStore> lease_store() const;

  AppOptions options_;
  std::shared_ptr<Ring::Impl> ring_;
  std::unique_ptr<app::WorkerNode> worker_;  // in pools and rings
  std::unique_ptr<app::NodeHooks> hooks_;
  std::unique_ptr<app::HealthProber> prober_;
  std::shared_ptr<nats::Connection> connection_;  // coordination
  std::shared_ptr<log::OpenedBucket> log_;        // a connection of its own: bulk does not delay renewals
  std::shared_ptr<replication::PositionBeacon> beacon_;
  std::shared_ptr<app::DatabaseRole> database_;
  app::BackendSetup backend_;
  std::unique_ptr<vip::VirtualAddress> vip_;
  std::shared_ptr<membership::Service> members_;  // changed under mutex_
  std::shared_ptr<election::LeaseStore> lease_;   // changed under mutex_

  mutable base::Mutex mutex_;
  base::ConditionVariable changed_;
  Parts parts_ LITECLUSTER_GUARDED_BY(mutex_);
  mutable std::shared_ptr<Client::Impl> client_ LITECLUSTER_GUARDED_BY(mutex_);
  app::RoleMachine machine_ LITECLUSTER_GUARDED_BY(mutex_);
  std::optional<Context> step_context_ LITECLUSTER_GUARDED_BY(mutex_);
  std::optional<Error> refused_ LITECLUSTER_GUARDED_BY(mutex_);
  std::string leader_ LITECLUSTER_GUARDED_BY(mutex_);
  std::string successor_ LITECLUSTER_GUARDED_BY(mutex_);
  election::ReleaseReason release_reason_ LITECLUSTER_GUARDED_BY(mutex_) =
      election::ReleaseReason::stepped_down;
  std::optional<Position> position_ LITECLUSTER_GUARDED_BY(mutex_);
  bool owes_release_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  bool armed_ = false;                            // used by the working thread
  std::optional<log::BucketGuard> bucket_guard_;  // used by the working thread
  base::BootTime bucket_checked_{};
  /// How long looking at a former primary anew may take; it can be a large one.
  static constexpr base::Duration follow_patience_initial = std::chrono::seconds(30);
  static constexpr base::Duration follow_patience_cap = std::chrono::minutes(30);
  base::Duration follow_patience_ = follow_patience_initial;
  static constexpr std::chrono::seconds bucket_check_interval{30};
  base::BootTime disk_checked_{};
};

}  // namespace litecluster
