// Hooks of the configuration: commands run at on_active and the like.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <litecluster/app.hpp>

namespace litecluster::daemon {

/// A command that ends with another status than 0 is a hook that failed. It gets LITECLUSTER_HOOK, and where
/// it applies LITECLUSTER_LEADER or LITECLUSTER_MEMBER, in its environment, and is killed when its Context
/// ends.
void install_hook_commands(App& app, const std::map<std::string, std::vector<std::string>>& hooks);

}  // namespace litecluster::daemon
