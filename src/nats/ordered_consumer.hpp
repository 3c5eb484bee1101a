// Reads a stream in order, from a place onwards, and goes on as messages come: nothing lost, nothing twice.
//
// It is an ephemeral push consumer without acknowledgements, with flow control and idle heartbeats. Each
// message carries the consumer's own sequence, which has no holes; each heartbeat repeats the last one. A
// hole, a heartbeat that does not come, or an interruption of the connection means that messages may have
// been missed: a new consumer is then made that starts behind the last message that next() returned. What
// still arrives for an older one is told apart by its delivery subject and dropped.
//
// nats-server before 2.9.12 moves a consumer whose filter covers a purged subject, and that lags behind, to
// the first message left on that subject, over whatever else it had not sent; a rollup is such a purge. The
// consumer's sequence has no hole then. Servers whose answers are not those of 2.10 or later are therefore
// asked, when a message or a heartbeat from behind the stream's end at the making of the consumer passes over
// sequences, whether a message of the filter was there; if so, a new consumer is made that starts behind the
// last message. (Of a filter without wildcards a purge takes all that it passes over.) A sparse filter would
// make that a question for each message: there only messages that rolled up their subject and heartbeats give
// reason to ask, and what a subject that was rolled up twice within the lag took along stays unseen.
//
// Before a consumer is made again, the stream is looked at. If it is gone, was made anew, its last sequence
// is below one already seen, or another message is where the last one was that was read, its history is not
// the one that was being read; that is reported and final.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "nats/jetstream.hpp"

namespace litecluster::nats {

/// Where to begin.
struct StartAll {};
struct StartNew {};             ///< only messages stored after the consumer was made
struct StartLastPerSubject {};  ///< the newest message of each subject, then all that follow
struct StartAtSequence {
  std::uint64_t sequence = 1;
};
using Start = std::variant<StartAll, StartNew, StartLastPerSubject, StartAtSequence>;

struct OrderedConsumerOptions {
  std::string stream;
  /// Subject, wildcards allowed. Empty: everything.
  std::string filter;
  Start start = StartAll{};
  /// Leaves the data out.
  bool headers_only = false;
  /// Most of what lies between two messages of the filter is not of it. See the head of the file.
  bool sparse = false;
  /// Between heartbeats of the server. Silence of twice as long means that the consumer is dead. At least 100
  /// ms.
  std::chrono::milliseconds heartbeat{1000};
};

struct Delivery {
  Message message;
  std::uint64_t sequence = 0;  ///< in the stream
  ServerTime time{};           ///< when the server stored it
  std::uint64_t pending = 0;   ///< matching messages that follow, as of the delivery
};

/// Ends when destroyed. Not thread-safe.
class OrderedConsumer {
 public:
  /// Errors: not_found (no such stream), unavailable, deadline_exceeded, cancelled.
  [[nodiscard]] static Result<OrderedConsumer> create(const Context& context, JetStream jetstream,
                                                      OrderedConsumerOptions options);

  OrderedConsumer(OrderedConsumer&&) noexcept;
  OrderedConsumer& operator=(OrderedConsumer&&) noexcept;
  ~OrderedConsumer();

  /// Waits for the next message; makes the consumer anew as often as needed, for as long as the Context
  /// allows. Errors: cancelled, deadline_exceeded (call again to go on), not_found (the stream was deleted),
  /// gap (the stream was made anew or lost messages that had been delivered); after the last two every call
  /// says the same.
  [[nodiscard]] Result<Delivery> next(const Context& context);

  /// Messages that were there to be read when the consumer was first made: the size of the initial state.
  [[nodiscard]] std::uint64_t initial_pending() const;
  /// Sequence of the last message that next() returned; 0 before the first.
  [[nodiscard]] std::uint64_t last_sequence() const;
  /// False while nothing is heard from the server: what next() returned may then be out of date.
  [[nodiscard]] bool live() const;
  /// How often the consumer had to be made anew.
  [[nodiscard]] std::uint64_t restarts() const;

 private:
  class Impl;
  explicit OrderedConsumer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace litecluster::nats
