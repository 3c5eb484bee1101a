// Tells systemd how the service is (the sd_notify protocol: datagrams to the socket named in NOTIFY_SOCKET).
// Without systemd every call does nothing.
//
// systemd watches the main process, which is the guard; the agent under it reports. Neither the backend nor a
// hook shall speak in our name, so the variables are taken out of the environment before anything is started.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace litecluster::daemon {

class ServiceManager {
 public:
  /// Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment. Call it in the main process
  /// while it is single-threaded.
  [[nodiscard]] static ServiceManager take_from_environment();

  /// Sends "READY=1", "STOPPING=1", "STATUS=…" or "WATCHDOG=1". Never fails: a missing manager is not our
  /// trouble. Thread-safe.
  void notify(std::string_view state) const;

  /// Whether anybody listens.
  [[nodiscard]] bool present() const { return !socket_.empty(); }

  /// How often systemd wants to hear WATCHDOG=1: half of WATCHDOG_USEC, when it is meant for this process.
  [[nodiscard]] std::optional<std::chrono::microseconds> watchdog_interval() const {
    return watchdog_interval_;
  }

 private:
  std::string socket_;
  std::optional<std::chrono::microseconds> watchdog_interval_;
};

}  // namespace litecluster::daemon
