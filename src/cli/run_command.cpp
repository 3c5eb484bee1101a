// `litecluster run`.
#include <memory>
#include <string>
#include <vector>

#include "base/heap.hpp"
#include "cli/commands.hpp"
#include "cli/config_flags.hpp"
#include "daemon/node_process.hpp"

namespace litecluster::cli {
namespace {

struct Arguments {
  ConfigFlags flags;
  std::vector<std::string> backend;
};

void run(CommandLine& line, const Arguments& arguments) {
  auto config = resolve_config(arguments.flags);
  if (!config) return report(line, config.error());
  if (!arguments.backend.empty()) {
    if (!config->app.backend) config->app.backend.emplace();
    config->app.backend->command = arguments.backend;
  }
  if (const auto valid = daemon::validate(*config); !valid) return report(line, valid.error());
  base::use_one_heap();
  line.exit_status = static_cast<ExitStatus>(daemon::run_node_process(*config));
}

}  // namespace

void add_run_commands(CommandLine& line) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* node =
      line.program.add_subcommand("run", "Take part in a cluster: follow, and lead when it is our turn");
  add_config_flags(*node, arguments->flags, "Settings", [](std::string_view) { return true; });
  node->add_option("backend", arguments->backend, "after --: the application and its arguments");
  node->positionals_at_end();
  node->callback([&line, arguments] { run(line, *arguments); });
}

}  // namespace litecluster::cli
