// One look at whether a backend answers. Blocking, with a timeout.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include <litecluster/error.hpp>

namespace litecluster::backend {

/// Healthy while it runs.
struct ExitProbe {};
/// Healthy when a connection is accepted.
struct TcpProbe {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
};
/// Healthy when GET answers 2xx or 3xx.
struct HttpProbe {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
  std::string path = "/";
};
/// Healthy when the command ends with status 0.
struct CommandProbe {
  std::vector<std::string> arguments;
};
using HealthProbe = std::variant<ExitProbe, TcpProbe, HttpProbe, CommandProbe>;

/// "tcp://host:port", "http://host[:port][/path]", "exec:command arguments" (run by /bin/sh), or empty for
/// ExitProbe. invalid_argument otherwise.
[[nodiscard]] Result<HealthProbe> parse_health_probe(std::string_view text);

/// Errors: unavailable (refused, no answer, bad status), deadline_exceeded. Never longer than `timeout`.
[[nodiscard]] Status check_health(const HealthProbe& probe, std::chrono::nanoseconds timeout);

}  // namespace litecluster::backend
