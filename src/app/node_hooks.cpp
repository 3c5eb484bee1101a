#include "app/node_hooks.hpp"

#include <future>
#include <utility>

#include "app/hook_queue.hpp"

namespace litecluster::app {

using base::MutexLock;
using membership::HookCall;

// Holds calls back until on_start is through, and refuses them after on_stop.
class NodeHooks::Gate {
 public:
  explicit Gate(membership::HookExecutor next) : next_(std::move(next)) {}

  void submit(HookCall call) {
    const char* refused = "the node has stopped";
    {
      const MutexLock lock(mutex_);
      if (state_ == State::open) return next_(std::move(call));
      if (state_ == State::holding && held_.size() < HookQueue::waiting_max) {
        return held_.push_back(std::move(call));
      }
      if (state_ == State::holding) refused = "too many hooks wait for on_start";
    }
    fail(call, refused);
  }

  void open() {
    const MutexLock lock(mutex_);
    if (state_ != State::holding) return;
    state_ = State::open;
    for (HookCall& call : std::exchange(held_, {})) next_(std::move(call));
  }

  /// Whether it was open.
  bool close() {
    std::vector<HookCall> held;
    bool was_open = false;
    {
      const MutexLock lock(mutex_);
      was_open = std::exchange(state_, State::closed) == State::open;
      held = std::exchange(held_, {});
    }
    for (HookCall& call : held) fail(call, "the node has stopped");
    return was_open;
  }

 private:
  enum class State { holding, open, closed };

  static void fail(HookCall& call, const char* reason) {
    if (call.done) call.done(failure(ErrorCode::cancelled, "run hook", call.name, reason));
  }

  const membership::HookExecutor next_;
  base::Mutex mutex_;
  State state_ LITECLUSTER_GUARDED_BY(mutex_) = State::holding;
  std::vector<HookCall> held_ LITECLUSTER_GUARDED_BY(mutex_);
};

NodeHooks::NodeHooks(Hooks hooks, HookRunnerOptions options)
    : hooks_(std::move(hooks)),
      runner_(std::move(options)),
      gate_(std::make_shared<Gate>(runner_.executor())) {}

NodeHooks::~NodeHooks() {
  shut_down();
  gate_->close();
}

Status NodeHooks::start(const Context& context) {
  if (auto started = call("on_start", context, hooks_.on_start); !started) return started;
  gate_->open();
  return {};
}

void NodeHooks::shut_down() {
  news_.cancel();
}

void NodeHooks::stop() {
  shut_down();
  if (!gate_->close()) return;
  static_cast<void>(call("on_stop", Context::background(), hooks_.on_stop));
}

Status NodeHooks::call(const std::string& name, const Context& context,
                       const std::function<Status(Context&)>& hook) {
  if (!hook) return {};
  const auto answer = std::make_shared<std::promise<Status>>();
  auto future = answer->get_future();
  runner_.submit({.name = name,
                  .parent = context,
                  .body = [hook](Context& inner) { return hook(inner); },
                  .done = [answer](const Status& result) { answer->set_value(result); }});
  return future.get();
}

void NodeHooks::tell(std::string name, std::function<Status(Context&)> body) {
  gate_->submit({.name = std::move(name),
                 .parent = news_,
                 .body = [body = std::move(body), news = news_](Context& context) -> Status {
                   if (news.done()) return {};
                   return body(context);
                 },
                 .done = {}});
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
