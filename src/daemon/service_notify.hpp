// Tells systemd how the service is (the sd_notify protocol: datagrams to the socket named in NOTIFY_SOCKET).
// Without systemd every call does nothing.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace litecluster::daemon {

/// Sends "READY=1", "STOPPING=1", "STATUS=…" or "WATCHDOG=1". Never fails: a missing manager is not our
/// trouble.
void notify_service_manager(std::string_view state);

/// How often systemd wants to hear WATCHDOG=1; half of WATCHDOG_USEC, when it is meant for this process.
[[nodiscard]] std::optional<std::chrono::microseconds> watchdog_interval();

}  // namespace litecluster::daemon
