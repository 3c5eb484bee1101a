#include "cli/commands.hpp"

#include <cstdio>

namespace litecluster::cli {

ExitStatus exit_status_for(const Error& error) {
  switch (error.code()) {
    case ErrorCode::not_leader:
    case ErrorCode::not_found:
    case ErrorCode::conflict:
    case ErrorCode::already_exists:
    case ErrorCode::deposed: return ExitStatus::refused;
    case ErrorCode::invalid_argument: return ExitStatus::usage;
    default: return ExitStatus::failed;
  }
}

void report(CommandLine& line, const Error& error) {
  std::fprintf(stderr, "litecluster: %s\n", error.message().c_str());
  line.exit_status = exit_status_for(error);
}

}  // namespace litecluster::cli
