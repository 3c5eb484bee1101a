#include <litecluster/lock.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "base/mutex.hpp"
#include "locks/lock_impl.hpp"

namespace litecluster {

class Lock::Impl {
 public:
  Impl(std::shared_ptr<locks::LockKeeper> keeper, std::string_view name, const LockOptions& options)
      : keeper_(std::move(keeper)), name_(name), options_(options) {}
  explicit Impl(Error error) : broken_(std::move(error)) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (hold_) keeper_->release_in_background(hold_);
  }

  Status acquire(const Context& context, bool wait) {
    if (broken_) return std::unexpected(*broken_);
    {
      const base::MutexLock lock(mutex_);
      if (claiming_ || hold_) {
        return failure(ErrorCode::failed_precondition, "acquire lock", name_,
                       claiming_ ? "another thread is acquiring it with this object"
                                 : "this object has acquired it already; release it first");
      }
      claiming_ = true;
    }
    auto hold = keeper_->claim(context, name_, options_, wait);
    const base::MutexLock lock(mutex_);
    claiming_ = false;
    if (!hold) return std::unexpected(std::move(hold.error()));
    hold_ = std::move(*hold);
    token_ = hold_->token();
    return {};
  }

  Status release(const Context& context) {
    std::shared_ptr<locks::LockHold> hold;
    {
      const base::MutexLock lock(mutex_);
      hold = std::move(hold_);
      hold_.reset();
    }
    if (!hold) return {};
    return keeper_->release(context, hold);
  }

  std::shared_ptr<locks::LockHold> hold() const {
    const base::MutexLock lock(mutex_);
    return hold_;
  }
  FencingToken token() const {
    const base::MutexLock lock(mutex_);
    return token_;
  }

 private:
  const std::shared_ptr<locks::LockKeeper> keeper_;
  const std::string name_;
  const LockOptions options_;
  const std::optional<Error> broken_;
  mutable base::Mutex mutex_;
  bool claiming_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  std::shared_ptr<locks::LockHold> hold_ LITECLUSTER_GUARDED_BY(mutex_);
  FencingToken token_ LITECLUSTER_GUARDED_BY(mutex_);
};

Lock::Lock(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Lock::Lock(Lock&&) noexcept = default;
Lock& Lock::operator=(Lock&&) noexcept = default;
Lock::~Lock() = default;

Status Lock::acquire(const Context& context) {
  return impl_->acquire(context, /*wait=*/true);
}

Status Lock::try_acquire(const Context& context) {
  return impl_->acquire(context, /*wait=*/false);
}

Status Lock::release(const Context& context) {
  return impl_->release(context);
}

Status Lock::with(const Context& context, const std::function<Status(Context&)>& work) {
  if (Status acquired = acquire(context); !acquired) return acquired;
  Context inside = context.with_cancel();
  Status done;
  {
    const auto registration = this->context().on_cancel([inside] { inside.cancel(); });
    done = work(inside);
  }
  // Also when `context` is over: giving back must not depend on it.
  const Status released = release(Context::background());
  if (!done) return done;
  const bool lost = !released && released.error().code() == ErrorCode::failed_precondition;
  return lost ? released : Status();
}

FencingToken Lock::token() const {
  return impl_->token();
}

bool Lock::held() const {
  const auto hold = impl_->hold();
  return hold && hold->held();
}

std::chrono::nanoseconds Lock::remaining() const {
  const auto hold = impl_->hold();
  if (!hold || !hold->held()) return std::chrono::nanoseconds::zero();
  return std::max(hold->deadline() - base::BootClock::now(), base::Duration::zero());
}

Context Lock::context() const {
  if (const auto hold = impl_->hold()) return hold->context();
  const Context cancelled = Context::background();
  cancelled.cancel();
  return cancelled;
}

namespace locks {

Lock make_lock(std::shared_ptr<LockKeeper> keeper, std::string_view name, const LockOptions& options) {
  return Lock(std::make_shared<Lock::Impl>(std::move(keeper), name, options));
}

Lock make_broken_lock(Error error) {
  return Lock(std::make_shared<Lock::Impl>(std::move(error)));
}

}  // namespace locks
}  // namespace litecluster
