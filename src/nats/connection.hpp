// A connection to NATS: publish, request and reply, subscribe.
//
// Reconnecting goes on for ever, with back-off and jitter, and nothing is buffered meanwhile: what is
// published while there is no server fails with `unavailable` and never surfaces later. Requests that wait
// for an answer when the connection breaks fail at once with `unavailable`: whether the server acted on them
// is unknown.
//
// Blocking and cancelling. Waits for answers and messages end at once when their Context is cancelled.
// Handing bytes to the kernel can block while the server does not read: for at most `write_timeout`, after
// which the connection counts as broken. While a connection is being re-established, calls fail without
// waiting for it.
//
// Lifetimes. Everything here is thread-safe. State observers run one at a time, in order, on a thread of the
// connection's own; they may call anything but must not destroy the connection. The destructor ends all
// subscriptions and requests (they report `unavailable`) and waits until no callback of the client library or
// of an observer is running; none runs afterwards. Subscriptions and pending replies may outlive the
// connection.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/nats_options.hpp>

#include "nats/message.hpp"
#include "nats/subscription.hpp"

namespace litecluster::nats {

/// Longest time that handing bytes to a server that does not read may take.
inline constexpr std::chrono::milliseconds write_timeout{2000};

enum class ConnectionState {
  connected,
  reconnecting,  ///< no server at the moment; attempts go on
  closed,        ///< the connection is being destroyed
};

/// What the server says about itself.
struct ServerInfo {
  std::string version;          ///< "2.9.10"
  std::string name;             ///< server name
  std::string id;               ///< server id; changes with each start
  std::string cluster;          ///< empty outside of a cluster
  std::size_t max_payload = 0;  ///< largest message in bytes, headers included
  bool jetstream = false;       ///< JetStream is enabled on this server
  bool headers = false;
};

class PendingReply;
class ConnectionCore;

class Connection {
 public:
  /// Connects to one of the servers, trying all of them in turn until options.connect_timeout or the
  /// Context's deadline; a refusal for credentials or TLS ends the attempt at once. Cancelling is noticed
  /// between attempts, each of which takes at most 2 s. Errors: invalid_argument (URLs, files),
  /// permission_denied (credentials), unavailable (no server answers).
  [[nodiscard]] static Result<std::shared_ptr<Connection>> connect(const Context& context,
                                                                   const NatsOptions& options);
  /// As connect(), but succeeds without a server when the options are fine: attempts then go on in the
  /// background, and the state is `reconnecting` until one succeeds.
  [[nodiscard]] static Result<std::shared_ptr<Connection>> connect_eventually(const NatsOptions& options);

  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Hands the message to the server without waiting for anything. Errors: unavailable (no server now),
  /// too_large (above max_payload), invalid_argument (subject).
  [[nodiscard]] Status publish(std::string_view subject, base::ByteView data, const Headers& headers = {},
                               std::string_view reply = {});

  /// Sends a request and waits for its answer for as long as the Context allows and at most
  /// options.request_timeout. Errors: as publish(), and: unavailable (nobody serves the subject, no answer in
  /// time, or the connection broke), deadline_exceeded, cancelled.
  [[nodiscard]] Result<Message> request(const Context& context, std::string_view subject, base::ByteView data,
                                        const Headers& headers = {});
  /// Sends a request; the answer is collected later. Any number may be under way.
  [[nodiscard]] Result<PendingReply> send_request(std::string_view subject, base::ByteView data,
                                                  const Headers& headers = {});

  /// Starts with what is published after the server has seen the subscription; flush() waits for that.
  /// Subscriptions survive reconnects.
  [[nodiscard]] Result<Subscription> subscribe(std::string_view subject,
                                               const SubscriptionOptions& options = {});

  /// Waits until the server has processed everything sent before: one round trip.
  [[nodiscard]] Status flush(const Context& context);

  /// A subject that nobody else uses.
  [[nodiscard]] std::string new_inbox() const;

  [[nodiscard]] ConnectionState state() const;
  /// Counts the connections made to a server so far; a change means that there was an interruption.
  [[nodiscard]] std::uint64_t generation() const;
  /// Waits until connected. Errors: cancelled, deadline_exceeded, unavailable (closed).
  [[nodiscard]] Status wait_connected(const Context& context) const;
  /// Why the last attempt to connect failed; empty when there is nothing to say.
  [[nodiscard]] std::string last_problem() const;
  /// Asks the server. Takes a short connection of its own.
  [[nodiscard]] Result<ServerInfo> server_info(const Context& context) const;
  /// Largest message of the server last connected to; 0 before the first.
  [[nodiscard]] std::size_t max_payload() const;
  [[nodiscard]] const NatsOptions& options() const;

  /// Unregisters the observer when destroyed, after waiting for a call that is running in another thread.
  class Observer {
   public:
    Observer() = default;
    Observer(Observer&&) noexcept = default;
    Observer& operator=(Observer&& other) noexcept;
    ~Observer();

   private:
    friend class Connection;
    friend class ConnectionCore;
    struct Entry;
    explicit Observer(std::shared_ptr<Entry> entry);
    std::shared_ptr<Entry> entry_;
  };
  /// `callback` is told each change of state from now on.
  [[nodiscard]] Observer observe(std::function<void(ConnectionState)> callback);

 private:
  explicit Connection(std::shared_ptr<ConnectionCore> core);
  std::shared_ptr<ConnectionCore> core_;
};

class ReplySlot;
class ReplyTable;

/// The answer to one request under way. Dropping it forgets the request. Not thread-safe.
class PendingReply {
 public:
  PendingReply(PendingReply&& other) noexcept;
  PendingReply& operator=(PendingReply&& other) noexcept;
  ~PendingReply();

  /// Waits as Connection::request() does; the time allowed began when the request was sent. Afterwards the
  /// object is empty.
  [[nodiscard]] Result<Message> wait(const Context& context);
  /// True when wait() would return without waiting.
  [[nodiscard]] bool ready() const;

 private:
  friend class ConnectionCore;
  PendingReply(std::shared_ptr<ReplyTable> table, std::shared_ptr<ReplySlot> slot);
  void forget();
  std::shared_ptr<ReplyTable> table_;
  std::shared_ptr<ReplySlot> slot_;
};

}  // namespace litecluster::nats
