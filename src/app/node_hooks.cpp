#include "app/node_hooks.hpp"

#include <future>
#include <utility>

namespace litecluster::app {

using base::MutexLock;
using membership::HookCall;

// Refuses calls once on_stop is due, or can never become due.
class NodeHooks::Gate {
 public:
  explicit Gate(membership::HookExecutor next) : next_(std::move(next)) {}

  void submit(HookCall call) {
    call.body = [body = std::move(call.body)](Context& context) mutable -> Status {
      if (Status status = context.status("run hook"); !status) return status;
      return body ? body(context) : Status();
    };
    {
      const MutexLock lock(mutex_);
      if (!closed_) return next_(std::move(call));
    }
    if (call.done) call.done(failure(ErrorCode::cancelled, "run hook", call.name, "the node has stopped"));
  }

  void close() {
    const MutexLock lock(mutex_);
    closed_ = true;
  }

 private:
  const membership::HookExecutor next_;
  base::Mutex mutex_;
  bool closed_ LITECLUSTER_GUARDED_BY(mutex_) = false;
};

NodeHooks::NodeHooks(Hooks hooks, HookRunnerOptions options)
    : hooks_(std::move(hooks)),
      runner_(std::move(options)),
      gate_(std::make_shared<Gate>(runner_.executor())) {
  const MutexLock lock(mutex_);
  allow();
}

NodeHooks::~NodeHooks() {
  shut_down();
  gate_->close();
}

void NodeHooks::allow() {
  const HookRank most = hurrying_ ? HookRank::duty : HookRank::news;
  runner_.allow(state_ == State::starting ? HookRank::start : most);
}

Status NodeHooks::start(const Context& context) {
  if (auto started = run("on_start", context, hooks_.on_start, HookRank::start); !started) return started;
  const MutexLock lock(mutex_);
  if (state_ == State::starting) state_ = State::started;
  allow();
  return {};
}

void NodeHooks::shut_down() {
  news_.cancel();
  const MutexLock lock(mutex_);
  if (state_ != State::starting) return;
  // Nothing will let go ahead what waits for on_start, and somebody may wait for its end.
  state_ = State::stopped;
  gate_->close();
  runner_.drop_waiting();
}

void NodeHooks::stop() {
  shut_down();
  gate_->close();
  {
    const MutexLock lock(mutex_);
    if (std::exchange(state_, State::stopped) != State::started) return;
  }
  static_cast<void>(run("on_stop", Context::background(), hooks_.on_stop, HookRank::duty));
}

void NodeHooks::hurry(bool wanted) {
  const MutexLock lock(mutex_);
  hurrying_ = wanted;
  allow();
}

Status NodeHooks::call(const std::string& name, const Context& context,
                       const std::function<Status(Context&)>& hook) {
  return run(name, context, hook, HookRank::duty);
}

Status NodeHooks::call_in_hurry(const std::string& name, const Context& context,
                                const std::function<Status(Context&)>& hook) {
  if (!hook) return {};
  hurry(true);
  Status status = call(name, context, hook);
  hurry(false);
  return status;
}

Status NodeHooks::run(const std::string& name, const Context& context,
                      const std::function<Status(Context&)>& hook, HookRank rank) {
  if (!hook) return {};
  const auto answer = std::make_shared<std::promise<Status>>();
  auto future = answer->get_future();
  runner_.submit({.name = name,
                  .parent = context,
                  .body = [hook](Context& inner) { return hook(inner); },
                  .done = [answer](const Status& result) { answer->set_value(result); }},
                 rank);
  return future.get();
}

void NodeHooks::tell(std::string name, std::function<Status(Context&)> body) {
  runner_.submit({.name = std::move(name),
                  .parent = news_,
                  .body = [body = std::move(body), news = news_](Context& context) -> Status {
                    if (news.done()) return {};
                    return body(context);
                  },
                  .done = {}},
                 HookRank::news);
}

void NodeHooks::leader_changed(const std::string& leader) {
  if (!hooks_.on_leader_change) return;
  tell("on_leader_change",
       [hook = hooks_.on_leader_change, leader](Context& context) { return hook(context, leader); });
}

void NodeHooks::observe(const membership::ServiceEvent& event) {
  if (const auto* changed = std::get_if<membership::HealthChanged>(&event)) {
    if (!hooks_.on_health_change) return;
    return tell("on_health_change", [hook = hooks_.on_health_change, health = changed->health](
                                        Context& context) { return hook(context, health); });
  }
  const auto* change = std::get_if<membership::RosterEvent>(&event);
  if (change == nullptr || change->kind == membership::RosterEvent::Kind::changed) return;
  const bool left = change->kind == membership::RosterEvent::Kind::left;
  const auto& hook = left ? hooks_.on_member_leave : hooks_.on_member_join;
  if (!hook) return;
  tell(left ? "on_member_leave" : "on_member_join",
       [hook, member = change->member](Context& context) { return hook(context, member); });
}

membership::HookExecutor NodeHooks::executor() {
  return [gate = gate_](HookCall call) { gate->submit(std::move(call)); };
}

}  // namespace litecluster::app
