// The queue between the client library's delivery thread and Subscription::next().
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "base/mutex.hpp"
#include "nats/message.hpp"
#include "nats/subscription.hpp"

namespace litecluster::nats {

/// Thread-safe.
class SubscriptionQueue {
 public:
  SubscriptionQueue(std::uint64_t id, std::string subject, SubscriptionOptions options)
      : id_(id), subject_(std::move(subject)), options_(std::move(options)) {}

  void push(Message message);
  /// The connection was interrupted here.
  void interrupt();
  /// Nothing comes any more; next() fails once the queue is empty.
  void close();

  [[nodiscard]] Result<Message> next(const Context& context);
  [[nodiscard]] Result<std::optional<Message>> poll();
  [[nodiscard]] std::chrono::steady_clock::time_point last_arrival() const;

  [[nodiscard]] std::uint64_t id() const { return id_; }
  [[nodiscard]] const std::string& subject() const { return subject_; }
  [[nodiscard]] const SubscriptionOptions& options() const { return options_; }

 private:
  /// Messages were, or may have been, lost at this place.
  struct Gap {
    std::uint64_t dropped = 0;
    bool interrupted = false;
  };
  using Item = std::variant<Message, Gap>;

  void wake();
  [[nodiscard]] Gap& gap_at_end() LITECLUSTER_REQUIRES(mutex_);
  [[nodiscard]] std::optional<Result<Message>> take() LITECLUSTER_REQUIRES(mutex_);

  const std::uint64_t id_;
  const std::string subject_;
  const SubscriptionOptions options_;
  mutable base::Mutex mutex_;
  base::ConditionVariable changed_;
  std::deque<Item> items_ LITECLUSTER_GUARDED_BY(mutex_);
  std::size_t bytes_ LITECLUSTER_GUARDED_BY(mutex_) = 0;
  bool closed_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  std::chrono::steady_clock::time_point last_arrival_ LITECLUSTER_GUARDED_BY(mutex_) =
      std::chrono::steady_clock::now();
};

}  // namespace litecluster::nats
