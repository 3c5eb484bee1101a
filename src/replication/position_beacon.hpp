// Tells everybody who listens what a standby has applied: core NATS, subject `<cluster>.position.<node>`,
// one JSON object a message:
//
//   {"node":"n1","txid":"000000000000002a","checksum":"…","epoch":3,"lag_txids":0,"lag_ms":0,"problem":null}
//
// `lag_txids` and `lag_ms` are null while they are unknown, `problem` is text while there is one. A change is
// sent at once, but not more than ten times a second; without a change it is repeated every few seconds. What
// cannot be sent is not kept: the next message says it all.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/lag.hpp>

#include "base/clock.hpp"
#include "base/mutex.hpp"
#include "db/replica.hpp"
#include "nats/connection.hpp"

namespace litecluster::replication {

struct StandbyReport {
  db::ReplicaPosition position{};
  Lag lag{};
  std::optional<Error> problem{};

  friend bool operator==(const StandbyReport&, const StandbyReport&) = default;
};

[[nodiscard]] std::string position_subject(std::string_view cluster, std::string_view node);
[[nodiscard]] std::string position_message(std::string_view node, const StandbyReport& report);

/// Thread-safe; no call blocks. Has a thread of its own.
class PositionBeacon {
 public:
  static constexpr base::Duration interval_min = std::chrono::milliseconds(100);
  static constexpr base::Duration interval_max = std::chrono::seconds(5);

  /// Error: invalid_argument when cluster or node cannot be part of a subject.
  [[nodiscard]] static Result<std::unique_ptr<PositionBeacon>> start(
      std::shared_ptr<nats::Connection> connection, const std::string& cluster, std::string node);
  PositionBeacon(const PositionBeacon&) = delete;
  PositionBeacon& operator=(const PositionBeacon&) = delete;
  ~PositionBeacon();

  /// A position further on than the last report.
  void moved(const db::ReplicaPosition& position);
  void report(const StandbyReport& report);

 private:
  PositionBeacon(std::shared_ptr<nats::Connection> connection, const std::string& cluster, std::string node);
  void run();

  const std::shared_ptr<nats::Connection> connection_;
  const std::string node_;
  const std::string subject_;
  const Context stop_ = Context::background().with_cancel();
  base::Mutex mutex_;
  base::ConditionVariable wake_;
  StandbyReport report_ LITECLUSTER_GUARDED_BY(mutex_);
  bool changed_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace litecluster::replication
