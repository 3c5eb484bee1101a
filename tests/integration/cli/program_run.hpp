// The program as a script runs it.
#pragma once

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <string>

#include <fmt/format.h>

namespace litecluster::test {

struct ProgramRun {
  int status = -1;
  std::string text;  ///< standard output
};

/// Runs a line of shell in which `$program` is the program; one that does not end gets status 124 after a
/// minute.
inline ProgramRun run_shell(const std::string& line, const std::string& environment = {}) {
  ProgramRun run;
  const std::string script =
      fmt::format("{} program='timeout 60 {}/litecluster'\n{}", environment, LITECLUSTER_BINARY_DIR, line);
  FILE* const pipe = ::popen(script.c_str(), "r");
  if (pipe == nullptr) return run;
  std::array<char, 4096> buffer{};
  while (const std::size_t size = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    run.text.append(buffer.data(), size);
  }
  const int status = ::pclose(pipe);
  run.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return run;
}

}  // namespace litecluster::test
