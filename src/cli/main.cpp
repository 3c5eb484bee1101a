// Entry point of the program `litecluster`.
#include <cstdio>
#include <exception>

#include "cli/commands.hpp"
#include "cli/standard_streams.hpp"
#include "cli/suggestion.hpp"

int main(int argc, char** argv) {
  using litecluster::cli::ExitStatus;
  if (!litecluster::cli::open_standard_descriptors()) return static_cast<int>(ExitStatus::failed);
  CLI::App program("High availability for SQLite applications over NATS JetStream", "litecluster");
  program.set_version_flag("--version", "litecluster " LITECLUSTER_VERSION);
  program.require_subcommand(1);

  litecluster::cli::CommonOptions common;
  ExitStatus exit_status = ExitStatus::fine;
  litecluster::cli::CommandLine line{program, common, exit_status};
  litecluster::cli::add_cluster_commands(line);
  litecluster::cli::add_check_command(line);
  litecluster::cli::add_demo_command(line);
  litecluster::cli::add_kv_commands(line);
  litecluster::cli::add_lock_commands(line);
  litecluster::cli::add_ltx_commands(line);
  litecluster::cli::add_replicate_commands(line);
  litecluster::cli::add_restore_command(line);
  litecluster::cli::add_run_commands(line);
  litecluster::cli::add_snapshot_commands(line);

  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help and --version end the parse this way
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    if (!litecluster::cli::begins_with_unknown_command(program, arguments)) return program.exit(success);
    litecluster::cli::suggest(program, arguments);
    return static_cast<int>(ExitStatus::usage);
  } catch (const CLI::ParseError& error) {
    program.exit(error);
    litecluster::cli::suggest(program, std::vector<std::string>(argv + 1, argv + argc));
    return static_cast<int>(ExitStatus::usage);
  } catch (const std::exception& error) {
    // Of a library, such as fmt's when standard output cannot be written.
    std::fprintf(stderr, "litecluster: %s\n", error.what());
    return static_cast<int>(ExitStatus::failed);
  }
  if (!litecluster::cli::finish_standard_output() && exit_status == ExitStatus::fine)
    exit_status = ExitStatus::failed;
  return static_cast<int>(exit_status);
}
