// Which hook is called when: the part that is the same in every mode.
//
// Hooks run one at a time and in the order of the events (hook_runner.hpp). What happens before on_start has
// succeeded is kept and told right after it; on_stop is the last of all. When the node shuts down, hooks that
// only bring news have their Context cancelled, and those that wait are dropped.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

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
  /// From now on news are dropped; what already waits is not called any more.
  void shut_down();
  /// Calls on_stop, when start() succeeded, and waits for it. Nothing is called any more afterwards.
  void stop();

  /// Calls one hook and waits for its result; nothing wrong when there is none.
  [[nodiscard]] Status call(const std::string& name, const Context& context,
                            const std::function<Status(Context&)>& hook);
  /// on_leader_change.
  void leader_changed(const std::string& leader);
  /// on_member_join, on_member_leave and on_health_change. Returns at once.
  void observe(const membership::ServiceEvent& event);
  /// For a layer with hooks of its own. Outlives this object and then fails what it is given.
  [[nodiscard]] membership::HookExecutor executor();

 private:
  class Gate;

  void tell(std::string name, std::function<Status(Context&)> body);

  const Hooks hooks_;
  const Context news_ = Context::background().with_cancel();
  HookRunner runner_;
  const std::shared_ptr<Gate> gate_;
};

}  // namespace litecluster::app
