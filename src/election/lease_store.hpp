// Drives the Elector over a KV bucket: watches the record, reads and writes it, keeps the time.
//
// Five threads, asleep nearly always: one watches, one reads, one writes (so that a hanging read never delays
// a renewal), one keeps the timer, one calls the listener. Every answer is handed to the elector in the
// thread that got it, so that a release seen by the watch becomes a bid without a detour.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "election/elector.hpp"
#include "nats/kv_bucket.hpp"

namespace litecluster::nats {
class Connection;
}

namespace litecluster::election {

using LeaseEvent =
    std::variant<BecameLeader, LeaseExtended, LostLeadership, Released, LeaderChanged, DuplicateNode>;

struct LeaseStoreOptions {
  ElectorConfig elector{};
  /// Called in order, from one thread. It should return within milliseconds: it holds back later events,
  /// though never a renewal or a deadline. It may call the LeaseStore, but must not destroy it.
  std::function<void(const LeaseEvent&)> listener{};
  /// The deadline in nanoseconds of boot time, for the guard's shared memory; written before the listener is
  /// told. 0 when the lease was given back; left as it is when it was lost. Must outlive the LeaseStore.
  std::atomic<std::int64_t>* shared_deadline = nullptr;
  std::string key = "leader";
};

/// Thread-safe.
class LeaseStore {
 public:
  /// Begins to watch; bids once set_eligible(true) was called. Needs no server to be there now. Error:
  /// invalid_argument (options.elector). `connection` is the one under `bucket`; its outages are noticed at
  /// once.
  [[nodiscard]] static Result<std::unique_ptr<LeaseStore>> start(nats::KeyValue bucket,
                                                                 std::shared_ptr<nats::Connection> connection,
                                                                 LeaseStoreOptions options);

  /// Stops the threads, at most one request timeout later. Does not give the lease back: call
  /// release_and_wait() before.
  ~LeaseStore();
  LeaseStore(const LeaseStore&) = delete;
  LeaseStore& operator=(const LeaseStore&) = delete;

  /// See the events of Elector.
  void set_eligible(bool eligible);
  void log_epoch_seen(Epoch epoch);
  void position_changed(Txid txid);
  void peer_seen(std::string_view node, Txid txid);
  void peer_left(std::string_view node);
  void release(ReleaseOrder order);
  /// release(), then waits until the record says so. Errors: cancelled, deadline_exceeded.
  [[nodiscard]] Status release_and_wait(const Context& context, ReleaseOrder order);

  /// True while this node is inside its deadline. Reads the clock; takes no lock and does no I/O.
  [[nodiscard]] bool leads() const;
  /// Of the running or last term of this node; 0 before the first.
  [[nodiscard]] Epoch epoch() const;
  [[nodiscard]] std::optional<LeaderInfo> leader() const;
  /// Why the bucket could not be watched, read or written last; empty when all is well.
  [[nodiscard]] std::string last_problem() const;

 private:
  class Impl;
  explicit LeaseStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace litecluster::election
