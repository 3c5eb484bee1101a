// The command line. Each group of commands lives in a file of its own and registers itself with one function
// below; main.cpp only puts them together. A command writes its result to standard output, errors to standard
// error, and leaves its exit status in CommandLine::exit_status.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <litecluster/error.hpp>

namespace litecluster::cli {

/// What scripts may rely on.
enum class ExitStatus : int {
  fine = 0,
  failed = 1,
  usage = 2,
  refused = 3,  ///< not leader, not found, conflict
};

/// Flags that every command understands.
struct CommonOptions {
  bool json = false;
};

/// Handed to every group; outlives the parsing and the command that runs.
struct CommandLine {
  CLI::App& program;
  CommonOptions& common;
  ExitStatus& exit_status;
};

/// The exit status that an error of this kind maps to.
[[nodiscard]] ExitStatus exit_status_for(const Error& error);

/// Prints "litecluster: <message>" to standard error and records the exit status.
void report(CommandLine& line, const Error& error);

void add_cluster_commands(CommandLine& line);
void add_check_command(CommandLine& line);
void add_demo_command(CommandLine& line);
void add_kv_commands(CommandLine& line);
void add_lock_commands(CommandLine& line);
void add_ltx_commands(CommandLine& line);
void add_replicate_commands(CommandLine& line);
void add_restore_command(CommandLine& line);
void add_run_commands(CommandLine& line);
void add_snapshot_commands(CommandLine& line);

}  // namespace litecluster::cli
