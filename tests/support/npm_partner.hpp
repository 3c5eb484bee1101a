// Clients of NATS in JavaScript that the tests drive as independent partners: where scripts/optional-partners
// has put them, and running them.
#pragma once

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

namespace litecluster::test {

/// The directory that holds node_modules: below $LITECLUSTER_PARTNERS, or where the build was told to look.
inline std::filesystem::path npm_directory() {
  const char* const named = std::getenv("LITECLUSTER_PARTNERS");
  const std::filesystem::path partners = named != nullptr && *named != '\0' ? named : LITECLUSTER_PARTNERS;
  return partners / "npm";
}

/// Why `package` cannot be used; nullopt when it can.
inline std::optional<std::string> missing_npm_package(const std::string& package) {
  if (!std::filesystem::exists(npm_directory() / "node_modules" / package)) {
    return package + " is not installed; scripts/optional-partners fetches it from npm";
  }
  if (std::system("node --version > /dev/null 2>&1") != 0) return "node is not installed";
  return std::nullopt;
}

struct ScriptResult {
  int status = -1;  ///< as of pclose(3)
  std::string output;
};

/// `command` in a shell; what it prints.
inline ScriptResult run_script(const std::string& command) {
  ScriptResult result;
  std::FILE* const pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return result;
  std::array<char, 4096> buffer{};
  while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    result.output.append(buffer.data(), count);
  }
  result.status = ::pclose(pipe);
  return result;
}

}  // namespace litecluster::test
