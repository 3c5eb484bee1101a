#include "base/fault_point.hpp"

#if defined(LITECLUSTER_FAULT_POINTS)

#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/mutex.hpp"

namespace litecluster::base {

namespace {

struct Fault {
  std::string name;
  std::string action;
  std::uint64_t countdown = 1;
};

// Parses "name=action[@count]".
Fault parse_fault(std::string_view text) {
  Fault fault;
  const std::size_t equals = text.find('=');
  fault.name = text.substr(0, equals);
  std::string_view action = equals == std::string_view::npos ? "kill" : text.substr(equals + 1);
  if (const std::size_t at = action.find('@'); at != std::string_view::npos) {
    const std::string_view count = action.substr(at + 1);
    std::from_chars(count.data(), count.data() + count.size(), fault.countdown);
    action = action.substr(0, at);
  }
  fault.action = action;
  return fault;
}

std::vector<Fault> parse_faults() {
  std::vector<Fault> faults;
  const char* variable = std::getenv("LITECLUSTER_FAULT");
  std::string_view rest = variable == nullptr ? "" : variable;
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    faults.push_back(parse_fault(rest.substr(0, comma)));
    rest = comma == std::string_view::npos ? "" : rest.substr(comma + 1);
  }
  return faults;
}

struct FaultTable {
  Mutex mutex;
  std::vector<Fault> faults;
};

FaultTable& fault_table() {
  static FaultTable table{{}, parse_faults()};
  return table;
}

// What the file that arms this point says. Removing it decides who acts, when several get here.
std::string take_armed_file(const std::filesystem::path& file) {
  std::string action;
  {
    std::ifstream input(file);
    if (!input) return {};
    std::getline(input, action);
  }
  std::error_code error;
  return std::filesystem::remove(file, error) ? action : std::string();
}

}  // namespace

void reload_fault_points() {
  FaultTable& table = fault_table();
  const MutexLock lock(table.mutex);
  table.faults = parse_faults();
}

bool reach_fault_point(std::string_view name) {
  static const char* const directory = std::getenv("LITECLUSTER_FAULT_DIRECTORY");
  auto& [mutex, faults] = fault_table();
  if (faults.empty() && directory == nullptr) return false;
  std::string action;
  if (directory != nullptr) action = take_armed_file(std::filesystem::path(directory) / name);
  {
    const MutexLock lock(mutex);
    for (Fault& fault : faults) {
      if (fault.name != name || fault.countdown == 0) continue;
      if (--fault.countdown == 0) action = fault.action;
    }
  }
  if (action == "kill_parent") ::kill(::getppid(), SIGKILL);
  if (action == "kill" || action == "kill_parent") ::kill(::getpid(), SIGKILL);
  if (action == "stop") ::kill(::getpid(), SIGSTOP);
  return action == "fail";
}

}  // namespace litecluster::base

#endif
