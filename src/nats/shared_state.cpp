#include <string>
#include <utility>

#include <nats/nats.h>

#include "base/logging.hpp"
#include "nats/connection_core.hpp"

namespace litecluster::nats {

void SharedState::change_locked(ConnectionState state) {
  if (state_.exchange(state, std::memory_order_acq_rel) == state) return;
  untold_.push_back(state);
  ++changes_;
  changed_.notify_all();
}

void SharedState::interrupt_locked(const std::string& reason) {
  if (!reason.empty()) problem_ = reason;
  change_locked(ConnectionState::reconnecting);
  for (const auto& [id, queue] : queues_) queue->interrupt();
  replies_->fail_all(
      "the connection to the server broke before the answer; whether the server acted is unknown");
}

void SharedState::on_disconnected(std::uint64_t session, const std::string& reason) {
  const base::MutexLock lock(mutex_);
  if (session != session_ || state() == ConnectionState::closed) return;
  heard_ = true;
  interrupt_locked(reason);
}

void SharedState::on_reconnected(std::uint64_t session) {
  const base::MutexLock lock(mutex_);
  if (session != session_ || state() == ConnectionState::closed) return;
  heard_ = true;
  problem_.clear();
  generation_.fetch_add(1, std::memory_order_acq_rel);
  change_locked(ConnectionState::connected);
}

void SharedState::on_given_up(std::uint64_t session, const std::string& reason) {
  const base::MutexLock lock(mutex_);
  if (session != session_ || state() == ConnectionState::closed) return;
  heard_ = true;
  interrupt_locked(reason);
  rebuild_ = true;
  changed_.notify_all();
}

void SharedState::on_problem(std::uint64_t session, int status, const std::string& text) {
  base::log_warning("NATS reports a problem",
                    {{"problem", text}, {"status", natsStatus_GetText(natsStatus(status))}});
  if (status == NATS_NOT_PERMITTED) {
    // `Permissions Violation for Publish to "subject"`: nobody will answer, so do not wait for it.
    const std::size_t begin = text.find("Publish to \"");
    if (begin != std::string::npos) {
      const std::string rest = text.substr(begin + 12);
      const std::string subject = rest.substr(0, rest.find('"'));
      replies_->fail_subject(subject, Error(ErrorCode::permission_denied, "publish", subject,
                                            "the server's permissions for this user do not allow it"));
    }
  }
  const base::MutexLock lock(mutex_);
  if (session == session_) problem_ = text;
}

void SharedState::expect(std::uint64_t session) {
  const base::MutexLock lock(mutex_);
  session_ = session;
  heard_ = false;
  rebuild_ = false;
}

void SharedState::on_connected() {
  const base::MutexLock lock(mutex_);
  // What callbacks have said since is newer.
  if (state() == ConnectionState::closed || heard_) return;
  problem_.clear();
  generation_.fetch_add(1, std::memory_order_acq_rel);
  change_locked(ConnectionState::connected);
}

void SharedState::close() {
  const base::MutexLock lock(mutex_);
  if (state() == ConnectionState::closed) return;
  change_locked(ConnectionState::closed);
  for (const auto& [id, queue] : queues_) queue->close();
  queues_.clear();
  replies_->fail_all("the connection was closed");
}

std::string SharedState::last_problem() const {
  const base::MutexLock lock(mutex_);
  return problem_;
}

void SharedState::set_problem(std::string text) {
  const base::MutexLock lock(mutex_);
  problem_ = std::move(text);
}

Status SharedState::wait_connected(const Context& context) {
  const auto registration = context.on_cancel([this] {
    const base::MutexLock lock(mutex_);
    changed_.notify_all();
  });
  base::MutexLock lock(mutex_);
  while (state() != ConnectionState::connected) {
    if (state() == ConnectionState::closed) {
      return failure(ErrorCode::unavailable, "wait for NATS", {}, "the connection was closed");
    }
    if (const auto status = context.status("wait for NATS"); !status) {
      return failure(status.error().code(), "wait for NATS", {},
                     status.error().reason() + (problem_.empty() ? "" : "; last problem: " + problem_));
    }
    if (context.deadline()) {
      changed_.wait_until(lock, *context.deadline());
    } else {
      changed_.wait(lock);
    }
  }
  return {};
}

void SharedState::add_queue(const std::shared_ptr<SubscriptionQueue>& queue) {
  const base::MutexLock lock(mutex_);
  if (state() == ConnectionState::closed) {
    queue->close();
  } else {
    queues_.emplace(queue->id(), queue);
  }
}

void SharedState::remove_queue(std::uint64_t id) {
  const base::MutexLock lock(mutex_);
  queues_.erase(id);
}

std::vector<std::shared_ptr<SubscriptionQueue>> SharedState::queues() const {
  const base::MutexLock lock(mutex_);
  std::vector<std::shared_ptr<SubscriptionQueue>> all;
  all.reserve(queues_.size());
  for (const auto& [id, queue] : queues_) all.push_back(queue);
  return all;
}

std::uint64_t SharedState::changes() const {
  const base::MutexLock lock(mutex_);
  return changes_;
}

void SharedState::want_reaping(std::chrono::milliseconds delay) {
  const base::MutexLock lock(mutex_);
  const auto at = std::chrono::steady_clock::now() + delay;
  if (!reap_at_ || at < *reap_at_) reap_at_ = at;
  changed_.notify_all();
}

SharedState::Work SharedState::wait_work() {
  Work work;
  base::MutexLock lock(mutex_);
  while (true) {
    if (!untold_.empty()) {
      work.state = untold_.front();
      untold_.pop_front();
      work.number = changes_ - untold_.size();
      return work;
    }
    work.closed = state() == ConnectionState::closed;
    work.rebuild = rebuild_ && !work.closed;
    if (work.closed || work.rebuild) return work;
    if (reap_at_ && std::chrono::steady_clock::now() >= *reap_at_) {
      reap_at_.reset();
      work.reap = true;
      return work;
    }
    if (reap_at_) {
      changed_.wait_until(lock, *reap_at_);
    } else {
      changed_.wait(lock);
    }
  }
}

}  // namespace litecluster::nats
