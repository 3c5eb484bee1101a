#include "app/backend_setup.hpp"

#include <algorithm>
#include <utility>

namespace litecluster::app {
namespace {

Result<backend::HealthProbe> probe_of(const BackendHealth& health) {
  if (!health.command.empty()) return backend::HealthProbe(backend::CommandProbe{health.command});
  if (!health.http.empty()) return backend::parse_health_probe(health.http);
  if (!health.tcp.empty()) return backend::parse_health_probe("tcp://" + health.tcp);
  return backend::HealthProbe(backend::ExitProbe{});
}

}  // namespace

backend::SupervisorConfig supervisor_config(const Backend& wanted) {
  backend::SupervisorConfig config;
  config.start_timeout = wanted.start_timeout;
  config.grace = wanted.stop_timeout;
  config.probe_interval = wanted.health.interval;
  config.probe_failures_max = wanted.health.failures_max;
  config.restarts_max = wanted.restarts_max;
  // One that may take long to start also fails more slowly, and shall not do so for ever.
  config.restart_window = std::max<base::Duration>(config.restart_window, wanted.start_timeout);
  return config;
}

Result<BackendSetup> set_up_backend(const Backend& wanted, backend::GuardLink* guard) {
  auto probe = probe_of(wanted.health);
  if (!probe) return std::unexpected(probe.error());
  BackendSetup setup;
  Result<std::unique_ptr<backend::Backend>> made = nullptr;
  if (!wanted.systemd_unit.empty()) {
    made = backend::make_systemd_backend({.unit = wanted.systemd_unit,
                                          .probe = *probe,
                                          .probe_timeout = wanted.health.timeout,
                                          .start_timeout = wanted.start_timeout,
                                          .grace = wanted.stop_timeout,
                                          .probe_interval = wanted.health.interval,
                                          .probe_failures_max = wanted.health.failures_max});
  } else {
    backend::ProcessBackendOptions process;
    process.process.arguments = wanted.command;
    process.process.directory = wanted.directory.string();
    for (const auto& [name, value] : wanted.environment)
      process.process.environment.push_back(name + "=" + value);
    process.probe = *probe;
    process.probe_timeout = wanted.health.timeout;
    process.supervisor = supervisor_config(wanted);
    if (guard == nullptr) setup.host = backend::make_local_process_host();
    backend::ProcessHost& host = guard != nullptr ? guard->process_host() : *setup.host;
    made = backend::make_process_backend(host, std::move(process));
  }
  if (!made) return std::unexpected(made.error());
  setup.backend = std::move(*made);
  return setup;
}

}  // namespace litecluster::app
