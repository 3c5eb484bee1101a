// Configuration of the daemon: a YAML file, then the environment, then flags; each overrides what came
// before.
//
// There is one table of keys (config_keys.cpp). A key `sqlite.path` is read from
//   YAML          sqlite: { path: … }
//   environment   LITECLUSTER_SQLITE_PATH
//   flag          --sqlite-path
// so that the three can never drift apart. A key that is not in the table is an error that names the nearest
// one.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <litecluster/app_options.hpp>
#include <litecluster/error.hpp>

#include "base/logging.hpp"

namespace litecluster::daemon {

/// Everything that `litecluster run` can be told.
struct Config {
  AppOptions app;
  /// State of this node beside the database, and the store of an embedded nats-server. Empty: the
  /// database's directory.
  std::filesystem::path data_directory;
  /// Control socket. Empty: `<data_directory>/litecluster-<node>.sock`.
  std::filesystem::path socket;
  /// "127.0.0.1:9464" serves /health, /ready and /metrics; empty: off.
  std::string http_listen;
  base::LogLevel log_level = base::LogLevel::info;
  base::LogFormat log_format = base::LogFormat::automatic;
  /// Commands run at a hook: "on_active" -> program and arguments.
  std::map<std::string, std::vector<std::string>> hooks;
};

/// One key of the table.
struct ConfigKey {
  std::string name;   ///< "sqlite.path"
  std::string help;   ///< one line for --help and docs/configuration.md
  bool list = false;  ///< takes several values: a YAML sequence, or one text, see values_of()
  /// Stores the value(s); an Error's reason says what would be accepted.
  std::function<Status(Config&, const std::vector<std::string>&)> set;

  [[nodiscard]] std::string environment_variable() const;
  [[nodiscard]] std::string flag() const;
  /// What a text stands for, in YAML, the environment or a flag alike. A list is split at its commas; a
  /// command at its blanks, as a person writes it, and only without any at commas. A flag that is repeated
  /// gives each word of a command as it is.
  [[nodiscard]] std::vector<std::string> values_of(const std::vector<std::string>& texts) const;
};

/// The whole table, in the order of the documentation.
[[nodiscard]] const std::vector<ConfigKey>& config_keys();

/// The known key nearest to `name` by edits, for error messages.
[[nodiscard]] std::string nearest_key(std::string_view name);

/// Stores one value under its key. `source` is what to blame: "litecluster.yaml:7", "--lease-ttl".
[[nodiscard]] Status set_config(Config& config, std::string_view name, const std::vector<std::string>& values,
                                const std::string& source);

/// Reads YAML text. `db:` is an alias of `sqlite:`, and either may be just a path.
[[nodiscard]] Status read_yaml(Config& config, const std::string& text, const std::string& file_name);

/// Refuses (invalid_argument) an environment ("NAME=value") with a LITECLUSTER_* variable that looks as if a
/// key was meant: misspelt by a few letters, or without its section. Others are left to whoever uses them:
/// hooks and tests do, and Kubernetes sets some for a service of this name.
[[nodiscard]] Status check_variables(const std::vector<std::string>& environment);

/// Checks what only the whole can tell: names, durations against each other, what belongs together.
[[nodiscard]] Status validate(const Config& config);

}  // namespace litecluster::daemon
