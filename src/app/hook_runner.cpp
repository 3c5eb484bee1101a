#include "app/hook_runner.hpp"

#include <deque>
#include <exception>
#include <map>
#include <string>
#include <thread>
#include <utility>

#include "base/logging.hpp"
#include "base/mutex.hpp"
#include "membership/loop.hpp"

namespace litecluster::app {
namespace {

using base::BootClock;
using base::MutexLock;
using membership::HookCall;

Status run_guarded(HookCall& call, Context& context) {
  const auto thrown = [&](std::string what) {
    return failure(ErrorCode::internal, "run hook", call.name, "it threw " + std::move(what));
  };
  try {
    return call.body ? call.body(context) : Status();
  } catch (const std::exception& exception) {
    return thrown(exception.what());
  } catch (...) {
    return thrown("something that is no std::exception");
  }
}

Error failed(HookFailure why, const std::string& name) {
  switch (why) {
    case HookFailure::queue_full:
      return {ErrorCode::resource_exhausted, "run hook", name, "too many hooks wait"};
    case HookFailure::gave_up:
      return {ErrorCode::deadline_exceeded, "run hook", name, "it did not return after it was cancelled"};
    case HookFailure::all_stuck:
      return {ErrorCode::resource_exhausted, "run hook", name, "earlier hooks hang"};
    case HookFailure::cancelled:
      return {ErrorCode::cancelled, "run hook", name, "not called: it was cancelled while it waited"};
  }
  return {ErrorCode::internal, "run hook", name, "unknown"};
}

/// One call under way; shared with the worker, which may hang in it for ever.
struct Call {
  Call(HookCall what, HookRank its) : call(std::move(what)), rank(its), context(call.parent.with_cancel()) {}
  HookCall call;
  HookRank rank;
  Context context;
  Context::Registration on_cancel;
};

/// Where a worker waits. Its thread is detached, because nothing can end a hook that hangs.
struct Mailbox {
  base::Mutex mutex;
  base::ConditionVariable changed;
  std::shared_ptr<Call> next LITECLUSTER_GUARDED_BY(mutex);
  bool closed LITECLUSTER_GUARDED_BY(mutex) = false;
};

}  // namespace

class HookRunner::Impl : public std::enable_shared_from_this<Impl> {
 public:
  explicit Impl(HookRunnerOptions options)
      : options_(std::move(options)), queue_(options_.timeout, options_.grace) {
    timer_ = loop_.add_timer([this] {
      queue_.tick(BootClock::now());
      act();
    });
  }

  void submit(HookCall call, HookRank rank) {
    {
      const MutexLock lock(mutex_);
      ++outstanding_;
      incoming_.push_back(std::make_shared<Call>(std::move(call), rank));
      if (!stopped_) return loop_.post([this] { accept(); }, membership::Loop::Room::not_needed);
    }
    fail_incoming();
  }

  void allow(HookRank last) {
    loop_.post(
        [this, last] {
          queue_.allow(BootClock::now(), last);
          act();
        },
        membership::Loop::Room::not_needed);
  }

  void drop_waiting() {
    loop_.post(
        [this] {
          queue_.drop_waiting();
          act();
        },
        membership::Loop::Room::not_needed);
  }

  Status drain(const Context& context) {
    const auto registration = context.on_cancel([this] {
      const MutexLock lock(mutex_);
      changed_.notify_all();
    });
    MutexLock lock(mutex_);
    while (outstanding_ != 0) {
      if (auto status = context.status("wait for hooks"); !status) return status;
      changed_.wait_for(lock, context.remaining(std::chrono::seconds(1)));
    }
    return {};
  }

  void stop() {
    loop_.post([this] {
      stopping_ = true;
      for (const auto& [id, call] : calls_) call->context.cancel();
    });
    static_cast<void>(drain(Context::background().with_timeout(options_.grace)));
    {
      const MutexLock lock(mutex_);
      stopped_ = true;
    }
    loop_.stop();
    if (mailbox_) close(*mailbox_);
    fail_incoming();
    for (auto& [id, call] : std::exchange(calls_, {})) {
      finish(*call, failure(ErrorCode::cancelled, "run hook", call->call.name, "shutting down"));
    }
  }

 private:
  [[nodiscard]] std::shared_ptr<Call> take_incoming() {
    const MutexLock lock(mutex_);
    if (incoming_.empty()) return nullptr;
    std::shared_ptr<Call> call = std::move(incoming_.front());
    incoming_.pop_front();
    return call;
  }

  void fail_incoming() {
    while (const auto call = take_incoming()) {
      finish(*call, failure(ErrorCode::cancelled, "run hook", call->call.name, "shutting down"));
    }
  }

  void accept() {
    const auto call = take_incoming();
    if (!call) return;
    const HookId id = next_id_++;
    calls_.emplace(id, call);
    if (stopping_) call->context.cancel();
    call->on_cancel = call->context.on_cancel([weak = weak_from_this(), id] {
      const auto impl = weak.lock();
      if (!impl) return;
      impl->loop_.post(
          [impl = impl.get(), id] {
            impl->queue_.cancelled(BootClock::now(), id);
            impl->act();
          },
          membership::Loop::Room::not_needed);
    });
    queue_.submit(BootClock::now(), id, call->rank);
    act();
  }

  void act() {
    for (const HookAction& action : queue_.take_actions()) {
      if (const auto* start = std::get_if<StartHook>(&action)) {
        run(start->hook, start->worker);
      } else if (const auto* cancel = std::get_if<CancelHookContext>(&action)) {
        base::log_warning(cancel->in_the_way ? "a hook has to make way" : "a hook takes too long",
                          {{"hook", calls_.at(cancel->hook)->call.name}});
        calls_.at(cancel->hook)->context.cancel();
      } else if (const auto* fail = std::get_if<FailHook>(&action)) {
        auto call = calls_.extract(fail->hook).mapped();
        if (fail->failure == HookFailure::gave_up && mailbox_) close(*std::exchange(mailbox_, nullptr));
        const Status status = std::unexpected(failed(fail->failure, call->call.name));
        // What is not needed any more and was not called is nothing to warn of.
        fail->failure == HookFailure::cancelled ? answer(*call, status) : finish(*call, status);
      } else if (const auto* stuck = std::get_if<StuckChanged>(&action)) {
        report(stuck->stuck);
      }
    }
    loop_.set_timer(timer_, queue_.next_tick());
  }

  void run(HookId hook, WorkerId worker) {
    if (!mailbox_) {
      mailbox_ = std::make_shared<Mailbox>();
      std::thread([weak = weak_from_this(), mailbox = mailbox_, worker] {
        work(weak, *mailbox, worker);
      }).detach();
    }
    running_ = hook;
    const MutexLock lock(mailbox_->mutex);
    mailbox_->next = calls_.at(hook);
    mailbox_->changed.notify_all();
  }

  static void work(const std::weak_ptr<Impl>& weak, Mailbox& mailbox, WorkerId worker) {
    while (true) {
      std::shared_ptr<Call> call;
      {
        MutexLock lock(mailbox.mutex);
        while (!mailbox.next && !mailbox.closed) mailbox.changed.wait(lock);
        if (!mailbox.next) return;
        call = std::exchange(mailbox.next, nullptr);
      }
      Status status = run_guarded(call->call, call->context);
      const auto impl = weak.lock();
      if (!impl) return;
      impl->loop_.post([impl = impl.get(), worker, call, status = std::move(status)] {
        impl->came_back(worker, *call, status);
      });
    }
  }

  void came_back(WorkerId worker, Call& call, const Status& status) {
    const auto found = calls_.find(running_);
    // Otherwise it was given up before, and its end has been told.
    if (found != calls_.end() && found->second.get() == &call) {
      const std::shared_ptr<Call> kept = found->second;
      calls_.erase(found);
      finish(call, status);
    }
    queue_.finished(BootClock::now(), worker);
    act();
  }

  void finish(Call& call, const Status& status) {
    if (!status)
      base::log_warning("hook failed", {{"hook", call.call.name}, {"reason", status.error().message()}});
    answer(call, status);
  }

  void answer(Call& call, const Status& status) {
    call.on_cancel = {};
    if (call.call.done) call.call.done(status);
    const MutexLock lock(mutex_);
    --outstanding_;
    changed_.notify_all();
  }

  void report(std::size_t stuck) {
    if (!options_.report) return;
    if (stuck == 0) return options_.report({});
    options_.report({HealthLevel::critical,
                     std::to_string(stuck) + " hook(s) did not return after their Context was cancelled"});
  }

  static void close(Mailbox& mailbox) {
    const MutexLock lock(mailbox.mutex);
    mailbox.closed = true;
    mailbox.changed.notify_all();
  }

  const HookRunnerOptions options_;

  // On the loop.
  HookQueue queue_;
  std::map<HookId, std::shared_ptr<Call>> calls_;
  HookId next_id_ = 1;
  HookId running_ = 0;
  bool stopping_ = false;
  std::shared_ptr<Mailbox> mailbox_;
  membership::Loop::Timer* timer_ = nullptr;

  base::Mutex mutex_;
  base::ConditionVariable changed_;
  std::size_t outstanding_ LITECLUSTER_GUARDED_BY(mutex_) = 0;
  /// Submitted, and not yet seen by the loop, which then limits how many wait.
  std::deque<std::shared_ptr<Call>> incoming_ LITECLUSTER_GUARDED_BY(mutex_);
  bool stopped_ LITECLUSTER_GUARDED_BY(mutex_) = false;

  membership::Loop loop_;
};

HookRunner::HookRunner(HookRunnerOptions options) : impl_(std::make_shared<Impl>(std::move(options))) {}

HookRunner::~HookRunner() {
  impl_->stop();
}

void HookRunner::submit(HookCall call, HookRank rank) {
  impl_->submit(std::move(call), rank);
}

void HookRunner::allow(HookRank last) {
  impl_->allow(last);
}

void HookRunner::drop_waiting() {
  impl_->drop_waiting();
}

membership::HookExecutor HookRunner::executor() {
  return [weak = std::weak_ptr(impl_)](HookCall call) {
    if (const auto impl = weak.lock()) return impl->submit(std::move(call), HookRank::duty);
    if (call.done) call.done(failure(ErrorCode::cancelled, "run hook", call.name, "shutting down"));
  };
}

Status HookRunner::drain(const Context& context) {
  return impl_->drain(context);
}

}  // namespace litecluster::app
