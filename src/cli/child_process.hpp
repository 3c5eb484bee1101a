// What a program that starts another one has to prepare before the fork, and may ask about it afterwards.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <string>
#include <utility>
#include <vector>

namespace litecluster::cli {

/// Arguments and environment as exec wants them. Made before the fork: a child may not allocate.
class Program {
 public:
  using Variables = std::vector<std::pair<std::string, std::string>>;

  /// `added` goes before what our environment has of the same names.
  Program(const std::vector<std::string>& command, const Variables& added);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  /// Looks for it in PATH. Returns only when that did not work, with errno.
  void execute() const;

 private:
  std::vector<std::string> arguments_;
  std::vector<std::string> variables_;
  std::vector<char*> argv_;
  std::vector<char*> envp_;
};

/// Keeps from a child what libraries have changed in us and what is none of its business: SIGPIPE that is
/// ignored, and open descriptors that exec does not close.
class Inheritance {
 public:
  /// Call it before any library has done anything.
  void remember();
  /// In the child, before exec; only system calls. What we inherited the child gets, and nothing else.
  void restore() const;

 private:
  struct sigaction broken_pipe_{};
  std::vector<std::pair<unsigned, unsigned>> opened_later_;  // ranges of the descriptors not inherited
};

/// Whether any process of the group runs, zombies left out. True when /proc does not tell.
[[nodiscard]] bool group_lives(pid_t group);

}  // namespace litecluster::cli
