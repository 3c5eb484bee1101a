// What the agent does when its guard dies: it takes the backend's process group along, and itself.
#pragma once

#include "backend/guard.hpp"

namespace litecluster::backend {

/// Asks the kernel for a signal when the guard dies and answers it so, in whatever state the agent's threads
/// are. A plain SIGKILL would leave the backend's own children behind; the backend itself has one.
void die_with_guard(GuardMemory& memory, int guard_pid);
/// Kills the backend's group and this process.
[[noreturn]] void end_now(GuardMemory& memory);

}  // namespace litecluster::backend
