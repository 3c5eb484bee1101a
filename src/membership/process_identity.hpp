// Names a process so that another one on the same machine can find out that it is gone.
#pragma once

#include <string>
#include <string_view>

namespace litecluster::membership {

/// "<boot id>/<inode of the PID namespace>/<pid>/<start time>" of this process; empty when /proc does not
/// tell.
[[nodiscard]] std::string own_process();

/// True only when it is certain that the process does not run any more: it belongs to this boot of this
/// machine and to our PID namespace, and its number is free or belongs to a process started at another time.
[[nodiscard]] bool is_certainly_dead(std::string_view process);

}  // namespace litecluster::membership
