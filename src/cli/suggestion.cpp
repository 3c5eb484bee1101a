#include "cli/suggestion.hpp"

#include <algorithm>
#include <cstdio>

#include "daemon/nearest_name.hpp"

namespace litecluster::cli {
namespace {

std::vector<std::string> command_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* child : command.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(child->get_name());
  }
  return names;
}

// With those of the commands around it: flags may be given behind a nested command.
std::vector<std::string> flag_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* level = &command; level != nullptr; level = level->get_parent()) {
    for (const CLI::Option* option : level->get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
  }
  return names;
}

const CLI::App* find_command(const CLI::App& command, const std::string& name) {
  for (const CLI::App* child : command.get_subcommands([](const CLI::App*) { return true; })) {
    if (child->get_name() == name) return child;
  }
  return nullptr;
}

}  // namespace

bool begins_with_unknown_command(const CLI::App& program, const std::vector<std::string>& arguments) {
  const CLI::App* command = &program;
  for (const std::string& argument : arguments) {
    if (argument.starts_with("-") || command_names(*command).empty()) return false;
    command = find_command(*command, argument);
    if (command == nullptr) return true;
  }
  return false;
}

void suggest(const CLI::App& program, const std::vector<std::string>& arguments) {
  if (arguments.empty()) std::fputs(program.help().c_str(), stderr);
  const CLI::App* command = &program;
  bool behind_flag = false;  // a word there may be the flag's value
  for (const std::string& argument : arguments) {
    if (argument == "--") return;
    if (argument.starts_with("--")) {
      const std::string name = argument.substr(0, argument.find('='));
      const auto known = flag_names(*command);
      behind_flag = true;
      if (std::ranges::find(known, name) != known.end()) continue;
      std::fprintf(stderr, "%s is not known; did you mean %s?\n", name.c_str(),
                   daemon::nearest_name(name, known).c_str());
      return;
    }
    if (argument.starts_with("-")) {
      behind_flag = true;
      continue;
    }
    if (const CLI::App* child = find_command(*command, argument)) {
      command = child;
    } else if (const auto known = command_names(*command); !known.empty() && !behind_flag) {
      std::fprintf(stderr, "%s is no command; did you mean %s?\n", argument.c_str(),
                   daemon::nearest_name(argument, known).c_str());
      return;
    }
  }
}

}  // namespace litecluster::cli
