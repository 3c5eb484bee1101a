#include "cli/config_flags.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/bytes.hpp"
#include "base/file.hpp"

namespace litecluster::cli {
namespace {

struct ShortName {
  std::string_view key;
  std::string_view flags;
};

constexpr std::array short_names{
    ShortName{"cluster", ",-C"},
    ShortName{"node", ",-n"},
    ShortName{"nats.urls", ",--nats,-s"},
    ShortName{"nats.credentials_file", ",--creds"},
    ShortName{"nats.user", ",--user"},
    ShortName{"nats.password", ",--password"},
    ShortName{"nats.token", ",--token"},
    ShortName{"nats.nkey", ",--nkey"},
    ShortName{"nats.nkey_seed_file", ",--nkey-seed"},
    ShortName{"nats.tls.ca_file", ",--tls-ca"},
    ShortName{"nats.tls.certificate_file", ",--tls-cert"},
    ShortName{"nats.tls.key_file", ",--tls-key"},
    ShortName{"sqlite.path", ",--db"},
    ShortName{"sqlite.bucket", ",--bucket"},
};

constexpr std::uint64_t config_size_max = 1U << 20U;

}  // namespace

void add_config_flags(CLI::App& command, ConfigFlags& flags, const std::string& group,
                      const std::function<bool(std::string_view key)>& wanted) {
  command.add_option("-c,--config", flags.config_file, "configuration file to take these from")
      ->envname("LITECLUSTER_CONFIG")
      ->group(group);
  for (const daemon::ConfigKey& key : daemon::config_keys()) {
    if (!wanted(key.name)) continue;
    std::string names = key.flag();
    const auto* extra = std::ranges::find(short_names, key.name, &ShortName::key);
    if (extra != short_names.end()) names += extra->flags;
    const auto store = [&flags, &key](const std::vector<std::string>& values) {
      flags.given.emplace_back(key.name, key.values_of(values));
    };
    command.add_option_function<std::vector<std::string>>(names, store, key.help)
        ->envname(key.environment_variable())
        // One value behind each flag; a list may repeat it. Otherwise the arguments that follow would be
        // taken, too.
        ->type_size(1)
        ->expected(key.list ? -1 : 1)
        ->allow_extra_args(false)
        ->group(group);
  }
}

Result<daemon::Config> resolve_config(const ConfigFlags& flags) {
  daemon::Config config;
  if (!flags.config_file.empty()) {
    const auto text = base::read_file(flags.config_file, config_size_max);
    if (!text) {
      return failure(ErrorCode::invalid_argument, "read configuration", flags.config_file,
                     text.error().reason());
    }
    if (auto read = daemon::read_yaml(config, std::string(base::as_text(*text)), flags.config_file); !read) {
      return std::unexpected(read.error());
    }
  }
  for (const auto& [key, values] : flags.given) {
    if (auto set = daemon::set_config(config, key, values, "flags"); !set)
      return std::unexpected(set.error());
  }
  std::vector<std::string> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) environment.emplace_back(*variable);
  if (auto known = daemon::check_variables(environment); !known) return std::unexpected(known.error());
  return config;
}

}  // namespace litecluster::cli
