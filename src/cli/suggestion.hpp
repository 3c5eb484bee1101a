// After a command line that was not understood: which flag or command may have been meant.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace litecluster::cli {

/// Prints the nearest known name of the first unknown flag or command to standard error; nothing when there
/// is none.
void suggest(const CLI::App& program, const std::vector<std::string>& arguments);

}  // namespace litecluster::cli
