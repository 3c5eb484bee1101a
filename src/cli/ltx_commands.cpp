// `litecluster ltx`: look into, check, join and apply LTX files.
#include "cli/commands.hpp"

namespace litecluster::cli {

void add_ltx_commands(CommandLine& line) {
  CLI::App* ltx = line.program.add_subcommand("ltx", "Work with LTX files");
  ltx->require_subcommand(1);
}

}  // namespace litecluster::cli
