#include "daemon/hook_commands.hpp"

#include <unistd.h>

#include <span>
#include <utility>

#include "backend/process.hpp"

namespace litecluster::daemon {

namespace {

Status run_command(const Context& context, const std::string& hook, const std::vector<std::string>& command,
                   const std::vector<std::string>& variables) {
  backend::ProcessSpec spec;
  spec.arguments = command;
  spec.environment = variables;
  spec.environment.push_back("LITECLUSTER_HOOK=" + hook);
  const auto ended = backend::run_to_end(context, spec, STDERR_FILENO, STDERR_FILENO);
  if (!ended) return std::unexpected(ended.error());
  if (*ended == 0) return {};
  return failure(ErrorCode::failed_precondition, "run hook " + hook, command.front(),
                 backend::describe_wait_status(*ended));
}

std::string comma_separated(std::span<const Partition> partitions) {
  std::string text;
  for (const Partition partition : partitions) {
    text += (text.empty() ? "" : ",") + std::to_string(partition.value());
  }
  return text;
}

}  // namespace

void install_hook_commands(App& app, const std::map<std::string, std::vector<std::string>>& hooks) {
  const auto plain = [&](const char* name) -> std::function<Status(Context&)> {
    const auto found = hooks.find(name);
    if (found == hooks.end()) return nullptr;
    return [hook = std::string(name), command = found->second](Context& context) {
      return run_command(context, hook, command, {});
    };
  };
  app.on_active(plain("on_active"));
  app.on_passive(plain("on_passive"));
  app.on_start(plain("on_start"));
  app.on_stop(plain("on_stop"));
  if (const auto found = hooks.find("on_leader_change"); found != hooks.end()) {
    app.on_leader_change([command = found->second](Context& context, const std::string& leader) {
      return run_command(context, "on_leader_change", command, {"LITECLUSTER_LEADER=" + leader});
    });
  }
  const auto member_hook = [&](const char* name) -> std::function<Status(Context&, const Member&)> {
    const auto found = hooks.find(name);
    if (found == hooks.end()) return nullptr;
    return [hook = std::string(name), command = found->second](Context& context, const Member& member) {
      return run_command(context, hook, command, {"LITECLUSTER_MEMBER=" + member.id.node});
    };
  };
  app.on_member_join(member_hook("on_member_join"));
  app.on_member_leave(member_hook("on_member_leave"));
  const auto partition_hook =
      [&](const char* name) -> std::function<Status(Context&, std::span<const Partition>)> {
    const auto found = hooks.find(name);
    if (found == hooks.end()) return nullptr;
    return [hook = std::string(name), command = found->second](Context& context,
                                                               std::span<const Partition> partitions) {
      return run_command(context, hook, command, {"LITECLUSTER_PARTITIONS=" + comma_separated(partitions)});
    };
  };
  app.on_own(partition_hook("on_own"));
  app.on_release(partition_hook("on_release"));
  if (const auto found = hooks.find("on_health_change"); found != hooks.end()) {
    app.on_health_change([command = found->second](Context& context, const Health& health) {
      return run_command(context, "on_health_change", command,
                         {"LITECLUSTER_HEALTH=" + std::string(to_string(health.level)),
                          "LITECLUSTER_HEALTH_REASON=" + health.reason()});
    });
  }
}

}  // namespace litecluster::daemon
