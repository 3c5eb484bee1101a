#include "backend/guard_machine.hpp"

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>

namespace litecluster::backend {

using base::BootTime;

namespace {
constexpr base::Duration fence_interval = std::chrono::milliseconds(500);
}  // namespace

GuardMachine::GuardMachine(const GuardConfig& config)
    : config_(config), backoff_(config.restart_delay, config.restart_delay_max) {}

GuardMachine::Actions GuardMachine::start(const GuardView& view) {
  begin(view);
  restart_at_ = view.now;
  fence_all(view);
  return finish(view);
}

GuardMachine::Actions GuardMachine::tick(const GuardView& view) {
  begin(view);
  return finish(view);
}

GuardMachine::Actions GuardMachine::agent_exited(int wait_status, const GuardView& view) {
  begin(view);
  agent_ = Agent::none;
  armed_ = false;
  fence_again_at_.reset();
  fence_all(view);
  const bool ended = WIFEXITED(wait_status);
  const int status = ended ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
  const auto& final = config_.exit_statuses_final;
  const bool settled = status == 0 || std::ranges::find(final, status) != final.end();
  if (stopping_ || (ended && settled)) {
    exit_status_ = status;
  } else {
    // One that waits for NATS, or hangs, has no heartbeat, however long it lives.
    if (view.agent_heartbeat - agent_started_at_ >= config_.calm_after) {
      backoff_.reset();
      calm_ = true;
    }
    // The first restart costs nothing: a single crash shall not cost the cluster more than it must.
    restart_at_ = calm_ ? view.now : view.now + backoff_.next(agent_number_);
    calm_ = false;
  }
  return finish(view);
}

GuardMachine::Actions GuardMachine::backend_exited(int wait_status, const GuardView& view) {
  begin(view);
  backend_ = false;
  if (agent_ == Agent::running) add(GuardAct::tell_exited, wait_status);
  return finish(view);
}

GuardMachine::Actions GuardMachine::fences_done(const GuardView& view) {
  // Before time is looked at, which may call for them again.
  fences_until_.reset();
  begin(view);
  return finish(view);
}

GuardMachine::Actions GuardMachine::start_ordered(const GuardView& view) {
  begin(view);
  // Not armed, or without a deadline: nobody would stop the backend at the end of the lease. So it is when we
  // stood still, and the agent has given the lease back since it sent this order.
  const bool guarded = armed_ && view.lease_deadline != BootTime();
  if (backend_ || !guarded || stopping_ || agent_ != Agent::running) {
    add(GuardAct::refuse_backend);
  } else {
    backend_ = true;
    add(GuardAct::start_backend);
  }
  return finish(view);
}

GuardMachine::Actions GuardMachine::backend_start_failed(const GuardView& view) {
  begin(view);
  backend_ = false;
  return finish(view);
}

GuardMachine::Actions GuardMachine::signal_ordered(int signal, const GuardView& view) {
  begin(view);
  if (backend_) add(GuardAct::signal_backend, signal);
  return finish(view);
}

GuardMachine::Actions GuardMachine::arm_ordered(bool armed, const GuardView& view) {
  // Set before time is looked at: an order to arm with a deadline that is past already is obeyed and ends at
  // once.
  armed_ = armed;
  fence_again_at_.reset();
  begin(view);
  // The agent disarms when it knows of no backend: this one was started by an order that it had given up.
  if (!armed && backend_) add(GuardAct::signal_backend, SIGKILL);
  return finish(view);
}

GuardMachine::Actions GuardMachine::stop_requested(int signal, const GuardView& view) {
  begin(view);
  if (!stopping_) {
    stopping_ = true;
    stop_requested_at_ = view.now;
    kill_at_ = view.now + config_.stop_timeout;
    if (agent_ == Agent::running) {
      add(GuardAct::signal_agent, signal);
    } else {
      restart_at_.reset();
      exit_status_ = exit_status_.value_or(0);
    }
  } else if (view.now - stop_requested_at_ > config_.same_request) {
    kill_at_ = view.now;
  }
  return finish(view);
}

void GuardMachine::begin(const GuardView& view) {
  count_ = 0;
  const bool has_deadline = view.lease_deadline != BootTime();
  if (armed_ && has_deadline && view.now >= view.lease_deadline) {
    armed_ = false;
    fence_all(view);
    fence_again_at_ = view.now + fence_interval;
    if (agent_ == Agent::running) add(GuardAct::tell_fenced);
  } else if (fence_again_at_ && view.now >= *fence_again_at_) {
    fence_all(view);
    fence_again_at_ = view.now + fence_interval;
  }
}

GuardMachine::Actions GuardMachine::finish(const GuardView& view) {
  if (kill_at_ && view.now >= *kill_at_) {
    kill_at_.reset();
    fence_all(view);
    if (agent_ == Agent::running) add(GuardAct::signal_agent, SIGKILL);
  }
  if (const auto silent = silent_at(view); silent && view.now >= *silent && !agent_killed_) {
    agent_killed_ = true;
    add(GuardAct::signal_agent, SIGKILL);
  }
  continue_without_agent(view);

  BootTime next = BootTime::max();
  if (armed_ && view.lease_deadline != BootTime()) next = std::min(next, view.lease_deadline);
  if (kill_at_) next = std::min(next, *kill_at_);
  if (fence_again_at_) next = std::min(next, *fence_again_at_);
  if (const auto at = continue_at(); at && *at > view.now) next = std::min(next, *at);
  if (const auto silent = silent_at(view); silent && !agent_killed_) next = std::min(next, *silent);
  if (next != BootTime::max()) add(GuardAct::set_timer, 0, next);
  return {actions_.data(), count_};
}

// When the next agent may start, or the guard end.
std::optional<BootTime> GuardMachine::continue_at() const {
  if (agent_ == Agent::running || backend_) return std::nullopt;
  const auto at = exit_status_ ? BootTime() : restart_at_;
  if (!at) return std::nullopt;
  return std::max(*at, fences_until_.value_or(*at));
}

void GuardMachine::continue_without_agent(const GuardView& view) {
  const auto at = continue_at();
  if (!at || view.now < *at) return;
  if (exit_status_) {
    add(GuardAct::exit, *exit_status_);
    return;
  }
  restart_at_.reset();
  // Waited for in vain.
  if (fences_until_) add(GuardAct::renew_family);
  fences_until_.reset();
  agent_ = Agent::running;
  agent_killed_ = false;
  agent_started_at_ = view.now;
  add(GuardAct::start_agent, ++agent_number_);
}

void GuardMachine::fence_all(const GuardView& view) {
  fences_until_ = view.now + config_.fence_timeout;
  add(GuardAct::fence);
  if (backend_) add(GuardAct::signal_backend, SIGKILL);
}

std::optional<BootTime> GuardMachine::silent_at(const GuardView& view) const {
  if (agent_ != Agent::running || config_.agent_silence_max <= base::Duration::zero()) return std::nullopt;
  return std::max(agent_started_at_, view.agent_heartbeat) + config_.agent_silence_max;
}

void GuardMachine::add(GuardAct act, std::int64_t number, BootTime at) {
  if (count_ < actions_.size()) actions_[count_++] = {.act = act, .number = number, .at = at};
}

}  // namespace litecluster::backend
