#include "nats/subscription.hpp"

#include <utility>

#include <fmt/format.h>

#include "nats/connection_core.hpp"
#include "nats/subscription_queue.hpp"

namespace litecluster::nats {

void SubscriptionQueue::push(Message message) {
  const std::size_t size = message.data().size();
  const base::MutexLock lock(mutex_);
  last_arrival_ = std::chrono::steady_clock::now();
  if (closed_) return;
  if (items_.size() >= options_.messages_max || bytes_ + size > options_.bytes_max) {
    ++gap_at_end().dropped;
  } else {
    bytes_ += size;
    items_.emplace_back(std::move(message));
  }
  changed_.notify_one();
}

SubscriptionQueue::Gap& SubscriptionQueue::gap_at_end() {
  if (items_.empty() || !std::holds_alternative<Gap>(items_.back())) items_.emplace_back(Gap{});
  return std::get<Gap>(items_.back());
}

void SubscriptionQueue::interrupt() {
  const base::MutexLock lock(mutex_);
  if (closed_ || !options_.report_interruptions) return;
  gap_at_end().interrupted = true;
  changed_.notify_one();
}

void SubscriptionQueue::close() {
  const base::MutexLock lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

void SubscriptionQueue::wake() {
  const base::MutexLock lock(mutex_);
  changed_.notify_all();
}

std::optional<Result<Message>> SubscriptionQueue::take() {
  if (items_.empty()) {
    if (!closed_) return std::nullopt;
    return failure(ErrorCode::unavailable, "receive", subject_, "the connection was closed");
  }
  Item item = std::move(items_.front());
  items_.pop_front();
  if (auto* message = std::get_if<Message>(&item)) {
    bytes_ -= message->data().size();
    return std::move(*message);
  }
  const Gap gap = std::get<Gap>(item);
  return failure(ErrorCode::gap, "receive", subject_,
                 gap.dropped != 0
                     ? fmt::format("{} messages were dropped: the receiver is too slow", gap.dropped)
                     : "the connection was interrupted; messages may have been missed");
}

Result<Message> SubscriptionQueue::next(const Context& context) {
  {
    const base::MutexLock lock(mutex_);
    if (auto item = take()) return std::move(*item);
  }
  const auto registration = context.on_cancel([this] { wake(); });
  base::MutexLock lock(mutex_);
  while (true) {
    if (auto item = take()) return std::move(*item);
    // Looked at with the mutex held, which the callback needs to wake us: no wake-up is lost.
    if (const auto status = context.status("receive"); !status) {
      return failure(status.error().code(), "receive", subject_, status.error().reason());
    }
    if (context.deadline()) {
      changed_.wait_until(lock, *context.deadline());
    } else {
      changed_.wait(lock);
    }
  }
}

Result<std::optional<Message>> SubscriptionQueue::poll() {
  const base::MutexLock lock(mutex_);
  auto item = take();
  if (!item) return std::nullopt;
  if (!*item) return std::unexpected(item->error());
  return std::optional<Message>(std::move(**item));
}

std::chrono::steady_clock::time_point SubscriptionQueue::last_arrival() const {
  const base::MutexLock lock(mutex_);
  return last_arrival_;
}

Subscription::Subscription(std::weak_ptr<ConnectionCore> core, std::shared_ptr<SubscriptionQueue> queue)
    : core_(std::move(core)), queue_(std::move(queue)) {}

Subscription::Subscription(Subscription&& other) noexcept = default;

Subscription& Subscription::operator=(Subscription&& other) noexcept {
  if (this != &other) {
    end();
    core_ = std::move(other.core_);
    queue_ = std::move(other.queue_);
  }
  return *this;
}

Subscription::~Subscription() {
  end();
}

void Subscription::end() {
  if (!queue_) return;
  queue_->close();
  if (const auto core = core_.lock()) core->unsubscribe(queue_->id());
  queue_.reset();
}

Result<Message> Subscription::next(const Context& context) {
  return queue_->next(context);
}

Result<std::optional<Message>> Subscription::poll() {
  return queue_->poll();
}

std::chrono::steady_clock::time_point Subscription::last_arrival() const {
  return queue_->last_arrival();
}

}  // namespace litecluster::nats
