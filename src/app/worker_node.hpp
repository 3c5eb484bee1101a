// A node of a pool or a ring: every node is active, nobody is elected and there is no database.
//
// Start: connect, become a member, start the backend, on_start, and only then anything else that hooks are
// told, on_own first of all. End of a pool's node: on_stop, backend, goodbye; of a ring's: on_release for
// everything, goodbye (from which moment the others take over), on_stop, backend.
//
// The backend of a pool runs as long as its agent. That of a ring may own partitions, so the guard kills it
// when the lease has run out and on_release has not come to its end a tenth of a lease later. A backend that
// cannot be kept running ends the node with an error: what it was told to own is lost with it, so it starts
// anew, on_start and on_own included, when whoever supervises the node (the guard, for one) starts it again.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <litecluster/app.hpp>
#include <litecluster/app_options.hpp>
#include <litecluster/health.hpp>
#include <litecluster/hooks.hpp>

#include "app/backend_setup.hpp"
#include "app/guard_deadline.hpp"
#include "app/health_prober.hpp"
#include "app/node_hooks.hpp"
#include "backend/guard.hpp"
#include "base/mutex.hpp"
#include "membership/service.hpp"
#include "nats/connection.hpp"
#include "ring/ring_impl.hpp"
#include "ring/service.hpp"

namespace litecluster::app {

/// What the user and the daemon have added by the time of run().
struct WorkerEquipment {
  Hooks hooks;
  std::map<std::string, HealthProbe> probes;
  backend::GuardLink* guard = nullptr;
};

/// Thread-safe; run() once at a time.
class WorkerNode {
 public:
  /// `options` have been checked. `ring` is unset in a pool.
  WorkerNode(const AppOptions& options, std::shared_ptr<Ring::Impl> ring);
  WorkerNode(const WorkerNode&) = delete;
  WorkerNode& operator=(const WorkerNode&) = delete;
  ~WorkerNode();

  [[nodiscard]] Status run(const Context& context, WorkerEquipment equipment);

  [[nodiscard]] std::vector<Member> members() const;
  [[nodiscard]] Health health() const;
  [[nodiscard]] NodeStatus status() const;
  /// nullptr while it is not connected.
  [[nodiscard]] std::shared_ptr<nats::Connection> connection() const;

 private:
  [[nodiscard]] Status start(const Context& context);
  [[nodiscard]] Status join(const Context& context);
  [[nodiscard]] Status start_ring(const nats::KeyValue& bucket);
  [[nodiscard]] Status start_backend(const Context& context);
  void observe(const membership::ServiceEvent& event);
  void settled();
  void set_guard_deadline(base::BootTime deadline);
  void end(Error error);
  void work(const Context& context);
  void report_health();
  void shut_down();
  void say_goodbye();
  void stop_backend();
  void enter(const char* stage);
  [[nodiscard]] std::shared_ptr<membership::Service> service() const;

  const AppOptions& options_;
  const std::shared_ptr<Ring::Impl> ring_;

  // Of one run; used by its thread, set up before listeners are called.
  WorkerEquipment equipment_;
  BackendSetup backend_;
  bool backend_started_ = false;
  std::unique_ptr<NodeHooks> hooks_;
  std::unique_ptr<HealthProber> prober_;
  std::unique_ptr<ring::Service> ring_service_;
  GuardDeadline guard_deadline_;  ///< on the loop of the membership service

  mutable base::Mutex mutex_;
  std::shared_ptr<nats::Connection> connection_ LITECLUSTER_GUARDED_BY(mutex_);
  std::shared_ptr<membership::Service> members_ LITECLUSTER_GUARDED_BY(mutex_);
  std::string stage_ LITECLUSTER_GUARDED_BY(mutex_) = "stopped";
  std::optional<Error> ended_ LITECLUSTER_GUARDED_BY(mutex_);
  /// Of the present run.
  std::optional<Context> running_ LITECLUSTER_GUARDED_BY(mutex_);
};

}  // namespace litecluster::app
