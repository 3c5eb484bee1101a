#include "cli/connection_options.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/bytes.hpp"
#include "base/file.hpp"
#include "daemon/config.hpp"

namespace litecluster::cli {
namespace {

struct ShortName {
  std::string_view key;
  std::string_view flags;
};

constexpr std::array short_names{
    ShortName{"cluster", ",-C"},
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
};

constexpr std::uint64_t config_size_max = 1U << 20U;

bool about_connections(const std::string& key) {
  return key == "cluster" || key.starts_with("nats.");
}

std::vector<std::string> split_at_commas(const std::vector<std::string>& texts) {
  std::vector<std::string> parts;
  for (std::string_view text : texts) {
    while (true) {
      const std::size_t comma = std::min(text.find(','), text.size());
      if (comma > 0) parts.emplace_back(text.substr(0, comma));
      if (comma == text.size()) break;
      text.remove_prefix(comma + 1);
    }
  }
  return parts;
}

}  // namespace

void add_connection_options(CLI::App& command, ConnectionOptions& options) {
  constexpr const char* group = "Connection";
  command.add_option("-c,--config", options.config_file, "configuration file to take these from")
      ->envname("LITECLUSTER_CONFIG")
      ->group(group);
  command.add_option("--bucket", options.bucket, "bucket, instead of the one named after the cluster")
      ->group(group);
  for (const daemon::ConfigKey& key : daemon::config_keys()) {
    if (!about_connections(key.name)) continue;
    std::string names = key.flag();
    const auto* extra = std::ranges::find(short_names, key.name, &ShortName::key);
    if (extra != short_names.end()) names += extra->flags;
    const auto store = [&options, name = key.name, list = key.list](const std::vector<std::string>& values) {
      options.given.emplace_back(name, list ? split_at_commas(values) : values);
    };
    command.add_option_function<std::vector<std::string>>(names, store, key.help)
        ->envname(key.environment_variable())
        ->expected(1)
        ->group(group);
  }
  command.fallthrough();
}

Result<ConnectionSettings> resolve(const ConnectionOptions& options) {
  daemon::Config config;
  if (!options.config_file.empty()) {
    const auto text = base::read_file(options.config_file, config_size_max);
    if (!text) return std::unexpected(text.error());
    if (const Status read = daemon::read_yaml(config, std::string(base::as_text(*text)), options.config_file);
        !read) {
      return std::unexpected(read.error());
    }
  }
  for (const auto& [key, values] : options.given) {
    if (const Status set = daemon::set_config(config, key, values, "flags"); !set) {
      return std::unexpected(set.error());
    }
  }
  return ConnectionSettings{.cluster = config.app.cluster,
                            .node = config.app.node,
                            .bucket = options.bucket,
                            .nats = config.app.nats};
}

}  // namespace litecluster::cli
