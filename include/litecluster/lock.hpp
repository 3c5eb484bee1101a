// Locks between processes on any machines, with a lease and a fencing token.
//
// The guarantee: of all holders of one name at most one is inside its deadline, measured by CLOCK_BOOTTIME of
// its own machine. The deadline is the time before the last renewal that succeeded was sent, plus 0.8 times
// the lease; others take over only after one whole lease without a renewal. A process that is suspended can
// wake up past its deadline and act before it looks: a resource that must never be touched by two therefore
// takes the token and refuses one that is smaller than it has seen.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

namespace litecluster {

struct LockOptions {
  /// 300 ms to 1 h. Renewed three times per lease. A holder that vanishes is replaced after one lease;
  /// holders of one lock may use different leases.
  std::chrono::milliseconds lease{10'000};
};

/// A claim on one name. Two objects of one name exclude each other, also within a process; it is not
/// recursive. Thread-safe, but only one acquire() at a time makes sense: a second one gets
/// failed_precondition.
class Lock {
 public:
  class Impl;
  explicit Lock(std::shared_ptr<Impl> impl);
  Lock(Lock&&) noexcept;
  Lock& operator=(Lock&&) noexcept;
  /// Releases in the background what is held.
  ~Lock();

  /// Blocks until held, cancelled or past the deadline of `context`, which bounds the wait and not the time
  /// for which the lock is held. Goes on trying while the server is away. Waiters are served in no particular
  /// order. Errors: cancelled, deadline_exceeded, invalid_argument (name), failed_precondition (held already
  /// by this object; the bucket is gone), corrupt (the record is not one of ours), permission_denied.
  [[nodiscard]] Status acquire(const Context& context);
  /// Does not wait for a holder: `busy` when there is one. The lease of a holder that died can only be
  /// judged by having watched it: its lock stays busy until one lease after this process first saw it.
  [[nodiscard]] Status try_acquire(const Context& context = Context::background());
  /// Gives back what is ours; the next waiter gets it within a round trip. Fine when nothing is held. An
  /// error `failed_precondition` says that the lock had been lost before; others that the server did not
  /// answer and the lease has to run out.
  Status release(const Context& context = Context::background());

  /// acquire, `work`, release. The Context given to `work` is a child of `context` that is cancelled when
  /// the lock is lost. Returns the error of acquire, or else that of `work`, or else, when the lock was lost
  /// meanwhile, failed_precondition.
  [[nodiscard]] Status with(const Context& context, const std::function<Status(Context&)>& work);

  /// Grows with each holder of this name, over all nodes and restarts. 0 when nothing was ever held by this
  /// object; keeps the last value after a loss or release.
  [[nodiscard]] FencingToken token() const;
  /// Whether the lock is held right now: looks at the clock. Without I/O.
  [[nodiscard]] bool held() const;
  /// Time left until the deadline if no further renewal succeeds; 0 when not held.
  [[nodiscard]] std::chrono::nanoseconds remaining() const;
  /// Of the present hold: cancelled when it is lost or released. Cancelled when nothing is held.
  [[nodiscard]] Context context() const;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace litecluster
