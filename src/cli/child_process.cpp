#include "cli/child_process.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <string_view>
#include <system_error>

extern char** environ;

namespace litecluster::cli {
namespace {

constexpr unsigned first_descriptor = 3;  // what is smaller is a standard stream

std::vector<std::string> environment_with(const Program::Variables& added) {
  std::vector<std::string> result;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    const bool replaced = std::ranges::any_of(
        added, [&](const auto& entry) { return text.substr(0, text.find('=')) == entry.first; });
    if (!replaced) result.emplace_back(text);
  }
  for (const auto& [name, value] : added) result.push_back(name + "=" + value);
  return result;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

std::optional<int> number_of(const std::filesystem::directory_entry& entry) {
  const std::string name = entry.path().filename();
  int number = 0;
  const auto [end, problem] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (problem != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

bool passed_to_children(int descriptor) {
  const int flags = ::fcntl(descriptor, F_GETFD);
  return flags >= 0 && (flags & FD_CLOEXEC) == 0;
}

}  // namespace

Program::Program(const std::vector<std::string>& command, const Variables& added)
    : arguments_(command),
      variables_(environment_with(added)),
      argv_(pointers(arguments_)),
      envp_(pointers(variables_)) {}

void Program::execute() const {
  ::execvpe(argv_.front(), argv_.data(), envp_.data());
}

void Inheritance::remember() {
  ::sigaction(SIGPIPE, nullptr, &broken_pipe_);
  std::vector<unsigned> inherited;
  std::error_code problem;
  std::filesystem::directory_iterator entry("/proc/self/fd", problem);
  for (; !problem && entry != std::filesystem::directory_iterator(); entry.increment(problem)) {
    const auto number = number_of(*entry);
    if (number && passed_to_children(*number)) inherited.push_back(static_cast<unsigned>(*number));
  }
  if (problem) return;  // better a descriptor too many than one too few
  std::ranges::sort(inherited);
  unsigned first = first_descriptor;
  for (const unsigned descriptor : inherited) {
    if (descriptor < first_descriptor) continue;
    if (first < descriptor) opened_later_.emplace_back(first, descriptor - 1);
    first = descriptor + 1;
  }
  opened_later_.emplace_back(first, std::numeric_limits<unsigned>::max());
}

void Inheritance::restore() const {
  ::sigaction(SIGPIPE, &broken_pipe_, nullptr);
  for (const auto& [first, last] : opened_later_) ::close_range(first, last, CLOSE_RANGE_CLOEXEC);
}

bool group_lives(pid_t group) {
  std::error_code problem;
  std::filesystem::directory_iterator entry("/proc", problem);
  for (; !problem && entry != std::filesystem::directory_iterator(); entry.increment(problem)) {
    if (!number_of(*entry)) continue;
    std::ifstream file(entry->path() / "stat");
    std::string line;
    std::getline(file, line);
    // 17 (name) S 1 17 …: number, name, state, parent, group. The name may hold anything.
    const std::size_t name_end = line.rfind(')');
    char state = 0;
    int member_of = 0;
    if (name_end == std::string::npos ||
        std::sscanf(line.c_str() + name_end, ") %c %*d %d", &state, &member_of) != 2) {
      continue;
    }
    if (member_of == group && state != 'Z' && state != 'X') return true;
  }
  return static_cast<bool>(problem);
}

}  // namespace litecluster::cli
