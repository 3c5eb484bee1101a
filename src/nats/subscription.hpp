// A subscription with a bounded queue of its own.
//
// The client library's delivery thread puts messages into the queue; next() takes them out. Nothing is lost
// silently: when the queue is full, or when the connection was interrupted, so that the server may have sent
// messages to nobody, next() reports a `gap` at that place in the sequence, once, and then goes on.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "nats/message.hpp"

namespace litecluster::nats {

struct SubscriptionOptions {
  /// Members of a queue group share the messages between them. Empty: every subscriber gets all.
  std::string queue_group;
  /// Messages beyond either limit are dropped and reported as a gap.
  std::size_t messages_max = 65'536;
  std::size_t bytes_max = std::size_t{64} << 20U;
  /// Whether an interruption of the connection is reported as a gap.
  bool report_interruptions = true;
};

class SubscriptionQueue;
class ConnectionCore;

/// Ends (unsubscribes) when destroyed. next() may be called from several threads.
class Subscription {
 public:
  Subscription(Subscription&& other) noexcept;
  Subscription& operator=(Subscription&& other) noexcept;
  ~Subscription();

  /// Waits for a message. Errors: gap (see above; the next call goes on), cancelled, deadline_exceeded
  /// (nothing came), unavailable (the connection was closed for good).
  [[nodiscard]] Result<Message> next(const Context& context);
  /// A message that is already here, or nothing; an Error as above.
  [[nodiscard]] Result<std::optional<Message>> poll();

  /// When something last arrived from the server, or when the subscription was made.
  [[nodiscard]] std::chrono::steady_clock::time_point last_arrival() const;

 private:
  friend class ConnectionCore;
  Subscription(std::weak_ptr<ConnectionCore> core, std::shared_ptr<SubscriptionQueue> queue);
  void end();

  std::weak_ptr<ConnectionCore> core_;
  std::shared_ptr<SubscriptionQueue> queue_;
};

}  // namespace litecluster::nats
