// Which hook is called when: the part that is the same in every mode.
//
// Hooks run one at a time and in the order of the events (hook_queue.hpp), except that those that only bring
// news come after the others. What happens before on_start has succeeded is kept and told right after it;
// on_stop is the last of all. When the node shuts down, hooks that only bring news have their Context
// cancelled, and those that wait are dropped; when it does so before on_start has succeeded, whatever waits
// is.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <litecluster/context.hpp>
#include <litecluster/hooks.hpp>

#include "app/hook_runner.hpp"
#include "base/mutex.hpp"
#include "membership/hook_call.hpp"
#include "membership/service.hpp"

namespace litecluster::app {

/// Thread-safe.
class NodeHooks {
 public:
  NodeHooks(Hooks hooks, HookRunnerOptions options);
  NodeHooks(const NodeHooks&) = delete;
  NodeHooks& operator=(const NodeHooks&) = delete;
  /// As ~HookRunner(). Not from inside a hook.
  ~NodeHooks();

  /// Calls on_start, waits for it and, when it succeeded, goes on with all that has happened until now.
  [[nodiscard]] Status start(const Context& context);
  /// From now on news are dropped; those that already wait are not called any more. Before start() has
  /// succeeded the same holds for all that came by executor(), and its calls fail.
  void shut_down();
  /// Calls on_stop, when start() succeeded, and waits for it. Nothing is called any more afterwards.
  void stop();

  /// Calls one hook and waits for its result; nothing wrong when there is none. After start().
  [[nodiscard]] Status call(const std::string& name, const Context& context,
                            const std::function<Status(Context&)>& hook);
  /// call(), in a hurry.
  [[nodiscard]] Status call_in_hurry(const std::string& name, const Context& context,
                                     const std::function<Status(Context&)>& hook);
  /// While in a hurry no hook is called that only brings news, and one that runs has its Context cancelled as
  /// soon as another waits for it. Returns at once.
  void hurry(bool wanted);
  /// on_leader_change.
  void leader_changed(const std::string& leader);
  /// on_member_join, on_member_leave and on_health_change. Returns at once.
  void observe(const membership::ServiceEvent& event);
  /// For a layer with hooks of its own. Outlives this object and then fails what it is given. What was
  /// cancelled before its turn has come is not called.
  [[nodiscard]] membership::HookExecutor executor();

 private:
  class Gate;
  enum class State { starting, started, stopped };

  [[nodiscard]] Status run(const std::string& name, const Context& context,
                           const std::function<Status(Context&)>& hook, HookRank rank);
  void tell(std::string name, std::function<Status(Context&)> body);
  void allow() LITECLUSTER_REQUIRES(mutex_);

  const Hooks hooks_;
  const Context news_ = Context::background().with_cancel();
  HookRunner runner_;
  const std::shared_ptr<Gate> gate_;

  base::Mutex mutex_;
  State state_ LITECLUSTER_GUARDED_BY(mutex_) = State::starting;
  bool hurrying_ LITECLUSTER_GUARDED_BY(mutex_) = false;
};

}  // namespace litecluster::app
