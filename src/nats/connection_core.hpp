// What a Connection is made of.
//
// SharedState is what callbacks of the client library touch: they find it by a number in a global register,
// so that a callback that comes late finds nothing instead of something destroyed. ConnectionCore owns the
// library's connection and a thread, the keeper. The library reconnects by itself as long as it can; where it
// gives up for good (the same authorisation error twice, a fatal protocol error) the keeper makes a new
// connection, so that from outside there is only one, which never ends.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/nats_options.hpp>

#include "base/mutex.hpp"
#include "nats/connection.hpp"
#include "nats/native.hpp"
#include "nats/reply_table.hpp"
#include "nats/subscription_queue.hpp"

namespace litecluster::nats {

struct Connection::Observer::Entry {
  /// Changes up to this number happened before the observer was there.
  std::uint64_t known = 0;
  base::Mutex running;
  std::function<void(ConnectionState)> callback LITECLUSTER_GUARDED_BY(running);
};

/// Thread-safe. See the head of the file.
class SharedState {
 public:
  explicit SharedState(std::shared_ptr<ReplyTable> replies) : replies_(std::move(replies)) {}

  // What the client library reports about the connection numbered `session`.
  void on_disconnected(std::uint64_t session, const std::string& reason);
  void on_reconnected(std::uint64_t session);
  void on_given_up(std::uint64_t session, const std::string& reason);
  void on_problem(std::uint64_t session, int status, const std::string& text);

  /// An attempt to connect begins; from now on only callbacks with this number count.
  void expect(std::uint64_t session);
  /// The attempt succeeded.
  void on_connected();
  void close();

  [[nodiscard]] ConnectionState state() const { return state_.load(std::memory_order_acquire); }
  [[nodiscard]] std::uint64_t generation() const { return generation_.load(std::memory_order_acquire); }
  [[nodiscard]] std::string last_problem() const;
  void set_problem(std::string text);
  [[nodiscard]] Status wait_connected(const Context& context);

  void add_queue(const std::shared_ptr<SubscriptionQueue>& queue);
  void remove_queue(std::uint64_t id);
  [[nodiscard]] std::vector<std::shared_ptr<SubscriptionQueue>> queues() const;

  struct Work {
    std::optional<ConnectionState> state;  ///< to be told to observers
    std::uint64_t number = 0;              ///< of this change of state
    bool rebuild = false;                  ///< the library gave up
    bool reap = false;                     ///< subscriptions have ended
    bool closed = false;
  };
  /// Waits for something to do: for the keeper.
  [[nodiscard]] Work wait_work();
  /// Makes wait_work() ask for a reaping, after `delay`.
  void want_reaping(std::chrono::milliseconds delay);
  /// Number of the last change of state.
  [[nodiscard]] std::uint64_t changes() const;

  [[nodiscard]] ReplyTable& replies() const { return *replies_; }
  [[nodiscard]] const std::shared_ptr<ReplyTable>& shared_replies() const { return replies_; }

 private:
  void interrupt_locked(const std::string& reason) LITECLUSTER_REQUIRES(mutex_);
  void change_locked(ConnectionState state) LITECLUSTER_REQUIRES(mutex_);

  const std::shared_ptr<ReplyTable> replies_;
  mutable base::Mutex mutex_;
  base::ConditionVariable changed_;
  std::atomic<ConnectionState> state_{ConnectionState::reconnecting};
  std::atomic<std::uint64_t> generation_{0};
  std::uint64_t session_ LITECLUSTER_GUARDED_BY(mutex_) = 0;
  /// A callback of this session has changed the state already.
  bool heard_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  bool rebuild_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  std::optional<std::chrono::steady_clock::time_point> reap_at_ LITECLUSTER_GUARDED_BY(mutex_);
  std::deque<ConnectionState> untold_ LITECLUSTER_GUARDED_BY(mutex_);
  std::uint64_t changes_ LITECLUSTER_GUARDED_BY(mutex_) = 0;
  std::string problem_ LITECLUSTER_GUARDED_BY(mutex_);
  std::map<std::uint64_t, std::shared_ptr<SubscriptionQueue>> queues_ LITECLUSTER_GUARDED_BY(mutex_);
};

class ConnectionCore : public std::enable_shared_from_this<ConnectionCore> {
 public:
  explicit ConnectionCore(NatsOptions options);
  ~ConnectionCore();
  ConnectionCore(const ConnectionCore&) = delete;
  ConnectionCore& operator=(const ConnectionCore&) = delete;

  /// One attempt over all URLs.
  [[nodiscard]] Status connect_once();
  void start_keeper(bool connected);
  /// Ends everything and waits for the callbacks that are running. Twice is the same as once.
  void close();

  [[nodiscard]] Status publish(std::string_view subject, base::ByteView data, const Headers& headers,
                               std::string_view reply);
  [[nodiscard]] Result<PendingReply> send_request(std::string_view subject, base::ByteView data,
                                                  const Headers& headers);
  [[nodiscard]] Result<Subscription> subscribe(std::string_view subject, const SubscriptionOptions& options);
  void unsubscribe(std::uint64_t id);
  [[nodiscard]] Status flush(const Context& context);
  /// Without credentials. Empty while there is no connection.
  [[nodiscard]] std::string connected_url() const;
  [[nodiscard]] std::size_t max_payload() const;
  [[nodiscard]] Connection::Observer observe(std::function<void(ConnectionState)> callback);

  [[nodiscard]] SharedState& state() const { return *state_; }
  [[nodiscard]] const NatsOptions& options() const { return options_; }

 private:
  [[nodiscard]] native::SharedConnection native() const;
  /// The native connection when there is a server now; an Error otherwise.
  [[nodiscard]] Result<native::SharedConnection> usable(std::string_view operation,
                                                        std::string_view subject) const;
  [[nodiscard]] Result<native::OwnedSubscription> native_subscribe(
      natsConnection* connection, const std::shared_ptr<SubscriptionQueue>& queue);
  [[nodiscard]] Status subscribe_replies(natsConnection* connection);
  [[nodiscard]] Status adopt(native::SharedConnection connection, std::uint64_t session);
  void keep();
  void rebuild();
  void reap();
  void tell(ConnectionState state, std::uint64_t number);

  const NatsOptions options_;
  const std::string inbox_prefix_;  // "_INBOX.<random>."
  const std::shared_ptr<SharedState> state_;
  std::atomic<std::uint64_t> next_queue_id_{1};
  mutable base::Mutex mutex_;
  native::SharedConnection native_ LITECLUSTER_GUARDED_BY(mutex_);
  native::OwnedSubscription replies_ LITECLUSTER_GUARDED_BY(mutex_);
  std::map<std::uint64_t, native::OwnedSubscription> subscriptions_ LITECLUSTER_GUARDED_BY(mutex_);
  std::vector<native::OwnedSubscription> ended_ LITECLUSTER_GUARDED_BY(mutex_);
  std::vector<std::weak_ptr<Connection::Observer::Entry>> observers_ LITECLUSTER_GUARDED_BY(mutex_);
  bool closed_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  std::vector<std::uint64_t> sessions_ LITECLUSTER_GUARDED_BY(mutex_);
  Context closing_ = Context::background();
  std::thread keeper_;
};

/// The servers for messages: all of them, without user, password and token.
[[nodiscard]] std::string servers_text(const NatsOptions& options);

/// The library's options from ours; `session` is what its callbacks will be called with.
[[nodiscard]] Result<native::Options> make_native_options(const NatsOptions& options, std::uint64_t session);

/// Numbers that callbacks carry instead of pointers.
[[nodiscard]] std::uint64_t register_session(std::weak_ptr<SharedState> state);
/// Afterwards no callback with this number runs or will run.
void unregister_session(std::uint64_t session);

}  // namespace litecluster::nats
