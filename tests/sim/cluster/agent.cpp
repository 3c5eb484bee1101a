#include "sim/cluster/agent.hpp"

#include <utility>

namespace litecluster::test::cluster {

namespace {

// In units; a lease of 10 s and checks every 30 s are the defaults.
constexpr Time bucket_check_interval = 30;
constexpr Time bucket_check_soon = 3;

election::ElectorConfig elector_config(Simulation& simulation, const Host& host,
                                       election::Incarnation incarnation) {
  election::ElectorConfig config;
  config.node = host.name();
  config.incarnation = incarnation;
  config.lease_ttl = base::Duration(simulation.settings.lease_ttl);
  config.heartbeat = base::Duration(simulation.settings.lease_ttl * 3 / 10);
  if (simulation.bug == PlantedBug::deadline_after_reply) {
    config.planted_bug = election::PlantedBug::deadline_after_reply;
  }
  return config;
}

}  // namespace

Agent::Agent(Simulation& simulation, Host& host, election::Incarnation incarnation)
    : process_(simulation, host),
      bucket_(process_),
      watch_(process_),
      lease_(process_, elector_config(simulation, host, incarnation),
             {.won = [this](Epoch epoch) { won(epoch); },
              .lost = [this](const election::LostLeadership& what) { lost(what); }}),
      machine_({.database = true, .backend = true, .vip = false}),
      incarnation_(election::to_string(incarnation)) {}

void Agent::start() {
  if (!simulation().lossy()) return begin();
  process_.spawn([this] {
    if (auto opened = open_bucket(); !opened) return refuse(opened.error());
    process_.host().note_accepted();
    begin();
  });
}

void Agent::begin() {
  begun_ = true;
  lease_.start();
  process_.spawn([this] { work(); });
}

// What the machine does with an agent that has ended.
void Agent::refuse(const Error& error) {
  process_.at(process_.now(), [host = &process_.host(), text = error.message()] { host->refused(text); });
}

Status Agent::open_bucket() {
  const Context context = Context::background();
  const bool anew = simulation().bug == PlantedBug::bucket_made_anew;
  bucket_guard_.emplace(anew ? std::nullopt : disk().bucket);
  const bool create = !bucket_guard_->remembered();
  while (create && !bucket_.create(context)) process_.wait(process_.unit());
  while (true) {
    const auto state = bucket_.state(context);
    if (state) break;
    if (state.error().code() == ErrorCode::not_found && !create) {
      bucket_guard_->observe(std::nullopt);
      return bucket_guard_->status("log");
    }
    process_.wait(process_.unit());
  }
  return check_bucket(!create);
}

Status Agent::check_bucket(bool write_later) {
  bucket_checked_ = process_.now();
  const auto state = bucket_.state(Context::background());
  if (!state && state.error().code() != ErrorCode::not_found) return {};
  bucket_guard_->observe(state ? std::optional(*state) : std::nullopt);
  if (auto status = bucket_guard_->status("log"); !status) return status;
  if (write_later) {
    bucket_checked_ -= (bucket_check_interval - bucket_check_soon) * process_.unit();
    return {};
  }
  disk().bucket = bucket_guard_->remembered();
  return {};
}

bool Agent::bucket_is_the_same() {
  const auto checked = check_bucket(false);
  if (checked) return true;
  refused_ = checked.error();
  process_.host().note_said();
  machine_.shut_down();
  return false;
}

void Agent::note_problem(std::string& problem, const Status& done) {
  problem = done ? std::string() : done.error().message();
  if (!done) process_.host().note_said(done.error());
}

std::string Agent::problem(bool of_promotions) const {
  if (!begun_) return "waits for the bucket";
  if (!step_problem_.empty()) return step_problem_;
  if (!follow_problem_.empty()) return follow_problem_;
  if (of_promotions && !promotion_problem_.empty()) return promotion_problem_;
  if (session_) return session_->problem();
  return follower_ ? follower_->problem() : std::string();
}

void Agent::database_changed() {
  if (session_) session_->database_changed();
}

void Agent::won(Epoch epoch) {
  machine_.won(epoch);
  cancel_obsolete_step();
}

void Agent::lost(const election::LostLeadership& what) {
  owes_release_ = what.reason != election::LossReason::given_back;
  if (owes_release_) machine_.lost(what.epoch, std::string(election::to_string(what.reason)));
  cancel_obsolete_step();
}

void Agent::wish_step_down(const std::string& reason) {
  release_reason_ = election::ReleaseReason::stepped_down;
  machine_.step_down(reason);
  cancel_obsolete_step();
}

void Agent::step_down(const std::string& successor) {
  if (machine_.stage() != app::Stage::active && machine_.stage() != app::Stage::promoting) return;
  simulation().trace("{}: is asked to step down{}{}", process_.host().name(),
                     successor.empty() ? "" : " for ", successor);
  successor_ = successor;
  wish_step_down("asked to");
}

void Agent::cancel_obsolete_step() {
  if (step_context_ && machine_.step_is_obsolete()) step_context_->cancel();
  process_.change(Change::role);
  process_.change();
}

void Agent::work() {
  while (true) {
    const auto step = machine_.next();
    if (!step && machine_.stage() == app::Stage::stopped) return refuse(*refused_);
    if (!step) {
      process_.wait(process_.unit(), Change::role);
      if (!machine_.next()) tick();
      continue;
    }
    const Context context = Context::background().with_cancel();
    step_context_ = context;
    cancel_obsolete_step();
    const Status done = context.done() && *step != app::Step::stop_backend ? context.status(to_string(*step))
                                                                           : carry_out(*step, context);
    simulation().trace("{}: {}{}", process_.host().name(), to_string(*step),
                       done ? "" : " failed: " + done.error().message());
    step_context_.reset();
    const app::Stage before = machine_.stage();
    note_problem(step_problem_, done);
    if (before == app::Stage::promoting && !done) {
      promotion_problem_ = done.error().message();
      process_.host().note_said();
    }
    if (machine_.stage() == app::Stage::active) promotion_problem_.clear();
    machine_.finished(done);
    const bool again = !done && machine_.next() == step;
    if (before == app::Stage::promoting && machine_.stage() == app::Stage::demoting) {
      release_reason_ = election::ReleaseReason::promotion_failed;
    }
    if (before == app::Stage::promoting && machine_.stage() == app::Stage::active) {
      ++simulation().statistics.promotions;
    }
    if (again || !machine_.next()) tick();
    if (again) process_.wait(process_.unit() / 5, Change::role);
  }
}

Status Agent::carry_out(app::Step step, const Context& context) {
  switch (step) {
    case app::Step::catch_up: return catch_up(context);
    case app::Step::fence: return fence(context, machine_.epoch());
    case app::Step::seal_replica: return seal_replica();
    case app::Step::install_primary: return install_primary();
    case app::Step::attach_capture: return attach_capture();
    case app::Step::start_backend: return start_backend();
    case app::Step::stop_backend: return stop_backend();
    case app::Step::final_sync: return final_sync(context);
    case app::Step::detach_capture: detach_capture(); return {};
    case app::Step::release_lease: return release_lease(context);
    case app::Step::follow: return become_standby(context);
    case app::Step::run_on_active:
    case app::Step::raise_vip:
    case app::Step::lower_vip:
    case app::Step::run_on_passive: return {};
  }
  return {};
}

Status Agent::start_backend() {
  Host& host = process_.host();
  host.arm();
  process_.work(simulation().schedule.between(0, process_.unit() / 4));
  // The guard starts nothing past the deadline.
  if (!lease_.leads()) return failure(ErrorCode::deposed, "start the backend", {}, "the lease is over");
  if (simulation().trouble(Trouble::failed_start, simulation().settings.failure_percent)) {
    return failure(ErrorCode::unavailable, "start the backend", {}, "it does not get healthy");
  }
  host.start_application();
  return {};
}

Status Agent::stop_backend() {
  process_.work(simulation().schedule.between(0, process_.unit() / 10));
  if (simulation().trouble(Trouble::failed_start, simulation().settings.failure_percent)) {
    return failure(ErrorCode::unavailable, "stop the backend", {}, "it does not end");
  }
  process_.host().stop_application();
  return {};
}

Status Agent::release_lease(const Context& context) {
  process_.host().disarm();
  if (process_.host().application_runs()) simulation().judge.violated("released while the application runs");
  const election::ReleaseOrder order{
      .reason = std::exchange(release_reason_, election::ReleaseReason::stepped_down),
      .position = position().value_or(Position{}),
      .successor = std::exchange(successor_, {})};
  if (machine_.final_sync_succeeded() && disk().primary) {
    simulation().judge.handed_over(disk().primary->content());
    ++simulation().statistics.hand_overs;
  }
  return lease_.release_and_wait(context, order);
}

Status Agent::become_standby(const Context& context) {
  process_.host().disarm();
  if (std::exchange(owes_release_, false)) {
    lease_.release({.reason = election::ReleaseReason::demoted, .position = {}, .successor = {}});
  }
  return follow(context);
}

void Agent::tick() {
  if (const auto known = position()) lease_.position_changed(known->txid);
  if (watch_.complete()) lease_.log_epoch_seen(watch_.view().highest_epoch());
  if (simulation().lossy() && process_.now() - bucket_checked_ >= bucket_check_interval * process_.unit()) {
    if (!bucket_is_the_same()) return;
  }
  const bool standby = machine_.stage() == app::Stage::standby;
  if (standby && overtaken()) {
    const auto followed = follow(Context::background());
    note_problem(follow_problem_, followed);
    if (!followed)
      simulation().trace("{}: cannot follow: {}", process_.host().name(), followed.error().message());
  }
  bool able = dormant_;
  if (!able && follower_) {
    const auto missing = follower_->lag();
    able = missing && (*missing == 0 || !disk().replica.empty());
  }
  lease_.set_eligible(machine_.stage() == app::Stage::standby && able);
}

// Members tell their positions once a heartbeat.
void Agent::members_heard() {
  for (const auto& other : simulation().hosts) {
    if (other.get() == &process_.host() || other->agent() == nullptr) continue;
    const auto position = other->agent()->position();
    lease_.peer_seen(other->name(), position ? position->txid : Txid());
  }
}

std::optional<Position> Agent::position() const {
  const Disk& disk = const_cast<Agent*>(this)->disk();
  if (session_) return session_->position();
  if (follower_) return Position{disk.replica.txid(), disk.replica.content().checksum};
  if (dormant_) return dormant_position_;
  return last_position_;
}

std::string Agent::state_text() const {
  return fmt::format("{}{}", to_string(machine_.stage()),
                     follower_  ? ", follows"
                     : dormant_ ? ", dormant"
                                : "");
}

}  // namespace litecluster::test::cluster
