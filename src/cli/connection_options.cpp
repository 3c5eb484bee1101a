#include "cli/connection_options.hpp"

#include <string_view>

namespace litecluster::cli {

void add_connection_options(CLI::App& command, ConnectionOptions& options) {
  constexpr const char* group = "Connection";
  add_config_flags(command, options.flags, group,
                   [](std::string_view key) { return key == "cluster" || key.starts_with("nats."); });
  command.add_option("--bucket", options.bucket, "bucket, instead of the one named after the cluster")
      ->group(group);
  command.fallthrough();
}

Result<ConnectionSettings> resolve(const ConnectionOptions& options) {
  auto config = resolve_config(options.flags);
  if (!config) return std::unexpected(config.error());
  return ConnectionSettings{.cluster = config->app.cluster,
                            .node = config->app.node,
                            .bucket = options.bucket,
                            .nats = config->app.nats};
}

}  // namespace litecluster::cli
