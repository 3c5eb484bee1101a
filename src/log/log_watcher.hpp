// Keeps a LogView up to date from the bucket's metadata, in a thread of its own.
//
// Removals that are purged at once may never reach a watch. What the view then still holds is found missing
// when it is asked for; and when the view has grown to twice the size after its last listing, the bucket is
// listed anew, so that it cannot grow without end.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "base/mutex.hpp"
#include "log/appender.hpp"
#include "log/log_view.hpp"
#include "log/object_bucket.hpp"

namespace litecluster::log {

/// Thread-safe. `bucket` outlives it.
class LogWatcher {
 public:
  /// Called after the view changed, in the watcher's thread. It must not block for long.
  using OnChange = std::function<void()>;

  LogWatcher(ObjectBucket& bucket, OnChange on_change);
  LogWatcher(const LogWatcher&) = delete;
  LogWatcher& operator=(const LogWatcher&) = delete;
  /// Ends the thread.
  ~LogWatcher();

  /// From now on this is called instead; when it returns the one before is not running any more.
  void listen(OnChange on_change);

  /// Waits until the view holds all that was in the bucket when the watcher began. Errors: those of status().
  [[nodiscard]] Status wait_complete(const Context& context) const;
  /// Waits until the view is complete and holds everything up to this sequence, which is one of an object.
  [[nodiscard]] Status wait_for(const Context& context, Revision sequence) const;

  /// Calls `look` with the view, under the lock: be brief.
  template <typename Look>
  auto with_view(Look look) const {
    const base::MutexLock lock(mutex_);
    return look(view_);
  }
  /// A copy.
  [[nodiscard]] LogView view() const;
  /// The highest sequence that the watch has delivered.
  [[nodiscard]] Revision seen() const;

  using OnObject = std::function<void(const Object&)>;
  /// From now on called for each object that is seen, after the view knows it, in the watcher's thread; and
  /// at once for those of the view, in the caller's. Empty: no longer; it has ended when this returns. It
  /// must not call on_object().
  void on_object(OnObject callback);

  /// An object that was just written or found missing, before the watch says so.
  void add(const Object& object);
  void forget(const ObjectName& name);

  /// What keeps the watcher from its work now, if anything. gap and not_found are final: the bucket is not
  /// the one it was. resource_exhausted: there are more objects than the view may hold. unavailable: nothing
  /// is heard from the server, so the view may be out of date.
  [[nodiscard]] Status status() const;
  /// status() is final: nothing will be seen any more.
  [[nodiscard]] bool has_ended() const;

  /// For the Appender of the same node.
  [[nodiscard]] ReadEnd read_end() const;

 private:
  void run();
  /// Follows one watch to its end; false when there is no point in another.
  bool follow(BucketWatch& watch);
  void apply(const BucketEvent& event, bool initial_done);
  void note_initial_done(bool initial_done);
  void note_live(bool live);
  void list_again();
  void set_status(Status status);
  void tell();

  ObjectBucket& bucket_;
  base::Mutex listener_mutex_;
  OnChange on_change_ LITECLUSTER_GUARDED_BY(listener_mutex_);
  base::Mutex callback_mutex_;
  OnObject on_object_ LITECLUSTER_GUARDED_BY(callback_mutex_);
  Context context_ = Context::background().with_cancel();
  mutable base::Mutex mutex_;
  mutable base::ConditionVariable changed_;
  LogView view_ LITECLUSTER_GUARDED_BY(mutex_);
  bool complete_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  Revision seen_ LITECLUSTER_GUARDED_BY(mutex_);
  Status status_ LITECLUSTER_GUARDED_BY(mutex_);
  std::size_t size_after_listing_ LITECLUSTER_GUARDED_BY(mutex_) = 0;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace litecluster::log
