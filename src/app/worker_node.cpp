#include "app/worker_node.hpp"

#include <atomic>
#include <cstdint>
#include <utility>

#include "app/patiently.hpp"
#include "base/logging.hpp"
#include "nats/jetstream.hpp"
#include "nats/kv_bucket.hpp"

namespace litecluster::app {

using base::MutexLock;

namespace {

constexpr std::chrono::milliseconds tick_interval{200};
constexpr std::chrono::seconds goodbye_timeout{2};
/// Beyond the hook's own timeout, for those that run before it and for requests that come to their end.
constexpr std::chrono::seconds release_margin{15};

/// A tenth of the lease (three heartbeats) is left to on_release before the guard steps in.
GuardDeadline deadline_for(const AppOptions& options) {
  return GuardDeadline(options.heartbeat * 3 / 10);
}

}  // namespace

WorkerNode::WorkerNode(const AppOptions& options, std::shared_ptr<Ring::Impl> ring)
    : options_(options), ring_(std::move(ring)), guard_deadline_(deadline_for(options)) {}

WorkerNode::~WorkerNode() = default;

Status WorkerNode::run(const Context& context, WorkerEquipment equipment) {
  if (auto checked = check_health_names(equipment.probes); !checked) return checked;
  const Context running = context.with_cancel();
  equipment_ = std::move(equipment);
  {
    const MutexLock lock(mutex_);
    ended_.reset();
    running_ = running;
  }
  guard_deadline_ = deadline_for(options_);
  enter("starting");
  hooks_ = std::make_unique<NodeHooks>(
      equipment_.hooks,
      HookRunnerOptions{.timeout = options_.hook_timeout, .report = [this](const HealthResult& result) {
                          if (const auto members = service()) members->report("hooks", result);
                        }});
  Status result = start(running);
  if (result) {
    enter("working");
    work(running);
  }
  enter("leaving");
  shut_down();
  enter("stopped");
  const MutexLock lock(mutex_);
  running_.reset();
  if (ended_) return std::unexpected(*ended_);
  if (context.done()) return {};
  return result;
}

Status WorkerNode::start(const Context& context) {
  if (auto joined = join(context); !joined) return joined;
  if (auto started = start_backend(context); !started) return started;
  const auto members = service();
  prober_ = std::make_unique<HealthProber>(
      equipment_.probes, HealthProberOptions{.report = [weak = std::weak_ptr(members)](
                                                           const std::string& name, HealthResult result) {
        if (const auto service = weak.lock()) service->report(name, std::move(result));
      }});
  report_health();
  if (auto started = hooks_->start(context); !started) return started;
  members->set_role(Role::worker, Epoch(0));
  return {};
}

Status WorkerNode::join(const Context& context) {
  auto connected = patiently(context, "waiting for NATS",
                             [&] { return nats::Connection::connect(context, options_.nats); });
  if (!connected) return std::unexpected(connected.error());
  const std::shared_ptr<nats::Connection> connection = std::move(*connected);
  {
    const MutexLock lock(mutex_);
    connection_ = connection;
  }
  auto bucket = patiently(context, "waiting for the coordination bucket", [&] {
    return nats::KeyValue::open_or_create(context, nats::JetStream(connection),
                                          membership::coordination_bucket(options_.cluster));
  });
  if (!bucket) return std::unexpected(bucket.error());
  auto created = membership::Service::create(*bucket, {.node = options_.node,
                                                       .mode = options_.mode,
                                                       .heartbeat = options_.heartbeat,
                                                       .addresses = options_.addresses,
                                                       .labels = options_.labels,
                                                       .version = LITECLUSTER_VERSION,
                                                       .partitions = options_.ring.partitions});
  if (!created) return std::unexpected(created.error());
  const std::shared_ptr<membership::Service> members = std::move(*created);
  {
    const MutexLock lock(mutex_);
    members_ = members;
  }
  members->report("hooks", {});
  members->add_listener([this](const membership::ServiceEvent& event) { observe(event); });
  if (ring_) {
    if (auto started = start_ring(*bucket); !started) return started;
  }
  members->start();
  return members->wait_joined(context);
}

Status WorkerNode::start_ring(const nats::KeyValue& bucket) {
  const auto members = service();
  members->report("ring", {});
  auto created = ring::Service::create(*members, bucket, connection(),
                                       {.cluster = options_.cluster,
                                        .node = options_.node,
                                        .partitions = options_.ring.partitions,
                                        .heartbeat = options_.heartbeat,
                                        .on_own = equipment_.hooks.on_own,
                                        .on_release = equipment_.hooks.on_release,
                                        .executor = hooks_->executor(),
                                        .on_settled = [this] { settled(); },
                                        .ring = ring_});
  if (!created) return std::unexpected(created.error());
  ring_service_ = std::move(*created);
  return {};
}

Status WorkerNode::start_backend(const Context& context) {
  if (!options_.backend) return {};
  Backend wanted = *options_.backend;
  // One that is started again behind our back would not know what it owns.
  if (ring_) wanted.restarts_max = 0;
  auto setup = set_up_backend(wanted, equipment_.guard);
  if (!setup) return std::unexpected(setup.error());
  backend_ = std::move(*setup);
  backend_.backend->on_failure([this](const Error& error) { end(error); });
  if (equipment_.guard != nullptr) {
    std::atomic<std::int64_t>& deadline = equipment_.guard->lease_deadline();
    if (!ring_) deadline = backend::no_deadline;
    // In a ring the life's own deadline may be on its way still; until then nothing is owned.
    std::int64_t unset = 0;
    deadline.compare_exchange_strong(unset, backend::no_deadline);
    if (auto armed = equipment_.guard->arm(); !armed) return armed;
  }
  backend_started_ = true;
  return backend_.backend->start(context);
}

// On the loop of the membership service.
void WorkerNode::observe(const membership::ServiceEvent& event) {
  hooks_->observe(event);
  if (const auto* refused = std::get_if<membership::Refused>(&event)) return end(refused->error);
  if (!ring_) return;
  // Others own as soon as the lease has run out by their clocks, whatever a hook that brings news is doing.
  if (std::holds_alternative<membership::LifeOver>(event)) hooks_->hurry(true);
  if (const auto deadline = guard_deadline_.observe(event)) set_guard_deadline(*deadline);
}

// On the loop of the membership service. Nothing is owned: nothing is to be killed for it.
void WorkerNode::settled() {
  hooks_->hurry(false);
  set_guard_deadline(guard_deadline_.settled());
}

void WorkerNode::set_guard_deadline(base::BootTime deadline) {
  if (equipment_.guard == nullptr) return;
  static_assert(backend::no_deadline == base::BootTime::max().time_since_epoch().count());
  equipment_.guard->lease_deadline() = deadline.time_since_epoch().count();
}

void WorkerNode::end(Error error) {
  base::log_error("the node ends", {{"reason", error.message()}});
  std::optional<Context> running;
  {
    const MutexLock lock(mutex_);
    if (!ended_) ended_ = std::move(error);
    running = running_;
  }
  if (running) running->cancel();
}

void WorkerNode::work(const Context& context) {
  do {
    if (equipment_.guard != nullptr) equipment_.guard->beat();
    report_health();
  } while (!context.wait_for(tick_interval));
}

void WorkerNode::report_health() {
  const auto members = service();
  const auto report = [&](const char* name, bool good, const std::string& reason, HealthLevel level) {
    members->report(name, good ? HealthResult{} : HealthResult{.level = level, .reason = reason});
  };
  const auto connection = this->connection();
  report("nats", connection->state() == nats::ConnectionState::connected, connection->last_problem(),
         HealthLevel::critical);
  const std::string problem = members->last_problem();
  if (!members->live()) {
    report("lease", false, "not a member at present" + (problem.empty() ? "" : ": " + problem),
           HealthLevel::critical);
  } else {
    report("lease", problem.empty(), problem, HealthLevel::warning);
  }
  if (!backend_started_) return;
  const auto health = backend_.backend->health();
  report("backend", health.has_value(), health ? "" : health.error().message(), HealthLevel::critical);
}

void WorkerNode::shut_down() {
  hooks_->shut_down();
  prober_.reset();
  if (const auto members = service()) members->set_role(Role::starting, Epoch(0));
  if (ring_) {
    say_goodbye();
    hooks_->stop();
    stop_backend();
  } else {
    hooks_->stop();
    stop_backend();
    say_goodbye();
  }
  ring_service_.reset();
  std::shared_ptr<membership::Service> members;
  std::shared_ptr<nats::Connection> connection;
  {
    const MutexLock lock(mutex_);
    members = std::exchange(members_, nullptr);
    connection = std::exchange(connection_, nullptr);
  }
  // Somebody who reads members() at this moment may keep it alive a little longer.
  if (members) members->stop();
  hooks_.reset();
}

void WorkerNode::say_goodbye() {
  const Context context = Context::background();
  if (ring_service_) {
    const auto released =
        ring_service_->release_all(context.with_timeout(options_.hook_timeout + release_margin));
    // Without a goodbye the others wait for the lease to run out.
    if (!released) {
      base::log_error("cannot release everything", {{"reason", released.error().message()}});
      return;
    }
  }
  if (const auto members = service()) {
    static_cast<void>(members->leave(context.with_timeout(goodbye_timeout)));
  }
}

void WorkerNode::stop_backend() {
  if (backend_.backend && backend_started_) {
    const auto stopped = backend_.backend->stop(Context::background());
    if (!stopped) base::log_error("cannot stop the backend", {{"reason", stopped.error().message()}});
    if (stopped && equipment_.guard != nullptr) static_cast<void>(equipment_.guard->disarm());
  }
  backend_started_ = false;
  backend_.reset();
}

void WorkerNode::enter(const char* stage) {
  base::log_info("stage", {{"stage", stage}, {"node", options_.node}});
  const MutexLock lock(mutex_);
  stage_ = stage;
}

std::shared_ptr<membership::Service> WorkerNode::service() const {
  const MutexLock lock(mutex_);
  return members_;
}

std::shared_ptr<nats::Connection> WorkerNode::connection() const {
  const MutexLock lock(mutex_);
  return connection_;
}

std::vector<Member> WorkerNode::members() const {
  const auto members = service();
  return members ? members->members() : std::vector<Member>();
}

Health WorkerNode::health() const {
  const auto members = service();
  return members ? members->health() : Health();
}

NodeStatus WorkerNode::status() const {
  NodeStatus status;
  status.cluster = options_.cluster;
  status.node = options_.node;
  status.mode = options_.mode;
  status.health = health();
  if (ring_) {
    status.ring = RingStatus{.version = ring_->table.version(), .partitions = ring_->table.partitions()};
    for (const RingAssignment& assignment : ring_->table.assignments()) {
      if (ring_->table.owns(assignment.partition)) ++status.ring->owned;
      if (!assignment.releasing.empty()) ++status.ring->moving;
    }
  }
  const auto members = service();
  const MutexLock lock(mutex_);
  status.stage = stage_ == "working" && members && !members->live() ? "joining" : stage_;
  status.role = status.stage == "working" ? Role::worker : Role::starting;
  return status;
}

}  // namespace litecluster::app
