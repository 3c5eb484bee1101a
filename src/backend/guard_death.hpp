// What the agent does when its guard dies: it takes the backend's process group and the addresses along, and
// itself.
#pragma once

#include <memory>
#include <vector>

#include "backend/guard.hpp"

namespace litecluster::backend {

/// Asks the kernel for a signal when the guard dies and answers it so, in whatever state the agent's threads
/// are. A plain SIGKILL would leave the backend's own children and the addresses behind; the backend itself
/// has one. `fences` live as long as the process.
void die_with_guard(GuardMemory& memory, const std::vector<std::shared_ptr<Fence>>& fences, int guard_pid);
/// Kills the backend's group, drops the fences, kills this process.
[[noreturn]] void end_now(GuardMemory& memory);

}  // namespace litecluster::backend
