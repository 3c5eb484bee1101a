#include "nats/connection_core.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/backoff.hpp"
#include "base/logging.hpp"
#include "base/random.hpp"
#include "nats/nats_error.hpp"
#include "nats/server_probe.hpp"

namespace litecluster::nats {
namespace {

// ---- message callbacks: the closure owns what it refers to and is freed by the library's "complete"
// callback ----

template <typename Target>
struct Closure {
  std::shared_ptr<Target> target;
};

void deliver_reply(natsConnection* /*connection*/, natsSubscription* /*subscription*/, natsMsg* message,
                   void* closure) {
  static_cast<Closure<ReplyTable>*>(closure)->target->deliver(Message(message));
}

void deliver_message(natsConnection* /*connection*/, natsSubscription* /*subscription*/, natsMsg* message,
                     void* closure) {
  static_cast<Closure<SubscriptionQueue>*>(closure)->target->push(Message(message));
}

template <typename Target>
void release_closure(void* closure) {
  delete static_cast<Closure<Target>*>(closure);
}

template <typename Target>
Result<native::OwnedSubscription> native_subscribe_with(natsConnection* connection,
                                                        const std::string& subject,
                                                        const std::string& queue_group,
                                                        natsMsgHandler handler,
                                                        std::shared_ptr<Target> target) {
  auto closure = std::make_unique<Closure<Target>>(std::move(target));
  natsSubscription* created = nullptr;
  natsStatus status =
      queue_group.empty()
          ? natsConnection_Subscribe(&created, connection, subject.c_str(), handler, closure.get())
          : natsConnection_QueueSubscribe(&created, connection, subject.c_str(), queue_group.c_str(), handler,
                                          closure.get());
  if (status != NATS_OK) return std::unexpected(native_error(status, "subscribe", subject));
  native::OwnedSubscription subscription(created);
  // From here on the delivery thread may be using the closure: only the library can say when it is done. When
  // the subscription was ended between the two calls it will not say so, and the closure stays allocated.
  Closure<Target>* const raw = closure.release();
  status = natsSubscription_SetOnCompleteCB(created, release_closure<Target>, raw);
  if (status != NATS_OK) return std::unexpected(native_error(status, "subscribe", subject));
  // The limits are those of our own queue; the handler never blocks.
  natsSubscription_SetPendingLimits(created, -1, -1);
  return subscription;
}

bool valid_subject(std::string_view subject) {
  return !subject.empty() && std::ranges::all_of(subject, [](char c) {
    return static_cast<unsigned char>(c) > ' ' && c != '\x7f';
  });
}

Status check_subject(std::string_view operation, std::string_view subject) {
  if (valid_subject(subject)) return {};
  return failure(ErrorCode::invalid_argument, std::string(operation), std::string(subject),
                 "a subject has no spaces or control characters and is not empty");
}

Result<native::OwnedMessage> make_message(const std::string& subject, const std::string& reply,
                                          base::ByteView data, const Headers& headers) {
  natsMsg* created = nullptr;
  natsStatus status =
      natsMsg_Create(&created, subject.c_str(), reply.empty() ? nullptr : reply.c_str(),
                     reinterpret_cast<const char*>(data.data()), static_cast<int>(data.size()));
  native::OwnedMessage message(created);
  for (const Header& header : headers) {
    if (status != NATS_OK) break;
    if (header.name.empty() || header.name.find_first_of(": \r\n") != std::string::npos ||
        header.value.find_first_of("\r\n") != std::string::npos) {
      return failure(ErrorCode::invalid_argument, "publish", subject,
                     fmt::format("the header '{}' is not one line or has no proper name", header.name));
    }
    status = natsMsgHeader_Add(created, header.name.c_str(), header.value.c_str());
  }
  if (status != NATS_OK) return std::unexpected(native_error(status, "publish", subject));
  return message;
}

// The largest message that a 32-bit length of the client library can take.
constexpr std::size_t native_size_max = 0x7FFF'0000;

}  // namespace

ConnectionCore::ConnectionCore(NatsOptions options)
    : options_(std::move(options)),
      inbox_prefix_(fmt::format("_INBOX.{}.", base::random_hex(22))),
      state_(std::make_shared<SharedState>(std::make_shared<ReplyTable>())) {}

ConnectionCore::~ConnectionCore() {
  close();
}

Status ConnectionCore::connect_once() {
  const std::uint64_t session = register_session(state_);
  const auto give_up = [session](Error error) {
    unregister_session(session);
    return std::unexpected(std::move(error));
  };
  auto native_options = make_native_options(options_, session);
  if (!native_options) return give_up(std::move(native_options.error()));
  state_->expect(session);
  natsConnection* created = nullptr;
  const natsStatus status = natsConnection_Connect(&created, native_options->get());
  if (status != NATS_OK) {
    return give_up(native_error(status, "connect to NATS", servers_text(options_)));
  }
  auto adopted = adopt(native::SharedConnection(created, native::ConnectionDeleter()), session);
  if (!adopted) return give_up(std::move(adopted.error()));
  return {};
}

Status ConnectionCore::adopt(native::SharedConnection connection, std::uint64_t session) {
  native::SharedConnection old;
  native::OwnedSubscription old_replies;
  std::map<std::uint64_t, native::OwnedSubscription> old_subscriptions;
  std::vector<native::OwnedSubscription> ended;
  {
    const base::MutexLock lock(mutex_);
    if (closed_) return failure(ErrorCode::unavailable, "connect to NATS", {}, "the connection was closed");
    auto replies = native_subscribe_with(connection.get(), inbox_prefix_ + "*", {}, deliver_reply,
                                         state_->shared_replies());
    if (!replies) return std::unexpected(replies.error());
    std::map<std::uint64_t, native::OwnedSubscription> subscriptions;
    for (const auto& queue : state_->queues()) {
      auto subscription = native_subscribe(connection.get(), queue);
      if (!subscription) {
        natsConnection_Close(connection.get());
        return std::unexpected(subscription.error());
      }
      subscriptions.emplace(queue->id(), std::move(*subscription));
    }
    old = std::exchange(native_, std::move(connection));
    old_replies = std::exchange(replies_, std::move(*replies));
    old_subscriptions = std::exchange(subscriptions_, std::move(subscriptions));
    ended.swap(ended_);
    sessions_.push_back(session);
    state_->on_connected();
  }
  // Joins the library's threads; then the subscriptions may go.
  if (old) natsConnection_Close(old.get());
  return {};
}

Result<native::OwnedSubscription> ConnectionCore::native_subscribe(
    natsConnection* connection, const std::shared_ptr<SubscriptionQueue>& queue) {
  return native_subscribe_with(connection, queue->subject(), queue->options().queue_group, deliver_message,
                               queue);
}

native::SharedConnection ConnectionCore::native() const {
  const base::MutexLock lock(mutex_);
  return native_;
}

Result<native::SharedConnection> ConnectionCore::usable(std::string_view operation,
                                                        std::string_view subject) const {
  if (state_->state() == ConnectionState::connected) {
    if (auto connection = native()) return connection;
  }
  const bool closed = state_->state() == ConnectionState::closed;
  std::string reason = closed ? "the connection was closed" : "there is no connection to a server now";
  if (const std::string problem = state_->last_problem(); !problem.empty()) reason += " (" + problem + ")";
  return failure(ErrorCode::unavailable, std::string(operation), std::string(subject), std::move(reason));
}

Status ConnectionCore::publish(std::string_view subject, base::ByteView data, const Headers& headers,
                               std::string_view reply) {
  if (auto status = check_subject("publish", subject); !status) return status;
  if (data.size() > native_size_max) {
    return failure(ErrorCode::too_large, "publish", std::string(subject), "the message is larger than 2 GiB");
  }
  auto connection = usable("publish", subject);
  if (!connection) return std::unexpected(connection.error());
  const std::string subject_text(subject);
  const std::string reply_text(reply);
  natsStatus status = NATS_OK;
  if (!headers.empty()) {
    auto message = make_message(subject_text, reply_text, data, headers);
    if (!message) return std::unexpected(message.error());
    status = natsConnection_PublishMsg(connection->get(), message->get());
  } else if (reply.empty()) {
    status = natsConnection_Publish(connection->get(), subject_text.c_str(), data.data(),
                                    static_cast<int>(data.size()));
  } else {
    status = natsConnection_PublishRequest(connection->get(), subject_text.c_str(), reply_text.c_str(),
                                           data.data(), static_cast<int>(data.size()));
  }
  if (status != NATS_OK) return std::unexpected(native_error(status, "publish", subject_text));
  return {};
}

Result<PendingReply> ConnectionCore::send_request(std::string_view subject, base::ByteView data,
                                                  const Headers& headers) {
  const auto deadline = std::chrono::steady_clock::now() + options_.request_timeout;
  auto slot = state_->replies().add(std::string(subject), deadline);
  PendingReply pending(state_->shared_replies(), slot);
  const std::string reply = inbox_prefix_ + ReplyTable::token(slot->id());
  if (auto status = publish(subject, data, headers, reply); !status) return std::unexpected(status.error());
  return pending;
}

Result<Subscription> ConnectionCore::subscribe(std::string_view subject, const SubscriptionOptions& options) {
  if (auto status = check_subject("subscribe", subject); !status) return std::unexpected(status.error());
  auto queue = std::make_shared<SubscriptionQueue>(next_queue_id_++, std::string(subject), options);
  const base::MutexLock lock(mutex_);
  if (closed_)
    return failure(ErrorCode::unavailable, "subscribe", std::string(subject), "the connection was closed");
  if (native_) {
    auto subscription = native_subscribe(native_.get(), queue);
    if (subscription) {
      subscriptions_.emplace(queue->id(), std::move(*subscription));
    } else if (!natsConnection_IsClosed(native_.get())) {
      return std::unexpected(subscription.error());
    }
  }
  // Without a native connection, or with one that has been given up, the keeper subscribes once it has a new
  // one.
  state_->add_queue(queue);
  return Subscription(weak_from_this(), std::move(queue));
}

void ConnectionCore::unsubscribe(std::uint64_t id) {
  state_->remove_queue(id);
  {
    const base::MutexLock lock(mutex_);
    const auto found = subscriptions_.find(id);
    if (found == subscriptions_.end()) return;
    natsSubscription_Unsubscribe(found->second.get());
    ended_.push_back(std::move(found->second));
    subscriptions_.erase(found);
  }
  state_->want_reaping(std::chrono::milliseconds(0));
}

// Frees subscriptions that have ended: see the head of the header.
void ConnectionCore::reap() {
  constexpr std::chrono::milliseconds patience{500};
  std::vector<native::OwnedSubscription> ended;
  native::SharedConnection connection;
  {
    const base::MutexLock lock(mutex_);
    ended.swap(ended_);
    connection = native_;
  }
  if (ended.empty() || !connection) return;
  if (state_->state() == ConnectionState::connected &&
      natsConnection_FlushTimeout(connection.get(), patience.count()) == NATS_OK) {
    return;
  }
  const base::MutexLock lock(mutex_);
  for (auto& subscription : ended) ended_.push_back(std::move(subscription));
  state_->want_reaping(patience);
}

Status ConnectionCore::flush(const Context& context) {
  auto connection = usable("flush", {});
  if (!connection) return std::unexpected(connection.error());
  // Each attempt sends a ping and waits for its own answer, so the slices grow: the first keep cancelling
  // quick, the later ones allow for a slow network.
  const Context limited = context.with_timeout(options_.request_timeout);
  std::chrono::milliseconds slice{100};
  while (true) {
    if (auto status = context.status("flush"); !status) return status;
    const auto left = limited.remaining(options_.request_timeout);
    const auto wait = std::clamp(std::chrono::duration_cast<std::chrono::milliseconds>(left),
                                 std::chrono::milliseconds(1), slice);
    const natsStatus status = natsConnection_FlushTimeout(connection->get(), wait.count());
    if (status == NATS_OK) return {};
    if (status != NATS_TIMEOUT || limited.done()) {
      if (auto done = context.status("flush"); !done) return done;
      return std::unexpected(native_error(status, "flush", {}));
    }
    slice *= 3;
  }
}

std::string ConnectionCore::connected_url() const {
  const auto connection = native();
  if (!connection) return {};
  std::string url(1024, '\0');
  if (natsConnection_GetConnectedUrl(connection.get(), url.data(), url.size()) != NATS_OK) return {};
  url.resize(url.find('\0'));
  return without_credentials(url);
}

std::size_t ConnectionCore::max_payload() const {
  const auto connection = native();
  if (!connection) return 0;
  return static_cast<std::size_t>(std::max<std::int64_t>(0, natsConnection_GetMaxPayload(connection.get())));
}

Connection::Observer ConnectionCore::observe(std::function<void(ConnectionState)> callback) {
  auto entry = std::make_shared<Connection::Observer::Entry>();
  entry->known = state_->changes();
  {
    const base::MutexLock lock(entry->running);
    entry->callback = std::move(callback);
  }
  const base::MutexLock lock(mutex_);
  std::erase_if(observers_, [](const auto& weak) { return weak.expired(); });
  observers_.push_back(entry);
  return Connection::Observer(std::move(entry));
}

void ConnectionCore::start_keeper(bool connected) {
  if (!connected) state_->on_given_up(0, state_->last_problem());
  keeper_ = std::thread([this] { keep(); });
}

void ConnectionCore::keep() {
  while (true) {
    const SharedState::Work work = state_->wait_work();
    if (work.state) {
      tell(*work.state, work.number);
    } else if (work.rebuild) {
      rebuild();
    } else if (work.reap) {
      reap();
    } else if (work.closed) {
      return;
    }
  }
}

void ConnectionCore::tell(ConnectionState state, std::uint64_t number) {
  std::vector<std::shared_ptr<Connection::Observer::Entry>> entries;
  {
    const base::MutexLock lock(mutex_);
    for (const auto& weak : observers_) {
      if (auto entry = weak.lock(); entry && entry->known < number) entries.push_back(std::move(entry));
    }
  }
  for (const auto& entry : entries) {
    const base::MutexLock lock(entry->running);
    if (entry->callback) entry->callback(state);
  }
}

// Runs until connected or closing; tells observers nothing meanwhile, since the state stays `reconnecting`.
void ConnectionCore::rebuild() {
  base::Backoff backoff(options_.reconnect_wait, options_.reconnect_wait_max);
  while (state_->state() != ConnectionState::closed) {
    const Status status = connect_once();
    if (status) return;
    state_->set_problem(status.error().reason());
    base::log_debug("cannot connect to NATS", {{"error", status.error().message()}});
    if (closing_.wait_for(backoff.next(base::random_u64()))) return;
  }
}

void ConnectionCore::close() {
  std::vector<std::uint64_t> sessions;
  {
    const base::MutexLock lock(mutex_);
    if (closed_) return;
    closed_ = true;
  }
  closing_.cancel();
  state_->close();
  if (keeper_.joinable()) keeper_.join();
  native::SharedConnection old;
  native::OwnedSubscription old_replies;
  std::map<std::uint64_t, native::OwnedSubscription> old_subscriptions;
  std::vector<native::OwnedSubscription> ended;
  {
    const base::MutexLock lock(mutex_);
    old = std::exchange(native_, nullptr);
    old_replies = std::move(replies_);
    old_subscriptions.swap(subscriptions_);
    ended.swap(ended_);
    sessions.swap(sessions_);
  }
  // Joins the library's threads; then the subscriptions may go.
  if (old) natsConnection_Close(old.get());
  for (const std::uint64_t session : sessions) unregister_session(session);
}

}  // namespace litecluster::nats
