#include "app/backend_setup.hpp"

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
    process.supervisor.start_timeout = wanted.start_timeout;
    process.supervisor.grace = wanted.stop_timeout;
    process.supervisor.probe_interval = wanted.health.interval;
    process.supervisor.probe_failures_max = wanted.health.failures_max;
    process.supervisor.restarts_max = wanted.restarts_max;
    if (guard == nullptr) setup.host = backend::make_local_process_host();
    backend::ProcessHost& host = guard != nullptr ? guard->process_host() : *setup.host;
    made = backend::make_process_backend(host, std::move(process));
  }
  if (!made) return std::unexpected(made.error());
  setup.backend = std::move(*made);
  return setup;
}

}  // namespace litecluster::app
