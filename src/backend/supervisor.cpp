#include "backend/supervisor.hpp"

#include <algorithm>
#include <utility>

namespace litecluster::backend {

using base::BootTime;

Supervisor::Supervisor(SupervisorConfig config)
    : config_(config), backoff_(config.restart_delay, config.restart_delay_max) {}

Supervisor::Actions Supervisor::start(BootTime now) {
  begin();
  if (state_ == SupervisorState::stopped || state_ == SupervisorState::given_up) {
    state_ = SupervisorState::starting;
    was_healthy_ = false;
    reason_.clear();
    restarts_.clear();
    backoff_.reset();
    start_deadline_ = now + config_.start_timeout;
    restart_due(now);
  }
  return finish();
}

Supervisor::Actions Supervisor::stop(BootTime now) {
  begin();
  start_deadline_.reset();
  restart_at_.reset();
  if (state_ == SupervisorState::given_up && process_) {
    // It is being ended already, and has said all there is to say.
    afterwards_ = Afterwards::stop;
    state_ = SupervisorState::stopping;
  } else if (state_ != SupervisorState::stopping) {
    afterwards_ = Afterwards::stop;
    state_ = SupervisorState::stopping;
    if (process_ && !kill_at_) {
      end_process(now, StopSignal::terminate);
    } else if (!process_) {
      process_gone(now);
    }
  }
  return finish();
}

Supervisor::Actions Supervisor::process_started(BootTime now) {
  begin();
  if (state_ == SupervisorState::starting) {
    if (config_.has_probe) {
      probe_due(now);
    } else {
      became_healthy(now);
    }
  }
  return finish();
}

Supervisor::Actions Supervisor::process_failed(std::string reason, BootTime now) {
  begin();
  process_ = false;
  if (state_ == SupervisorState::stopping || kill_at_) {
    process_gone(now);
  } else {
    failed(std::move(reason), now);
  }
  return finish();
}

Supervisor::Actions Supervisor::process_exited(const std::string& how, BootTime now) {
  begin();
  process_ = false;
  if (state_ == SupervisorState::stopping || kill_at_) {
    process_gone(now);
  } else if (state_ == SupervisorState::starting || state_ == SupervisorState::running) {
    failed("it ended by itself: " + how, now);
  }
  return finish();
}

Supervisor::Actions Supervisor::probe_finished(bool healthy, std::string reason, BootTime now) {
  begin();
  probing_ = false;
  if (!process_ || kill_at_) return finish();
  if (state_ == SupervisorState::starting) {
    if (healthy) {
      became_healthy(now);
    } else {
      reason_ = std::move(reason);
      probe_at_ = now + config_.probe_interval_starting;
    }
  } else if (state_ == SupervisorState::running) {
    probe_failures_ = healthy ? 0 : probe_failures_ + 1;
    probe_at_ = now + config_.probe_interval;
    if (probe_failures_ >= config_.probe_failures_max) failed(std::move(reason), now);
  }
  return finish();
}

Supervisor::Actions Supervisor::tick(BootTime now) {
  begin();
  due(start_deadline_, now, &Supervisor::start_overdue);
  due(kill_at_, now, &Supervisor::kill_due);
  due(restart_at_, now, &Supervisor::restart_due);
  due(probe_at_, now, &Supervisor::probe_due);
  return finish();
}

void Supervisor::begin() {
  actions_.clear();
}

Supervisor::Actions Supervisor::finish() {
  BootTime next = BootTime::max();
  for (const auto& timer : {start_deadline_, probe_at_, kill_at_, restart_at_}) {
    if (timer) next = std::min(next, *timer);
  }
  if (next != BootTime::max()) actions_.emplace_back(SetTimer{next});
  return actions_;
}

void Supervisor::due(std::optional<BootTime>& timer, BootTime now, void (Supervisor::*action)(BootTime)) {
  if (!timer || now < *timer) return;
  timer.reset();
  (this->*action)(now);
}

void Supervisor::restart_due(BootTime /*now*/) {
  state_ = SupervisorState::starting;
  process_ = true;
  probe_failures_ = 0;
  actions_.emplace_back(StartProcess{});
}

void Supervisor::probe_due(BootTime /*now*/) {
  if (probing_) return;
  probing_ = true;
  actions_.emplace_back(ProbeHealth{});
}

void Supervisor::start_overdue(BootTime now) {
  reason_ = "not healthy in time" + (reason_.empty() ? std::string() : ": " + reason_);
  afterwards_ = Afterwards::give_up;
  probe_at_.reset();
  restart_at_.reset();
  if (!process_) return process_gone(now);
  if (!kill_at_) end_process(now, StopSignal::terminate);
}

void Supervisor::kill_due(BootTime now) {
  end_process(now, StopSignal::kill);
}

void Supervisor::became_healthy(BootTime now) {
  state_ = SupervisorState::running;
  was_healthy_ = true;
  start_deadline_.reset();
  backoff_.reset();
  if (config_.has_probe) probe_at_ = now + config_.probe_interval;
  actions_.emplace_back(BecameHealthy{});
}

// The process ended, or does not answer any more, without having been told to.
void Supervisor::failed(std::string reason, BootTime now) {
  reason_ = std::move(reason);
  probe_at_.reset();
  if (state_ == SupervisorState::running) {
    actions_.emplace_back(BecameUnhealthy{reason_});
    start_deadline_ = now + config_.start_timeout;
    std::erase_if(restarts_, [&](BootTime at) { return at + config_.restart_window < now; });
    restarts_.push_back(now);
  }
  const bool too_often = static_cast<int>(restarts_.size()) > config_.restarts_max;
  afterwards_ = too_often ? Afterwards::give_up : Afterwards::restart;
  state_ = SupervisorState::pausing;
  if (process_) {
    end_process(now, StopSignal::terminate);
  } else {
    process_gone(now);
  }
}

void Supervisor::end_process(BootTime now, StopSignal signal) {
  probe_at_.reset();
  // A kill that had no effect (a process in uninterruptible sleep) is repeated.
  kill_at_ = now + config_.grace;
  actions_.emplace_back(SignalProcess{signal});
}

void Supervisor::process_gone(BootTime now) {
  kill_at_.reset();
  probe_at_.reset();
  switch (afterwards_) {
    case Afterwards::stop:
      start_deadline_.reset();
      restart_at_.reset();
      state_ = SupervisorState::stopped;
      actions_.emplace_back(Stopped{});
      break;
    case Afterwards::restart:
      state_ = SupervisorState::pausing;
      restart_at_ = now + backoff_.next(static_cast<std::uint64_t>(now.time_since_epoch().count()));
      break;
    case Afterwards::give_up:
      start_deadline_.reset();
      restart_at_.reset();
      state_ = SupervisorState::given_up;
      actions_.emplace_back(GaveUp{reason_});
      break;
  }
}

}  // namespace litecluster::backend
