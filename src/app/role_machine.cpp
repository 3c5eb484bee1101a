#include "app/role_machine.hpp"

#include <array>
#include <utility>

namespace litecluster::app {

namespace {

constexpr std::array promotion_order = {Step::catch_up,        Step::fence,          Step::seal_replica,
                                        Step::install_primary, Step::attach_capture, Step::start_backend,
                                        Step::run_on_active,   Step::raise_vip};

constexpr std::array demotion_order = {Step::lower_vip,  Step::stop_backend,   Step::run_on_passive,
                                       Step::final_sync, Step::detach_capture, Step::release_lease,
                                       Step::follow};

}  // namespace

std::string_view to_string(Step step) {
  switch (step) {
    case Step::catch_up: return "catch_up";
    case Step::fence: return "fence";
    case Step::seal_replica: return "seal_replica";
    case Step::install_primary: return "install_primary";
    case Step::attach_capture: return "attach_capture";
    case Step::start_backend: return "start_backend";
    case Step::run_on_active: return "run_on_active";
    case Step::raise_vip: return "raise_vip";
    case Step::lower_vip: return "lower_vip";
    case Step::stop_backend: return "stop_backend";
    case Step::run_on_passive: return "run_on_passive";
    case Step::final_sync: return "final_sync";
    case Step::detach_capture: return "detach_capture";
    case Step::release_lease: return "release_lease";
    case Step::follow: return "follow";
  }
  return "unknown";
}

std::string_view to_string(Stage stage) {
  switch (stage) {
    case Stage::standby: return "standby";
    case Stage::promoting: return "promoting";
    case Stage::active: return "active";
    case Stage::demoting: return "demoting";
    case Stage::stopped: return "stopped";
  }
  return "unknown";
}

void RoleMachine::won(Epoch epoch) {
  if (stage_ == Stage::standby && !stopping_) {
    start_promotion(epoch);
  } else if (stage_ != Stage::stopped) {
    won_meanwhile_ = epoch;
  }
}

void RoleMachine::lost(Epoch epoch, std::string reason) {
  if (won_meanwhile_ == epoch) won_meanwhile_.reset();
  if (epoch != epoch_ || !lease_held_) return;
  lease_is_over();
  if (stage_ == Stage::promoting || stage_ == Stage::active) start_demotion(std::move(reason));
  // A demotion under way goes on; release_lease falls away, and what the running step waits for may be moot.
}

void RoleMachine::step_down(std::string reason) {
  if (stage_ == Stage::promoting || stage_ == Stage::active) start_demotion(std::move(reason));
}

void RoleMachine::shut_down() {
  if (stopping_) return;
  stopping_ = true;
  if (stage_ == Stage::promoting || stage_ == Stage::active) {
    start_demotion("shutdown");
  } else if (stage_ == Stage::standby) {
    stage_ = Stage::stopped;
  } else if (next_ == Step::follow) {
    // Becoming a standby is moot; finished() ends it.
    demotion_wanted_ = true;
  }
}

void RoleMachine::start_promotion(Epoch epoch) {
  stage_ = Stage::promoting;
  epoch_ = epoch;
  lease_held_ = true;
  demotion_wanted_ = false;
  synced_ = false;
  begun_ = 0;
  done_ = 0;
  reason_.clear();
  advance();
}

void RoleMachine::start_demotion(std::string reason) {
  if (demotion_wanted_) return;
  demotion_wanted_ = true;
  reason_ = std::move(reason);
  // The running promotion step is left to end first: it may own half of what has to be taken back.
  if (next_) return;
  stage_ = Stage::demoting;
  advance();
}

bool RoleMachine::step_is_obsolete() const {
  if (!next_) return false;
  if (stage_ == Stage::promoting) return demotion_wanted_;
  if (next_ == Step::follow) return stopping_;
  return (next_ == Step::final_sync || next_ == Step::release_lease) && !lease_held_;
}

bool RoleMachine::applies(Step step) const {
  switch (step) {
    case Step::catch_up:
    case Step::fence:
    case Step::seal_replica:
    case Step::install_primary:
    case Step::attach_capture: return equipment_.database;
    case Step::start_backend: return equipment_.backend;
    case Step::raise_vip: return equipment_.vip;
    case Step::lower_vip: return begun(Step::raise_vip);
    case Step::stop_backend: return begun(Step::start_backend);
    case Step::run_on_passive: return begun(Step::run_on_active);
    case Step::final_sync: return done(Step::attach_capture) && lease_held_;
    case Step::detach_capture: return begun(Step::attach_capture);
    case Step::release_lease: return lease_held_;
    case Step::run_on_active: return true;
    case Step::follow: return !stopping_;
  }
  return false;
}

std::optional<Step> RoleMachine::next_promotion_step() const {
  for (const Step step : promotion_order) {
    if (!done(step) && applies(step)) return step;
  }
  return std::nullopt;
}

std::optional<Step> RoleMachine::next_demotion_step() const {
  for (const Step step : demotion_order) {
    if (!done(step) && applies(step)) return step;
  }
  return std::nullopt;
}

void RoleMachine::advance() {
  next_ = stage_ == Stage::promoting ? next_promotion_step() : next_demotion_step();
  if (next_) {
    begun_ |= bit(*next_);
    return;
  }
  if (stage_ == Stage::promoting) {
    stage_ = Stage::active;
    return;
  }
  stage_ = stopping_ ? Stage::stopped : Stage::standby;
  epoch_ = Epoch();
  lease_is_over();
  if (const auto epoch = std::exchange(won_meanwhile_, std::nullopt); epoch && !stopping_)
    start_promotion(*epoch);
}

void RoleMachine::lease_is_over() {
  if (!std::exchange(lease_held_, false)) return;
  left_unsynced_ = done(Step::attach_capture) && !synced_;
}

void RoleMachine::finished(const Status& outcome) {
  if (!next_) return;
  const Step step = *std::exchange(next_, std::nullopt);
  if (stage_ == Stage::promoting) {
    if (outcome) done_ |= bit(step);
    if (!outcome && !demotion_wanted_) {
      demotion_wanted_ = true;
      reason_ = std::string(to_string(step)) + ": " + outcome.error().message();
    }
    if (demotion_wanted_) stage_ = Stage::demoting;
    advance();
    return;
  }
  if (step == Step::final_sync) synced_ = outcome.has_value();
  // Once released, the lease is not held, whether or not the server has heard of it: it runs out.
  if (step == Step::release_lease) lease_is_over();
  // A standby that cannot follow yet, and a backend that may still write, are tried again.
  const bool again = !outcome && (step == Step::stop_backend || (step == Step::follow && !stopping_));
  if (!again) done_ |= bit(step);
  advance();
}

}  // namespace litecluster::app
