// What runs only on the leader: a process of ours, a systemd unit, or nothing.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "backend/guard.hpp"
#include "backend/health_probe.hpp"
#include "backend/process.hpp"
#include "backend/supervisor.hpp"

namespace litecluster::backend {

/// Thread-safe.
class Backend {
 public:
  virtual ~Backend() = default;
  /// Called from a thread of the backend when it failed for good after start() had succeeded: leadership
  /// should be given up. Must not block and not call the backend. Set it before the first start().
  virtual void on_failure(std::function<void(const Error&)> callback) = 0;
  /// Returns when it is healthy. Errors: unavailable (not healthy in time, ended by itself), not_found,
  /// permission_denied, io, cancelled, deadline_exceeded; whatever was started is then stopped.
  [[nodiscard]] virtual Status start(const Context& context) = 0;
  /// TERM, the grace, KILL; returns when it is gone. It is never left running on the Context's account: when
  /// that is done, the grace is over.
  [[nodiscard]] virtual Status stop(const Context& context) = 0;
  /// Nothing wrong, or why it is not healthy now.
  [[nodiscard]] virtual Status health() const = 0;
};

struct ProcessBackendOptions {
  ProcessSpec process{};
  HealthProbe probe{};
  std::chrono::nanoseconds probe_timeout = std::chrono::seconds(2);
  SupervisorConfig supervisor{};  ///< has_probe is set by the probe
};

/// `host` starts the processes and must outlive the backend. invalid_argument for an unusable spec.
[[nodiscard]] Result<std::unique_ptr<Backend>> make_process_backend(ProcessHost& host,
                                                                    ProcessBackendOptions options);

struct SystemdBackendOptions {
  std::string unit{};
  HealthProbe probe{};  ///< ExitProbe: the unit is active
  std::chrono::nanoseconds probe_timeout = std::chrono::seconds(2);
  std::chrono::nanoseconds start_timeout = std::chrono::seconds(30);
  std::chrono::nanoseconds grace = std::chrono::seconds(10);
  std::chrono::nanoseconds probe_interval = std::chrono::seconds(1);
  int probe_failures_max = 3;
};

/// By `systemctl`, found in PATH. The unit should not be enabled and should have Restart=no: who runs it is
/// decided here. invalid_argument for an unusable name.
[[nodiscard]] Result<std::unique_ptr<Backend>> make_systemd_backend(SystemdBackendOptions options);
/// Stops and kills the unit from the guard; its process ends when the unit has.
[[nodiscard]] std::shared_ptr<Fence> make_systemd_fence(const std::string& unit);

}  // namespace litecluster::backend
