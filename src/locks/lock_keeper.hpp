// Keeps the locks of one client: claims them, and renews all that are held from a single thread.
//
// Give it a connection of its own: other traffic that fills the socket would delay renewals.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/lock.hpp>

#include "base/clock.hpp"
#include "base/mutex.hpp"
#include "locks/lock_hold.hpp"
#include "nats/jetstream.hpp"
#include "nats/kv_bucket.hpp"

namespace litecluster::locks {

/// Thread-safe.
class LockKeeper {
 public:
  /// `bucket` is opened, or created, by the first claim. Does not block.
  LockKeeper(nats::JetStream jetstream, std::string bucket, std::string node);
  /// Gives back what is still held, for at most two seconds.
  ~LockKeeper();
  LockKeeper(const LockKeeper&) = delete;
  LockKeeper& operator=(const LockKeeper&) = delete;

  /// Claims the lock in the calling thread; from then on it is renewed. Errors as Lock::acquire().
  [[nodiscard]] Result<std::shared_ptr<LockHold>> claim(const Context& context, std::string_view name,
                                                        const LockOptions& options, bool wait);
  /// Errors as Lock::release().
  [[nodiscard]] Status release(const Context& context, const std::shared_ptr<LockHold>& hold);
  /// The same without waiting for it.
  void release_in_background(const std::shared_ptr<LockHold>& hold);

 private:
  [[nodiscard]] Result<nats::KeyValue> open_bucket(const Context& context, bool wait);
  [[nodiscard]] Status pursue(const Context& context, LockHold& hold);
  /// Keeps, for claims to come, since when the holder of this lock has been seen.
  void remember(LockHold& hold) LITECLUSTER_REQUIRES(hold.driving);
  void keep(const std::shared_ptr<LockHold>& hold);
  /// Takes the hold away from the thread, after waiting for a call of its that is under way.
  void withdraw(const std::shared_ptr<LockHold>& hold);
  void run();
  void serve(const std::shared_ptr<LockHold>& hold, const Context& context);
  /// The hold whose tick is due first, and when.
  [[nodiscard]] std::pair<std::shared_ptr<LockHold>, base::BootTime> most_urgent()
      LITECLUSTER_REQUIRES(mutex_);
  /// The first deadline of all that are held, except `hold`.
  [[nodiscard]] base::BootTime first_deadline(const LockHold& hold) LITECLUSTER_REQUIRES(mutex_);

  const nats::JetStream jetstream_;
  const std::string bucket_name_;
  const std::string node_;

  base::Mutex mutex_;
  base::ConditionVariable changed_;
  std::optional<nats::KeyValue> bucket_ LITECLUSTER_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<LockHold>> holds_ LITECLUSTER_GUARDED_BY(mutex_);
  // Of locks that others hold: since when the present revision has been seen.
  std::unordered_map<std::string, std::pair<Revision, base::BootTime>> seen_ LITECLUSTER_GUARDED_BY(mutex_);
  // What the thread is at, until when at most, and how to stop it.
  std::shared_ptr<LockHold> serving_ LITECLUSTER_GUARDED_BY(mutex_);
  base::BootTime serving_until_ LITECLUSTER_GUARDED_BY(mutex_);
  Context serving_context_ LITECLUSTER_GUARDED_BY(mutex_) = Context::background();
  bool stopping_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  base::BootTime stop_at_ LITECLUSTER_GUARDED_BY(mutex_) = base::BootTime::max();
  std::thread thread_;
};

}  // namespace litecluster::locks
