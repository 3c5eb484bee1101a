// Configuration keys as flags of a command: `--sqlite-retention` for `sqlite.retention`, with short names for
// the common ones, each also from the environment, and `-c FILE` for a file. Flags win over the environment,
// that over the file.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <litecluster/error.hpp>

#include "daemon/config.hpp"

namespace litecluster::cli {

/// Filled by the parser; has to outlive it.
struct ConfigFlags {
  std::string config_file;
  /// Keys with what was given for them.
  std::vector<std::pair<std::string, std::vector<std::string>>> given;
};

/// Adds the flags of all keys for which `wanted` says so, and `-c`.
void add_config_flags(CLI::App& command, ConfigFlags& flags, const std::string& group,
                      const std::function<bool(std::string_view key)>& wanted);

/// What file, environment and flags say together. invalid_argument names the flag, variable or line.
[[nodiscard]] Result<daemon::Config> resolve_config(const ConfigFlags& flags);

}  // namespace litecluster::cli
