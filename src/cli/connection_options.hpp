// Flags of all commands that talk to NATS: the keys `cluster` and `nats.*` of the configuration
// (config_flags.hpp), and the bucket.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

#include <litecluster/error.hpp>
#include <litecluster/nats_options.hpp>

#include "cli/config_flags.hpp"

namespace litecluster::cli {

/// Filled by the parser; has to outlive it.
struct ConnectionOptions {
  ConfigFlags flags;
  std::string bucket;
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
