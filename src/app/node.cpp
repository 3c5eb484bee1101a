#include "app/node.hpp"

#include <fcntl.h>
#include <sys/statvfs.h>

#include <utility>

#include "app/patiently.hpp"
#include "base/fault_point.hpp"
#include "base/file.hpp"
#include "base/logging.hpp"
#include "base/random.hpp"
#include "log/bucket_guard.hpp"
#include "nats/jetstream.hpp"
#include "nats/kv_bucket.hpp"

namespace litecluster {

namespace {

constexpr std::chrono::milliseconds tick_interval{200};
constexpr std::chrono::milliseconds step_retry{200};
/// Members tell their position once a heartbeat, so some lag is only seeming.
constexpr std::uint64_t successor_lag_max = 5000;
constexpr std::uint64_t bucket_state_bytes_max = 4096;
constexpr std::chrono::seconds bucket_check_interval{30};
constexpr std::chrono::seconds bucket_check_soon{3};
constexpr std::chrono::seconds bucket_check_timeout{2};
constexpr std::chrono::seconds disk_check_interval{1};
constexpr std::uint64_t disk_free_min = std::uint64_t{64} << 20U;

app::Equipment equipment_of(const AppOptions& options) {
  return {.database = options.sqlite.has_value(),
          .backend = options.backend.has_value(),
          .vip = options.vip.has_value()};
}

// Beside the replica, since it outlives both roles of the database.
std::filesystem::path bucket_state_path(const Sqlite& sqlite) {
  return sqlite.replica.string() + "-bucket";
}

std::string incarnation_text(const backend::GuardLink* guard) {
  return guard != nullptr ? election::to_string(guard->incarnation()) : base::random_hex(16);
}

}  // namespace

App::Impl::Impl(AppOptions options)
    : options_(std::move(options)),
      ring_(std::make_shared<Ring::Impl>(nullptr, options_.cluster, options_.node,
                                         options_.mode == Mode::ring ? options_.ring.partitions : 1)),
      machine_(equipment_of(options_)) {
  if (options_.mode != Mode::ring) ring_->refuse("this node is not in mode ring");
  if (options_.mode != Mode::active_passive) {
    worker_ = std::make_unique<app::WorkerNode>(options_, options_.mode == Mode::ring ? ring_ : nullptr);
  }
  if (options_.sqlite) {
    Sqlite& sqlite = *options_.sqlite;
    if (sqlite.replica.empty()) sqlite.replica = sqlite.path.string() + "-replica";
    if (sqlite.bucket.empty()) sqlite.bucket = log::default_bucket(options_.cluster);
  }
}

App::Impl::~Impl() {
  stop_everything();
}

Status App::Impl::run(const Context& context) {
  if (worker_) return worker_->run(context, {.hooks = hooks, .probes = probes, .guard = guard});
  if (auto checked = app::check_health_names(probes); !checked) return checked;
  hooks_ = std::make_unique<app::NodeHooks>(
      hooks,
      app::HookRunnerOptions{.timeout = options_.hook_timeout, .report = [this](const HealthResult& result) {
                               if (const auto members = member_service()) members->report("hooks", result);
                             }});
  if (auto started = start(context); !started) {
    stop_everything();
    if (context.done()) return {};
    return started;
  }
  Status result = hooks_->start(context);
  if (result) {
    share_parts(true);
    const auto registration = context.on_cancel([this] {
      hooks_->shut_down();
      const base::MutexLock lock(mutex_);
      release_reason_ = election::ReleaseReason::shutdown;
      machine_.shut_down();
      cancel_obsolete_step();
      changed_.notify_all();
    });
    work();
    share_parts(false);
    hooks_->stop();
    const base::MutexLock lock(mutex_);
    if (refused_) result = std::unexpected(*refused_);
  }
  stop_everything();
  return result;
}

Status App::Impl::start(const Context& context) {
  auto connection = app::patiently(context, "waiting for NATS",
                                   [&] { return nats::Connection::connect(context, options_.nats); });
  if (!connection) return std::unexpected(connection.error());
  connection_ = std::move(*connection);
  if (options_.sqlite) {
    if (auto opened = open_database(context); !opened) return opened;
  }
  if (auto opened = open_backend(); !opened) return opened;
  return start_members(context);
}

Status App::Impl::open_database(const Context& context) {
  const Sqlite& sqlite = *options_.sqlite;
  const auto stored = base::read_file(bucket_state_path(sqlite), bucket_state_bytes_max);
  const auto remembered = stored ? log::parse_bucket_state(base::as_text(*stored)) : std::nullopt;
  bucket_guard_.emplace(remembered);
  // A bucket that was there once is never created again behind the operator's back.
  const bool create = !remembered.has_value();
  auto opened = app::patiently(context, "waiting for the log's bucket", [&] {
    return log::open_bucket(context, options_.nats, sqlite.bucket, create);
  });
  if (!opened && opened.error().code() == ErrorCode::not_found && !create) {
    bucket_guard_->observe(std::nullopt);
    return bucket_guard_->status(sqlite.bucket);
  }
  if (!opened) return std::unexpected(opened.error());
  log_ = std::make_shared<log::OpenedBucket>(std::move(*opened));
  if (auto checked = check_bucket(context, remembered.has_value()); !checked) return checked;
  auto beacon = replication::PositionBeacon::start(connection_, options_.cluster, options_.node);
  if (!beacon) return std::unexpected(beacon.error());
  beacon_ = std::move(*beacon);
  // Whoever uses the database keeps its bucket as well.
  struct WithBucket {
    std::shared_ptr<log::OpenedBucket> log;
    app::DatabaseRole database;
  };
  auto made = std::shared_ptr<WithBucket>(new WithBucket{
      log_,
      {app::DatabaseRoleOptions{.sqlite = sqlite,
                                .node = options_.node,
                                .incarnation = incarnation_text(guard),
                                .on_position =
                                    [this, beacon = beacon_](const db::ReplicaPosition& position) {
                                      beacon->moved(position);
                                      if (const auto lease = lease_store()) {
                                        lease->position_changed(position.txid);
                                      }
                                    },
                                .on_fatal = [this](const Error& error) { publishing_ended(error); }},
       *log_->bucket}});
  database_ = std::shared_ptr<app::DatabaseRole>(made, &made->database);
  return {};
}

// Compares the bucket with what this node remembers of it, and remembers the new state. An unreachable server
// proves nothing; an alarm is final until the operator has removed the file. `write_later`: what is on disk
// is of this bucket; a node that starts may be what everybody waits for, and has better things to do than an
// fsync.
Status App::Impl::check_bucket(const Context& context, bool write_later) {
  bucket_checked_ = base::system_clock().boot_time();
  const auto state = log_->bucket->state(context.with_timeout(bucket_check_timeout));
  if (!state && state.error().code() != ErrorCode::not_found) return {};
  bucket_guard_->observe(state ? std::optional(*state) : std::nullopt);
  if (auto status = bucket_guard_->status(options_.sqlite->bucket); !status) return status;
  if (write_later) {
    bucket_checked_ -= bucket_check_interval - bucket_check_soon;
    return {};
  }
  const std::string text = log::to_string(*bucket_guard_->remembered());
  return base::write_file_durably(bucket_state_path(*options_.sqlite), base::as_bytes(text));
}

Status App::Impl::open_backend() {
  if (options_.vip) {
    const auto address = vip::parse_address(options_.vip->address);
    if (!address) return std::unexpected(address.error());
    vip_ = std::make_unique<vip::VirtualAddress>(options_.vip->interface, *address, [this] {
      const auto lease = lease_store();
      return lease && lease->leads();
    });
    if (const auto left = vip_->remove_leftover(); !left) return std::unexpected(left.error());
  }
  if (!options_.backend) return {};
  auto setup = app::set_up_backend(*options_.backend, guard);
  if (!setup) return std::unexpected(setup.error());
  backend_ = std::move(*setup);
  backend_.backend->on_failure([this](const Error& error) { wish_step_down(error.message()); });
  return {};
}

Status App::Impl::start_members(const Context& context) {
  const nats::JetStream jetstream(connection_);
  auto bucket = app::patiently(context, "waiting for the coordination bucket", [&] {
    return nats::KeyValue::open_or_create(context, jetstream,
                                          membership::coordination_bucket(options_.cluster));
  });
  if (!bucket) return std::unexpected(bucket.error());
  auto service = membership::Service::create(*bucket, {.node = options_.node,
                                                       .mode = options_.mode,
                                                       .heartbeat = options_.heartbeat,
                                                       .addresses = options_.addresses,
                                                       .labels = options_.labels,
                                                       .version = LITECLUSTER_VERSION});
  if (!service) return std::unexpected(service.error());
  {
    const base::MutexLock lock(mutex_);
    members_ = std::move(*service);
  }
  members_->report("hooks", {});
  members_->add_listener([this](const membership::ServiceEvent& event) { member_event(event); });

  election::LeaseStoreOptions lease;
  lease.elector.node = options_.node;
  lease.elector.incarnation = guard != nullptr ? guard->incarnation() : election::Incarnation::random();
  lease.elector.lease_ttl = options_.lease_ttl;
  lease.elector.heartbeat = options_.heartbeat;
  if (options_.cooldown) lease.elector.cooldown = *options_.cooldown;
  lease.listener = [this](const election::LeaseEvent& event) { lease_event(event); };
  if (guard != nullptr) lease.shared_deadline = &guard->lease_deadline();
  auto store = election::LeaseStore::start(*bucket, connection_, std::move(lease));
  if (!store) return std::unexpected(store.error());
  {
    const base::MutexLock lock(mutex_);
    lease_ = std::move(*store);
  }
  prober_ = std::make_unique<app::HealthProber>(
      probes, app::HealthProberOptions{
                  .report = [weak = std::weak_ptr(members_)](const std::string& name, HealthResult result) {
                    if (const auto members = weak.lock()) members->report(name, std::move(result));
                  }});
  members_->start();
  return members_->wait_joined(context);
}

std::shared_ptr<election::LeaseStore> App::Impl::lease_store() const {
  const base::MutexLock lock(mutex_);
  return lease_;
}

std::shared_ptr<membership::Service> App::Impl::member_service() const {
  const base::MutexLock lock(mutex_);
  return members_;
}

void App::Impl::lease_event(const election::LeaseEvent& event) {
  std::string leader;
  {
    const base::MutexLock lock(mutex_);
    if (const auto* won = std::get_if<election::BecameLeader>(&event)) {
      base::log_info("term won", {{"epoch", won->epoch.value()}});
      machine_.won(won->epoch);
    } else if (const auto* lost = std::get_if<election::LostLeadership>(&event)) {
      base::log_warning("term lost", {{"epoch", lost->epoch.value()}, {"reason", to_string(lost->reason)}});
      owes_release_ = lost->reason != election::LossReason::given_back;
      // Given back by the step that releases the lease, which goes on until the record says so.
      if (owes_release_) {
        machine_.lost(lost->epoch, std::string(to_string(lost->reason)));
        // The guard does it as well, unless it stands still.
        if (guard != nullptr) guard->kill_backend();
      }
    } else if (const auto* duplicate = std::get_if<election::DuplicateNode>(&event)) {
      refused_ = Error(ErrorCode::already_exists, "join cluster", options_.node,
                       "another node of this name is alive (" + to_string(duplicate->other) + ")");
      machine_.shut_down();
    } else if (const auto* changed = std::get_if<election::LeaderChanged>(&event)) {
      leader_ = changed->leader ? changed->leader->node : "";
      leader = leader_;
    }
    cancel_obsolete_step();
    changed_.notify_all();
  }
  if (!std::holds_alternative<election::LeaderChanged>(event)) return;
  base::log_info("leader changed", {{"leader", leader}});
  hooks_->leader_changed(leader);
}

void App::Impl::member_event(const membership::ServiceEvent& event) {
  hooks_->observe(event);
  if (const auto* refused = std::get_if<membership::Refused>(&event)) {
    const base::MutexLock lock(mutex_);
    refused_ = refused->error;
    machine_.shut_down();
    cancel_obsolete_step();
    changed_.notify_all();
    return;
  }
  const auto* change = std::get_if<membership::RosterEvent>(&event);
  if (change == nullptr) return;
  const Member& member = change->member;
  const bool left = change->kind == membership::RosterEvent::Kind::left;
  const auto lease = lease_store();
  if (lease && member.id.node != options_.node) {
    if (left) {
      lease->peer_left(member.id.node);
    } else {
      lease->peer_seen(member.id.node, member.position ? member.position->txid : Txid(0));
    }
  }
}

void App::Impl::publishing_ended(const Error& error) {
  if (error.code() != ErrorCode::gap) return wish_step_down(error.message());
  // An alarm, as for a bucket that vanished: only the operator can say which history counts.
  const base::MutexLock lock(mutex_);
  refused_ = error;
  machine_.shut_down();
  cancel_obsolete_step();
  changed_.notify_all();
}

void App::Impl::wish_step_down(const std::string& reason) {
  const base::MutexLock lock(mutex_);
  release_reason_ = election::ReleaseReason::stepped_down;
  machine_.step_down(reason);
  cancel_obsolete_step();
  changed_.notify_all();
}

void App::Impl::cancel_obsolete_step() {
  if (step_context_ && machine_.step_is_obsolete()) step_context_->cancel();
}

// Carries out steps until the machine has stopped.
void App::Impl::work() {
  while (true) {
    std::optional<app::Step> step;
    Context context = Context::background();
    {
      base::MutexLock lock(mutex_);
      if (machine_.stage() == app::Stage::stopped) return;
      if (guard != nullptr) guard->beat();
      step = machine_.next();
      if (!step) {
        changed_.wait_for(lock, tick_interval);
      } else {
        step_context_ = context;
        cancel_obsolete_step();
      }
    }
    if (!step) {
      tick();
      continue;
    }
    LITECLUSTER_FAULT_POINT("before." + std::string(to_string(*step)));
    const Status done = context.done() && *step != app::Step::stop_backend ? context.status(to_string(*step))
                                                                           : carry_out(*step, context);
    if (!done) {
      base::log_warning("step failed", {{"step", to_string(*step)}, {"reason", done.error().message()}});
    }
    bool again = false;
    bool more = false;
    {
      const base::MutexLock lock(mutex_);
      step_context_.reset();
      const app::Stage before = machine_.stage();
      machine_.finished(done);
      again = !done && machine_.next() == step;
      more = machine_.next().has_value();
      if (before == app::Stage::promoting && machine_.stage() == app::Stage::demoting) {
        release_reason_ = election::ReleaseReason::promotion_failed;
      }
      if (machine_.stage() != before) {
        base::log_info("role changed", {{"stage", to_string(machine_.stage())},
                                        {"epoch", machine_.epoch().value()},
                                        {"reason", machine_.reason()}});
      }
      changed_.notify_all();
    }
    LITECLUSTER_FAULT_POINT("after." + std::string(to_string(*step)));
    // Between two steps of a fail-over nothing is looked at that could wait.
    if (again || !more) tick();
    if (again) context.wait_for(step_retry);
  }
}

Status App::Impl::carry_out(app::Step step, const Context& context) {
  base::log_debug("step", {{"step", to_string(step)}});
  const Epoch epoch = this->epoch();
  switch (step) {
    case app::Step::catch_up: return database_->catch_up(context);
    case app::Step::fence: return database_->fence(context, epoch);
    case app::Step::seal_replica: return database_->seal_replica(context);
    case app::Step::install_primary: return database_->install_primary(context);
    case app::Step::attach_capture: return database_->attach_capture(context);
    case app::Step::start_backend: {
      if (guard != nullptr) {
        if (auto armed = guard->arm(); !armed) return armed;
        armed_ = true;
      }
      return backend_.backend->start(context);
    }
    case app::Step::run_on_active: {
      members_->set_role(Role::active, epoch);
      return hooks_->call("on_active", context, hooks.on_active);
    }
    case app::Step::raise_vip: return vip_->acquire();
    case app::Step::lower_vip: return vip_->release();
    case app::Step::stop_backend: return backend_.backend->stop(context);
    case app::Step::run_on_passive: return hooks_->call("on_passive", context, hooks.on_passive);
    case app::Step::final_sync: return database_->final_sync(context);
    case app::Step::detach_capture: return database_->detach_capture();
    case app::Step::release_lease: return release_lease(context);
    case app::Step::follow: return become_standby(context);
  }
  return {};
}

Status App::Impl::release_lease(const Context& context) {
  if (armed_) {
    if (auto disarmed = guard->disarm(); !disarmed) return disarmed;
    armed_ = false;
  }
  election::ReleaseOrder order;
  {
    const base::MutexLock lock(mutex_);
    order.reason = release_reason_;
    order.successor = std::exchange(successor_, {});
    release_reason_ = election::ReleaseReason::stepped_down;
  }
  if (database_) {
    if (const auto position = database_->position()) order.position = *position;
  }
  return lease_->release_and_wait(context.with_timeout(options_.lease_ttl), order);
}

Status App::Impl::become_standby(const Context& context) {
  if (armed_) {
    if (auto disarmed = guard->disarm(); !disarmed) return disarmed;
    armed_ = false;
  }
  bool owes = false;
  {
    const base::MutexLock lock(mutex_);
    owes = std::exchange(owes_release_, false);
  }
  if (owes) lease_->release({.reason = election::ReleaseReason::demoted, .position = {}, .successor = {}});
  members_->set_role(Role::passive, Epoch(0));
  if (!database_) return {};
  return database_->follow(context);
}

// A replica that is still to be seeded would hold up everybody for as long as that takes.
bool App::Impl::can_catch_up(const app::DatabaseRole& database) {
  const auto missing = database.lag().txids;
  const auto position = database.position();
  return missing && position && (*missing == 0 || !position->txid.is_zero());
}

// What is looked at now and then, and when there is nothing else to do.
void App::Impl::tick() {
  bool standby = false;
  {
    const base::MutexLock lock(mutex_);
    standby = machine_.stage() == app::Stage::standby;
  }
  if (database_) {
    const auto position = database_->position();
    if (position) {
      members_->set_position(position);
      lease_->position_changed(position->txid);
      beacon_->report({.position = {position->txid, position->checksum, database_->log_epoch()},
                       .lag = database_->lag(),
                       .problem = database_->problem()});
    }
    lease_->log_epoch_seen(database_->log_epoch());
    if (base::system_clock().boot_time() - bucket_checked_ >= bucket_check_interval) {
      if (const auto checked = check_bucket(Context::background(), false); !checked) {
        base::log_error("the log's bucket is not the one that it was",
                        {{"reason", checked.error().message()}});
        const base::MutexLock lock(mutex_);
        refused_ = checked.error();
        machine_.shut_down();
        changed_.notify_all();
        return;
      }
    }
    if (standby && database_->overtaken()) {
      if (auto followed = database_->follow(Context::background().with_timeout(std::chrono::seconds(30)));
          !followed) {
        base::log_warning("cannot follow", {{"reason", followed.error().message()}});
      }
    }
  }
  // A standby that does not know the log cannot be promoted; bidding would only cost the others time.
  const bool known = !database_ || database_->position().has_value();
  const bool caught = !database_ || database_->ready() || can_catch_up(*database_);
  lease_->set_eligible(standby && known && caught);
  report_health();
}

void App::Impl::report_health() {
  const auto report = [&](const char* name, bool good, const std::string& reason, HealthLevel level) {
    members_->report(name, good ? HealthResult{} : HealthResult{.level = level, .reason = reason});
  };
  report("nats", connection_->state() == nats::ConnectionState::connected, connection_->last_problem(),
         HealthLevel::critical);
  const std::string lease = lease_->last_problem();
  report("lease", lease.empty(), lease, HealthLevel::warning);
  if (database_) {
    const auto problem = database_->problem();
    report("replication", !problem, problem ? problem->message() : "", HealthLevel::critical);
    if (base::system_clock().boot_time() - disk_checked_ >= disk_check_interval) report_disk();
  }
  bool active = false;
  {
    const base::MutexLock lock(mutex_);
    active = machine_.stage() == app::Stage::active;
  }
  if (backend_.backend && active) {
    const auto health = backend_.backend->health();
    report("backend", health.has_value(), health ? "" : health.error().message(), HealthLevel::critical);
  } else if (backend_.backend) {
    report("backend", true, "", HealthLevel::critical);
  }
  if (vip_) {
    const std::string problem = vip_->problem();
    report("vip", problem.empty(), vip_->address_text() + ": " + problem, HealthLevel::critical);
  }
}

void App::Impl::report_disk() {
  disk_checked_ = base::system_clock().boot_time();
  const auto diverged = database_->diverged();
  HealthResult found;
  if (!diverged.empty()) {
    found = {.level = HealthLevel::warning,
             .reason = std::to_string(diverged.size()) + " directories with diverged commits"};
  }
  members_->report("database", std::move(found));
  struct statvfs disk{};
  const auto directory = options_.sqlite->path.parent_path();
  if (::statvfs(directory.empty() ? "." : directory.c_str(), &disk) != 0) return;
  const std::uint64_t free = std::uint64_t{disk.f_bavail} * disk.f_frsize;
  HealthResult space;
  if (free < disk_free_min || disk.f_bavail * 20 < disk.f_blocks) {
    space = {.level = free < disk_free_min ? HealthLevel::critical : HealthLevel::warning,
             .reason = std::to_string(free >> 20U) + " MiB are free"};
  }
  members_->report("disk", std::move(space));
}

void App::Impl::stop_everything() {
  // In the opposite order of start(); listeners of each are silent once it is gone.
  prober_.reset();
  std::shared_ptr<election::LeaseStore> lease;
  std::shared_ptr<membership::Service> members;
  {
    const base::MutexLock lock(mutex_);
    lease = std::exchange(lease_, nullptr);
    members = std::exchange(members_, nullptr);
  }
  lease.reset();
  if (members) {
    static_cast<void>(members->leave(Context::background().with_timeout(std::chrono::seconds(2))));
    members->stop();
  }
  vip_.reset();
  backend_.reset();
  database_.reset();
  beacon_.reset();
  log_.reset();
  connection_.reset();
  hooks_.reset();
}

// Whether handing over to this node would leave the cluster without a leader for long.
Status App::Impl::check_successor(const Parts& running, std::string_view successor) {
  const std::string operation = "step down for";
  for (const Member& member : running.members->members()) {
    if (member.id.node != successor) continue;
    if (member.health == HealthLevel::critical) {
      return failure(ErrorCode::failed_precondition, operation, std::string(successor),
                     "it is not well: " + member.health_reason);
    }
    const auto own = running.database ? running.database->position() : std::nullopt;
    const Txid theirs = member.position ? member.position->txid : Txid(0);
    if (own && own->txid.value() > theirs.value() + successor_lag_max) {
      return failure(ErrorCode::failed_precondition, operation, std::string(successor),
                     "it has not caught up: it is at TXID " + to_string(theirs) + ", this node at " +
                         to_string(own->txid));
    }
    return {};
  }
  return failure(ErrorCode::not_found, operation, std::string(successor), "no live node has this name");
}

Status App::Impl::step_down(const Context& context, std::string_view successor) {
  if (worker_) {
    return failure(ErrorCode::not_leader, "step down", options_.node,
                   "nobody leads in mode " + std::string(to_string(options_.mode)));
  }
  const auto registration = context.on_cancel([this] {
    const base::MutexLock lock(mutex_);
    changed_.notify_all();
  });
  const Parts running = parts();
  if (!successor.empty() && running.members) {
    if (auto able = check_successor(running, successor); !able) return able;
  }
  base::MutexLock lock(mutex_);
  if (machine_.stage() != app::Stage::active && machine_.stage() != app::Stage::promoting) {
    return failure(ErrorCode::not_leader, "step down", options_.node,
                   leader_.empty() ? "nobody leads" : leader_ + " leads");
  }
  const Epoch epoch = machine_.epoch();
  successor_ = successor;
  release_reason_ = election::ReleaseReason::stepped_down;
  machine_.step_down("asked to");
  cancel_obsolete_step();
  changed_.notify_all();
  // What comes after the release is not waited for: to follow a long log may take seconds.
  while (machine_.epoch() == epoch && machine_.lease_held() && machine_.stage() != app::Stage::stopped) {
    if (auto status = context.status("step down"); !status) return status;
    changed_.wait_for(lock, context.remaining(std::chrono::seconds(1)));
  }
  if (!machine_.left_unsynced()) return {};
  return failure(ErrorCode::unavailable, "step down", options_.node,
                 "it does not lead any more, but its last commits may not be in the log; they are kept here");
}

bool App::Impl::is_leader() const {
  const base::MutexLock lock(mutex_);
  return machine_.stage() == app::Stage::active && lease_ && lease_->leads();
}

std::string App::Impl::leader() const {
  const base::MutexLock lock(mutex_);
  return leader_;
}

Epoch App::Impl::epoch() const {
  const base::MutexLock lock(mutex_);
  return machine_.epoch();
}

App::Impl::Parts App::Impl::parts() const {
  const base::MutexLock lock(mutex_);
  return parts_;
}

void App::Impl::share_parts(bool running) {
  Parts shared;
  if (running) {
    shared = {.connection = connection_, .log = log_, .database = database_, .members = members_};
  }
  const base::MutexLock lock(mutex_);
  std::swap(parts_, shared);
}

std::vector<Member> App::Impl::members() const {
  if (worker_) return worker_->members();
  const auto members = parts().members;
  return members ? members->members() : std::vector<Member>();
}

Health App::Impl::health() const {
  if (worker_) return worker_->health();
  const auto members = parts().members;
  return members ? members->health() : Health();
}

std::shared_ptr<nats::Connection> App::Impl::connection() const {
  if (worker_) return worker_->connection();
  return parts().connection;
}

std::shared_ptr<app::DatabaseRole> App::Impl::database() const {
  return parts().database;
}

Result<std::shared_ptr<log::ObjectBucket>> App::Impl::bucket() const {
  const auto log = parts().log;
  if (log) return std::shared_ptr<log::ObjectBucket>(log, log->bucket.get());
  return failure(ErrorCode::failed_precondition, "use the log", options_.node,
                 "the node does not run, or has no database");
}

Result<std::shared_ptr<Client::Impl>> App::Impl::client() const {
  const base::MutexLock lock(mutex_);
  if (!client_) {
    auto made = Client::Impl::connect_eventually(
        {.cluster = options_.cluster, .node = options_.node, .nats = options_.nats});
    if (!made) return made;
    client_ = std::move(*made);
  }
  return client_;
}

NodeStatus App::Impl::status() const {
  if (worker_) return worker_->status();
  NodeStatus status;
  status.cluster = options_.cluster;
  status.node = options_.node;
  status.mode = options_.mode;
  if (const auto database = this->database()) {
    status.position = database->position();
    status.lag = database->lag();
    status.diverged = database->diverged();
  }
  status.health = health();
  const base::MutexLock lock(mutex_);
  status.stage = to_string(machine_.stage());
  status.role = machine_.stage() == app::Stage::active ? Role::active : Role::passive;
  status.leader = leader_;
  status.epoch = machine_.epoch();
  return status;
}

}  // namespace litecluster
