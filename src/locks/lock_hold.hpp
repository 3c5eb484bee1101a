// One claim on one lock with what drives its state machine: the actions are carried out here, with blocking
// calls to the bucket, in whatever thread has `driving` at the moment: that of acquire(), that of release(),
// or the keeper's.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "base/clock.hpp"
#include "base/mutex.hpp"
#include "locks/lock_machine.hpp"
#include "nats/kv_bucket.hpp"

namespace litecluster::locks {

/// What happened in a call of drive().
struct DriveReport {
  bool finished = false;
  bool given_back = false;
  /// Who holds it, when the claim was not to wait.
  std::optional<std::string> refused_by;
  /// Trying again cannot help.
  std::optional<Error> fatal;
};

/// Thread-safe as said at each member.
class LockHold {
 public:
  LockHold(std::string name, nats::KeyValue bucket, LockMachine::Options options);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const nats::KeyValue& bucket() const { return bucket_; }
  /// Serialises the calls below up to the next comment.
  base::Mutex driving;

  [[nodiscard]] DriveReport start(const Context& context) LITECLUSTER_REQUIRES(driving);
  [[nodiscard]] DriveReport observed(const Context& context, const KvEntry& entry)
      LITECLUSTER_REQUIRES(driving);
  [[nodiscard]] DriveReport tick(const Context& context) LITECLUSTER_REQUIRES(driving);
  /// Begins to give up or give back; later ticks go on with it until `finished`.
  [[nodiscard]] DriveReport end(const Context& context) LITECLUSTER_REQUIRES(driving);
  [[nodiscard]] std::optional<std::pair<Revision, base::BootTime>> seen() LITECLUSTER_REQUIRES(driving) {
    return machine_.seen();
  }

  // From any thread, without waiting for I/O:

  /// The next tick() begins with end(). From now on the lock counts as not held.
  void request_end();

  /// When tick() is due, if ever.
  [[nodiscard]] std::optional<base::BootTime> wake_at() const;
  [[nodiscard]] LockMachine::State state() const;
  [[nodiscard]] bool held() const;
  [[nodiscard]] base::BootTime deadline() const;
  [[nodiscard]] FencingToken token() const;
  /// Cancelled when the hold is lost or given back.
  [[nodiscard]] const Context& context() const { return context_; }
  /// Why it was lost; empty when it was not.
  [[nodiscard]] std::string loss() const;

  /// Longest time for one call to the bucket.
  [[nodiscard]] base::Duration call_timeout() const;

 private:
  [[nodiscard]] DriveReport drive(const Context& context, Actions actions) LITECLUSTER_REQUIRES(driving);
  [[nodiscard]] Actions read(const Context& context, DriveReport& report) LITECLUSTER_REQUIRES(driving);
  [[nodiscard]] Actions write(const Context& context, const action::Write& write, DriveReport& report)
      LITECLUSTER_REQUIRES(driving);
  [[nodiscard]] Result<std::optional<Observation>> look(const Context& context) LITECLUSTER_REQUIRES(driving);
  void publish_view() LITECLUSTER_REQUIRES(driving);

  struct View {
    LockMachine::State state = LockMachine::State::claiming;
    std::optional<base::BootTime> wake_at;
    base::BootTime deadline;
    FencingToken token;
    std::string loss;
  };

  const std::string name_;
  const nats::KeyValue bucket_;
  const base::Duration lease_;
  const Context context_ = Context::background();
  std::atomic<bool> end_requested_ = false;
  LockMachine machine_ LITECLUSTER_GUARDED_BY(driving);
  mutable base::Mutex mutex_;
  View view_ LITECLUSTER_GUARDED_BY(mutex_);
};

}  // namespace litecluster::locks
