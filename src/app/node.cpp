#include "app/node.hpp"

#include <utility>

#include "base/fault_point.hpp"
#include "base/logging.hpp"

namespace litecluster {

namespace {

constexpr std::chrono::milliseconds tick_interval{200};
constexpr std::chrono::milliseconds step_retry{200};
/// How often a hand-over that waits for the log looks whether there is one.
constexpr std::chrono::seconds final_sync_look{3};
/// Members tell their position once a heartbeat, so some lag is only seeming.
constexpr std::uint64_t successor_lag_max = 5000;

app::Equipment equipment_of(const AppOptions& options) {
  return {.database = options.sqlite.has_value(),
          .backend = options.backend.has_value(),
          .vip = options.vip.has_value()};
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
      if (auto armed = arm(); !armed) return armed;
      return backend_.backend->start(context);
    }
    case app::Step::run_on_active: {
      members_->set_role(Role::active, epoch);
      return hooks_->call("on_active", context, hooks.on_active);
    }
    case app::Step::raise_vip: {
      if (auto armed = arm(); !armed) return armed;
      return vip_->acquire();
    }
    case app::Step::lower_vip: return vip_->release();
    case app::Step::stop_backend: return backend_.backend->stop(context);
    case app::Step::run_on_passive: return hooks_->call_in_hurry("on_passive", context, hooks.on_passive);
    case app::Step::final_sync: return final_sync(context);
    case app::Step::detach_capture: return database_->detach_capture();
    case app::Step::release_lease: return release_lease(context);
    case app::Step::follow: return become_standby(context);
  }
  return {};
}

Status App::Impl::arm() {
  if (guard == nullptr || armed_) return {};
  if (auto armed = guard->arm(); !armed) return armed;
  armed_ = true;
  return {};
}

Status App::Impl::disarm() {
  if (!armed_) return {};
  if (auto disarmed = guard->disarm(); !disarmed) return disarmed;
  armed_ = false;
  return {};
}

// False after an alarm: the node ends.
bool App::Impl::bucket_is_the_same() {
  const auto checked = check_bucket(Context::background(), false);
  if (checked) return true;
  base::log_error("the log's bucket is not the one that it was", {{"reason", checked.error().message()}});
  const base::MutexLock lock(mutex_);
  refused_ = checked.error();
  machine_.shut_down();
  changed_.notify_all();
  return false;
}

// For as long as it takes, unless the bucket is gone: waiting for that would hold the lease for good.
Status App::Impl::final_sync(const Context& context) {
  while (true) {
    if (auto same = bucket_guard_->status(options_.sqlite->bucket); !same) return same;
    auto synced = database_->final_sync(context.with_timeout(final_sync_look));
    if (synced || context.done() || synced.error().code() != ErrorCode::deadline_exceeded) return synced;
    static_cast<void>(bucket_is_the_same());
  }
}

Status App::Impl::release_lease(const Context& context) {
  if (auto disarmed = disarm(); !disarmed) return disarmed;
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
  if (auto disarmed = disarm(); !disarmed) return disarmed;
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
      if (!bucket_is_the_same()) return;
    }
    if (standby && database_->overtaken()) {
      if (auto followed = database_->follow(Context::background().with_timeout(follow_patience_));
          !followed) {
        base::log_warning("cannot follow", {{"reason", followed.error().message()}});
        follow_patience_ = std::min<base::Duration>(2 * follow_patience_, follow_patience_cap);
      } else {
        follow_patience_ = follow_patience_initial;
      }
    }
  }
  // A standby that does not know the log cannot be promoted; bidding would only cost the others time.
  const bool known = !database_ || database_->position().has_value();
  const bool caught = !database_ || database_->ready() || can_catch_up(*database_);
  lease_->set_eligible(standby && known && caught);
  report_health();
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

}  // namespace litecluster
