// Flags of all commands that talk to NATS: the keys `cluster` and `nats.*` of the configuration as flags
// (`--nats-request-timeout`) and in the environment (`LITECLUSTER_NATS_REQUEST_TIMEOUT`), with short names
// for the common ones, and `-c FILE` to take them from a configuration file. Flags win over the environment,
// that over the file.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <litecluster/error.hpp>
#include <litecluster/nats_options.hpp>

namespace litecluster::cli {

/// Filled by the parser; has to outlive it.
struct ConnectionOptions {
  std::string config_file;
  std::string bucket;
  /// Configuration keys with what was given for them.
  std::vector<std::pair<std::string, std::vector<std::string>>> given;
};

/// What the flags, the environment and the file say together.
struct ConnectionSettings {
  std::string cluster;
  std::string node;
  std::string bucket;
  NatsOptions nats;
};

/// Adds the flags to a command or to a group of commands, which then let unknown flags fall through to it.
void add_connection_options(CLI::App& command, ConnectionOptions& options);

/// invalid_argument names the flag, variable or line of the file. A missing cluster is no error here.
[[nodiscard]] Result<ConnectionSettings> resolve(const ConnectionOptions& options);

}  // namespace litecluster::cli
