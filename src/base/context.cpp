#include <litecluster/context.hpp>

#include <algorithm>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.hpp"

namespace litecluster {

// One callback. `running` serialises the callback with the destruction of its Registration.
struct Context::Registration::Entry {
  base::Mutex running;
  std::function<void()> callback LITECLUSTER_GUARDED_BY(running);

  void run() {
    const base::MutexLock lock(running);
    if (const auto once = std::exchange(callback, nullptr)) once();
  }
  void forget() {
    const base::MutexLock lock(running);
    callback = nullptr;
  }
};

struct Context::Node {
  base::Mutex mutex;
  base::ConditionVariable changed;
  bool cancelled LITECLUSTER_GUARDED_BY(mutex) = false;
  std::vector<std::weak_ptr<Node>> children LITECLUSTER_GUARDED_BY(mutex);
  std::vector<std::weak_ptr<Registration::Entry>> callbacks LITECLUSTER_GUARDED_BY(mutex);
  std::optional<TimePoint> deadline;  // fixed at construction
  std::shared_ptr<Node> parent;       // keeps the chain alive while a child is

  void cancel() {
    std::vector<std::weak_ptr<Node>> below;
    std::vector<std::weak_ptr<Registration::Entry>> to_run;
    {
      const base::MutexLock lock(mutex);
      if (cancelled) return;
      cancelled = true;
      below.swap(children);
      to_run.swap(callbacks);
      changed.notify_all();
    }
    for (const auto& weak : to_run) {
      if (const auto entry = weak.lock()) entry->run();
    }
    for (const auto& weak : below) {
      if (const auto child = weak.lock()) child->cancel();
    }
  }

  bool is_cancelled() {
    const base::MutexLock lock(mutex);
    return cancelled;
  }
};

Context::Registration::Registration(std::shared_ptr<Entry> entry) : entry_(std::move(entry)) {}
Context::Registration::Registration(Registration&& other) noexcept = default;

Context::Registration& Context::Registration::operator=(Registration&& other) noexcept {
  if (this != &other) {
    if (entry_) entry_->forget();
    entry_ = std::move(other.entry_);
  }
  return *this;
}

Context::Registration::~Registration() {
  if (entry_) entry_->forget();
}

Context::Context(std::shared_ptr<Node> node) : node_(std::move(node)) {}

Context Context::background() {
  return Context(std::make_shared<Node>());
}

Context Context::with_cancel() const {
  return with_deadline(TimePoint::max());
}

Context Context::with_timeout(std::chrono::nanoseconds timeout) const {
  const TimePoint now = std::chrono::steady_clock::now();
  // A timeout beyond the clock's range means "no deadline of its own".
  if (timeout > TimePoint::max() - now) return with_cancel();
  return with_deadline(now + timeout);
}

Context Context::with_deadline(TimePoint deadline) const {
  auto child = std::make_shared<Node>();
  child->parent = node_;
  child->deadline = node_->deadline;
  if (deadline != TimePoint::max()) {
    child->deadline = child->deadline ? std::min(*child->deadline, deadline) : deadline;
  }
  bool cancelled = false;
  {
    const base::MutexLock lock(node_->mutex);
    cancelled = node_->cancelled;
    if (!cancelled) {
      std::erase_if(node_->children, [](const auto& weak) { return weak.expired(); });
      node_->children.push_back(child);
    }
  }
  if (cancelled) child->cancel();
  return Context(std::move(child));
}

void Context::cancel() const {
  node_->cancel();
}

bool Context::done() const {
  if (node_->is_cancelled()) return true;
  return node_->deadline && std::chrono::steady_clock::now() >= *node_->deadline;
}

Status Context::status(std::string_view operation) const {
  if (node_->is_cancelled()) {
    return failure(ErrorCode::cancelled, std::string(operation), {}, "cancelled");
  }
  if (node_->deadline && std::chrono::steady_clock::now() >= *node_->deadline) {
    return failure(ErrorCode::deadline_exceeded, std::string(operation), {}, "deadline exceeded");
  }
  return {};
}

std::optional<Context::TimePoint> Context::deadline() const {
  return node_->deadline;
}

std::chrono::nanoseconds Context::remaining(std::chrono::nanoseconds limit) const {
  if (node_->is_cancelled()) return std::chrono::nanoseconds::zero();
  if (!node_->deadline) return limit;
  const std::chrono::nanoseconds left = *node_->deadline - std::chrono::steady_clock::now();
  return std::clamp(left, std::chrono::nanoseconds::zero(), limit);
}

bool Context::wait_for(std::chrono::nanoseconds duration) const {
  const TimePoint now = std::chrono::steady_clock::now();
  TimePoint until = duration > TimePoint::max() - now ? TimePoint::max() : now + duration;
  if (node_->deadline) until = std::min(until, *node_->deadline);
  {
    base::MutexLock lock(node_->mutex);
    while (!node_->cancelled && std::chrono::steady_clock::now() < until) {
      node_->changed.wait_until(lock, until);
    }
  }
  return done();
}

Context::Registration Context::on_cancel(std::function<void()> callback) const {
  auto entry = std::make_shared<Registration::Entry>();
  {
    const base::MutexLock lock(entry->running);
    entry->callback = std::move(callback);
  }
  bool cancelled = false;
  {
    const base::MutexLock lock(node_->mutex);
    cancelled = node_->cancelled;
    if (!cancelled) {
      std::erase_if(node_->callbacks, [](const auto& weak) { return weak.expired(); });
      node_->callbacks.push_back(entry);
    }
  }
  if (cancelled) entry->run();
  return Registration(std::move(entry));
}

}  // namespace litecluster
