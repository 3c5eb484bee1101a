// The default of options that name a directory for temporary files.
#pragma once

#include <filesystem>
#include <string>
#include <system_error>

namespace litecluster::cli {

/// Of the environment, or /tmp where that names none. Every command of the program comes past here when it
/// registers its options, the agent too: so nothing is thrown.
[[nodiscard]] inline std::string default_temporary_directory() {
  std::error_code error;
  const auto directory = std::filesystem::temp_directory_path(error);
  return error ? "/tmp" : directory.string();
}

}  // namespace litecluster::cli
