// Named points at which tests make the program die, stop or fail. Compiled out of release builds.
//
// LITECLUSTER_FAULT_POINT("promote.rename") does nothing unless the environment variable LITECLUSTER_FAULT
// names it: "promote.rename=kill" (SIGKILL to ourselves), "=stop" (SIGSTOP), or "=kill@3" for the third time
// the point is reached. Several, separated by commas, may be given. fault_requested() reports "=fail", for
// code that can simulate an error of the system it talks to.
//
// A process that runs already is armed by a file: LITECLUSTER_FAULT_DIRECTORY names a directory, and a file
// in it with the name of a point holds the action, for once: it is removed when the point is reached.
// "kill_parent" kills the parent process as well (an agent's guard).
#pragma once

#include <string_view>

namespace litecluster::base {

#if defined(LITECLUSTER_FAULT_POINTS)
/// Acts on "kill", "kill_parent" and "stop"; returns true when "fail" is asked for here and now. Thread-safe.
bool reach_fault_point(std::string_view name);
/// Reads LITECLUSTER_FAULT again; otherwise it is read once, when the first point is reached. For tests that
/// fork; call it before other threads run.
void reload_fault_points();
#define LITECLUSTER_FAULT_POINT(name) static_cast<void>(::litecluster::base::reach_fault_point(name))
#define LITECLUSTER_FAULT_REQUESTED(name) ::litecluster::base::reach_fault_point(name)
#else
#define LITECLUSTER_FAULT_POINT(name) static_cast<void>(0)
#define LITECLUSTER_FAULT_REQUESTED(name) false
#endif

}  // namespace litecluster::base
