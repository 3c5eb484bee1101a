// After a command line that was not understood: which flag or command may have been meant.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace litecluster::cli {

/// Whether the command line begins with words that are no command, as in `litecluster snyc --help`.
[[nodiscard]] bool begins_with_unknown_command(const CLI::App& program,
                                               const std::vector<std::string>& arguments);

/// Prints the nearest known name of the first unknown flag or command to standard error; nothing when there
/// is none.
void suggest(const CLI::App& program, const std::vector<std::string>& arguments);

}  // namespace litecluster::cli
