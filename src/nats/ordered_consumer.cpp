#include "nats/ordered_consumer.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/backoff.hpp"
#include "base/logging.hpp"
#include "base/random.hpp"
#include "nats/jetstream_json.hpp"
#include "nats/ordered_tracker.hpp"

namespace litecluster::nats {
namespace {

constexpr std::string_view operation = "read stream";

// A server that has just become leader of a stream can be behind for a moment; on a cluster, what looks like
// a lost history has to look so for this long before it is believed. The time adds up over calls, each of
// which may be shorter.
constexpr std::chrono::seconds disbelief{5};

// Above the server's own window of flow control (32 MiB), so that the queue never overflows by itself.
constexpr std::size_t queue_bytes_max = std::size_t{96} << 20U;
constexpr std::size_t queue_messages_max = 2'000'000;

constexpr std::chrono::milliseconds pause_after_failure{100};

std::string explain(History history, const StreamInfo& info) {
  switch (history) {
    case History::another:
      return "the stream was deleted and made anew; what was read belongs to another history";
    case History::rewritten:
      return "another message has taken the place of the last one that was read: the stream lost messages or "
             "was restored from an older state, and went on";
    default:
      return fmt::format(
          "the stream ends at sequence {}, before what was read already: it lost messages or was "
          "restored from an older state",
          info.last_sequence);
  }
}

bool has_wildcard(std::string_view filter) {
  return filter.empty() || filter.find_first_of("*>") != std::string_view::npos;
}

bool may_pass(const Error& error) {
  return error.code() == ErrorCode::unavailable || error.code() == ErrorCode::resource_exhausted ||
         error.code() == ErrorCode::internal;
}

}  // namespace

class OrderedConsumer::Impl {
 public:
  Impl(JetStream jetstream, OrderedConsumerOptions options)
      : jetstream_(std::move(jetstream)), options_(std::move(options)), tracker_(options_.start) {
    options_.heartbeat = std::max(options_.heartbeat, std::chrono::milliseconds(100));
  }
  ~Impl() { drop(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Status establish(const Context& context);
  Result<Delivery> next(const Context& context);

  std::uint64_t initial_pending() const { return initial_pending_; }
  std::uint64_t last_sequence() const { return tracker_.last_sequence(); }
  std::uint64_t restarts() const { return restarts_; }
  bool live() const {
    return subscription_ && jetstream_.connection().state() == ConnectionState::connected &&
           std::chrono::steady_clock::now() - subscription_->last_arrival() < 2 * options_.heartbeat;
  }

 private:
  Status establish_persistently(const Context& context);
  // What the stream says about the history that is being read.
  struct Look {
    std::optional<Error> problem;
    bool believed = false;  // at once
  };
  Result<Look> look_at_history(const Context& context);
  Status check_history(const Context& context);
  Result<History> compare_history(const Context& context, const StreamInfo& info);
  Result<std::optional<Message>> receive(const Context& context);
  std::optional<Result<Delivery>> take(const Context& context, Message message);
  Result<bool> is_next(const Context& context, Message& message, const DeliveryPosition& position);
  void take_control(const Context& context, const Message& message);
  bool answer_control(const Message& message);
  Result<bool> passed_over(const Context& context, std::uint64_t before);
  void drop();

  JetStream jetstream_;
  OrderedConsumerOptions options_;
  OrderedTracker tracker_;
  std::optional<Subscription> subscription_;  // none: a consumer has to be made
  std::string consumer_;
  std::uint64_t initial_pending_ = 0;
  std::uint64_t restarts_ = 0;
  bool made_once_ = false;
  bool may_skip_ = true;         // the server is perhaps one that moves consumers over messages
  std::optional<Message> held_;  // taken from the subscription and not delivered yet
  std::optional<std::uint64_t> restarted_behind_;
  std::optional<std::chrono::steady_clock::time_point> doubted_since_;  // the history looks lost
  std::optional<Error> final_;
};

void OrderedConsumer::Impl::drop() {
  subscription_.reset();
  if (consumer_.empty()) return;
  // Nobody waits for the answer: without interest the server removes it by itself after a few seconds.
  const std::string& domain = jetstream_.connection().options().domain;
  static_cast<void>(jetstream_.connection().publish(
      fmt::format("$JS.{}API.CONSUMER.DELETE.{}.{}", domain.empty() ? "" : domain + ".", options_.stream,
                  consumer_),
      {}));
  consumer_.clear();
}

// What is known of the stream, in the light of what it says now and of the last message that was read.
Result<History> OrderedConsumer::Impl::compare_history(const Context& context, const StreamInfo& info) {
  const History history = tracker_.check(info);
  if (history != History::same || tracker_.last_sequence() == 0) return history;
  const auto last = jetstream_.message_at(context, options_.stream, tracker_.last_sequence(),
                                          /*from_leader=*/true);
  const bool tells_nothing = !last && (last.error().code() == ErrorCode::not_found ||
                                       last.error().code() == ErrorCode::permission_denied);
  if (!last && !tells_nothing) return std::unexpected(last.error());
  return last && tracker_.was_rewritten(last->time) ? History::rewritten : History::same;
}

// Errors of code gap and not_found are final.
Status OrderedConsumer::Impl::check_history(const Context& context) {
  while (true) {
    auto look = look_at_history(context);
    if (!look) {
      // No answer of the stream's leader: whoever is it next may be the one that is behind. But when only the
      // caller's patience is at its end, the next call goes on.
      if (!context.done()) doubted_since_.reset();
      return std::unexpected(look.error());
    }
    if (!look->problem) {
      doubted_since_.reset();
      return {};
    }
    const auto now = std::chrono::steady_clock::now();
    if (!doubted_since_) doubted_since_ = now;
    if (look->believed || now - *doubted_since_ > disbelief) return std::unexpected(*look->problem);
    if (context.wait_for(std::chrono::milliseconds(200))) return context.status(operation);
  }
}

// Asks once. An Error: nobody answered who knows.
Result<OrderedConsumer::Impl::Look> OrderedConsumer::Impl::look_at_history(const Context& context) {
  const auto info = jetstream_.stream_info_of_leader(context, options_.stream);
  if (!info) {
    if (info.error().code() != ErrorCode::not_found) return std::unexpected(info.error());
    return Look{Error(ErrorCode::not_found, std::string(operation), options_.stream, info.error().reason()),
                !made_once_};
  }
  const auto history = compare_history(context, *info);
  if (!history) return std::unexpected(history.error());
  if (*history == History::same) return Look{};
  return Look{Error(ErrorCode::gap, std::string(operation), options_.stream, explain(*history, *info)),
              info->cluster.empty()};
}

Status OrderedConsumer::Impl::establish(const Context& context) {
  drop();
  if (auto status = check_history(context); !status) return status;
  SubscriptionOptions queue;
  queue.bytes_max = queue_bytes_max;
  queue.messages_max = queue_messages_max;
  const std::string inbox = jetstream_.connection().new_inbox();
  auto subscription = jetstream_.connection().subscribe(inbox, queue);
  if (!subscription) return std::unexpected(subscription.error());
  auto answer =
      jetstream_.api_request(context, "CONSUMER.CREATE." + options_.stream,
                             consumer_create_json(options_, tracker_.resume(), inbox), options_.stream);
  if (!answer && made_once_ && answer.error().code() == ErrorCode::not_found) {
    // Another server says so than the stream's leader, who was asked a moment ago and is asked again.
    return failure(ErrorCode::unavailable, std::string(operation), options_.stream, answer.error().reason());
  }
  if (!answer) return std::unexpected(answer.error());
  const auto info = parse_consumer_info(*answer);
  if (!info)
    return failure(ErrorCode::corrupt, std::string(operation), options_.stream, "the answer is unreadable");
  consumer_ = info->name;
  may_skip_ = !info->is_recent && has_wildcard(options_.filter);
  if (may_skip_ && std::holds_alternative<StartLastPerSubject>(tracker_.resume())) {
    // What was written between the look at the stream and this leaves out what it replaced, too.
    const auto now = jetstream_.stream_info(context, options_.stream);
    if (!now) return std::unexpected(now.error());
    static_cast<void>(tracker_.check(*now));
  }
  subscription_.emplace(std::move(*subscription));
  tracker_.consumer_made();
  if (!made_once_) initial_pending_ = info->pending;
  if (made_once_) ++restarts_;
  made_once_ = true;
  return {};
}

Status OrderedConsumer::Impl::establish_persistently(const Context& context) {
  base::Backoff backoff(std::chrono::milliseconds(20), std::chrono::seconds(1));
  while (true) {
    if (jetstream_.connection().state() != ConnectionState::connected) doubted_since_.reset();
    if (auto status = jetstream_.connection().wait_connected(context); !status) return status;
    auto status = establish(context);
    if (status) return status;
    if (!may_pass(status.error())) {
      if (status.error().code() == ErrorCode::gap || status.error().code() == ErrorCode::not_found) {
        final_ = status.error();
      }
      return status;
    }
    base::log_debug("cannot make a consumer yet",
                    {{"stream", options_.stream}, {"error", status.error().message()}});
    if (context.wait_for(backoff.next(base::random_u64()))) return context.status(operation);
  }
}

// A message; nothing when the consumer has to be made anew; an Error that ends next().
Result<std::optional<Message>> OrderedConsumer::Impl::receive(const Context& context) {
  const auto translate = [](Result<Message> message) -> Result<std::optional<Message>> {
    if (message) return std::optional<Message>(std::move(*message));
    // An interruption or an overflow; or the server's silence.
    if (message.error().code() == ErrorCode::gap || message.error().code() == ErrorCode::deadline_exceeded) {
      return std::nullopt;
    }
    return std::unexpected(message.error());
  };
  if (held_) return std::exchange(held_, std::nullopt);
  auto here = subscription_->poll();
  if (!here) return translate(std::unexpected(here.error()));
  if (*here) return here;
  const Context patience = context.with_deadline(subscription_->last_arrival() + 2 * options_.heartbeat);
  auto message = subscription_->next(patience);
  if (!message) {
    if (auto status = context.status(operation); !status) return std::unexpected(status.error());
    if (message.error().code() == ErrorCode::deadline_exceeded) {
      base::log_debug("no heartbeat from the stream", {{"stream", options_.stream}});
    }
  }
  return translate(std::move(message));
}

// False: something is missing.
bool OrderedConsumer::Impl::answer_control(const Message& message) {
  Connection& connection = jetstream_.connection();
  if (!message.reply().empty()) {  // flow control: everything before it has been taken by now
    static_cast<void>(connection.publish(message.reply(), {}));
    return true;
  }
  if (const auto stalled = message.header("Nats-Consumer-Stalled")) {
    static_cast<void>(connection.publish(*stalled, {}));
  }
  const auto last = message.header_number("Nats-Last-Consumer");
  return !last || tracker_.heartbeat(*last);
}

// Whether a message that had to come before `before` was left out.
Result<bool> OrderedConsumer::Impl::passed_over(const Context& context, std::uint64_t before) {
  const auto first = tracker_.unread_before(before);
  if (!may_skip_ || !first) return false;
  const auto there = jetstream_.next_message(context, options_.stream, options_.filter, *first);
  if (!there && there.error().code() != ErrorCode::not_found) return std::unexpected(there.error());
  if (there && there->sequence < before) {
    base::log_debug("the server passed over a message",
                    {{"stream", options_.stream}, {"sequence", there->sequence}});
    return true;
  }
  tracker_.nothing_before(before);
  return false;
}

void OrderedConsumer::Impl::take_control(const Context& context, const Message& message) {
  if (!answer_control(message)) {
    subscription_.reset();
    return;
  }
  const auto sent = message.header_number("Nats-Last-Stream");
  if (!sent) return;
  // When asking fails, the next heartbeat asks again; messages must not wait for it.
  const auto passed = passed_over(context.with_timeout(options_.heartbeat), *sent + 1);
  if (passed && *passed) subscription_.reset();
}

// Whether the message is to be delivered now. Not so: the consumer has to be made anew, after which it comes
// again; or, with an Error, it is `held_` for the next call.
Result<bool> OrderedConsumer::Impl::is_next(const Context& context, Message& message,
                                            const DeliveryPosition& position) {
  if (options_.sparse && !message.header(rollup_header)) return true;
  const auto passed = passed_over(context, position.stream_sequence);
  if (passed && !*passed) return true;
  if (!passed && context.done()) {
    held_ = std::move(message);
    return std::unexpected(passed.error());
  }
  const bool again = std::exchange(restarted_behind_, tracker_.last_sequence()) == tracker_.last_sequence();
  subscription_.reset();
  if (!passed && !may_pass(passed.error())) return std::unexpected(passed.error());
  if (!passed || again) static_cast<void>(context.wait_for(pause_after_failure));
  return false;
}

// Nothing: go on receiving.
std::optional<Result<Delivery>> OrderedConsumer::Impl::take(const Context& context, Message message) {
  const int status = message.status();
  if (status == 100) {
    take_control(context, message);
    return std::nullopt;
  }
  const auto position = parse_delivery_position(message.reply());
  if (status != 0 || !position || !tracker_.follows(*position)) {
    subscription_.reset();
    return std::nullopt;
  }
  const auto deliver = is_next(context, message, *position);
  if (!deliver) return std::unexpected(deliver.error());
  if (!*deliver) return std::nullopt;
  static_cast<void>(tracker_.accept(*position));
  return Delivery{std::move(message), position->stream_sequence, position->time, position->pending};
}

Result<Delivery> OrderedConsumer::Impl::next(const Context& context) {
  while (true) {
    if (final_) return std::unexpected(*final_);
    if (!subscription_) {
      held_.reset();
      if (auto status = establish_persistently(context); !status) return std::unexpected(status.error());
    }
    auto received = receive(context);
    if (!received) return std::unexpected(received.error());
    if (!*received) {
      subscription_.reset();
      continue;
    }
    if (auto delivery = take(context, std::move(**received))) return std::move(*delivery);
  }
}

OrderedConsumer::OrderedConsumer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
OrderedConsumer::OrderedConsumer(OrderedConsumer&&) noexcept = default;
OrderedConsumer& OrderedConsumer::operator=(OrderedConsumer&&) noexcept = default;
OrderedConsumer::~OrderedConsumer() = default;

Result<OrderedConsumer> OrderedConsumer::create(const Context& context, JetStream jetstream,
                                                OrderedConsumerOptions options) {
  auto impl = std::make_unique<Impl>(std::move(jetstream), std::move(options));
  if (auto status = impl->establish(context); !status) return std::unexpected(status.error());
  return OrderedConsumer(std::move(impl));
}

Result<Delivery> OrderedConsumer::next(const Context& context) {
  return impl_->next(context);
}

std::uint64_t OrderedConsumer::initial_pending() const {
  return impl_->initial_pending();
}

std::uint64_t OrderedConsumer::last_sequence() const {
  return impl_->last_sequence();
}

bool OrderedConsumer::live() const {
  return impl_->live();
}

std::uint64_t OrderedConsumer::restarts() const {
  return impl_->restarts();
}

}  // namespace litecluster::nats
