// A program that runs beside the benchmark, and what it has used of the machine.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include <sys/types.h>

namespace litecluster::bench {

struct Usage {
  /// Of all its threads since it was started.
  double cpu_seconds = 0;
  /// Resident memory, and the part of it that belongs to no file.
  double resident_mebibytes = 0;
  double private_mebibytes = 0;  ///< of the resident: pages that no other process has
  double anonymous_mebibytes = 0;
  /// Times that its threads went to sleep.
  std::uint64_t sleeps = 0;
};
/// Of one process. Zeros when it is gone.
[[nodiscard]] Usage usage_of(pid_t process);

/// Started with its output in a file; ended by SIGTERM and reaped when destroyed, killed after a while.
class Child {
 public:
  Child(const std::vector<std::string>& command, const std::filesystem::path& output);
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  [[nodiscard]] pid_t process_id() const { return pid_; }
  [[nodiscard]] Usage usage() const { return usage_of(pid_); }
  /// Of it and all that descend from it.
  [[nodiscard]] std::vector<pid_t> family() const;
  void stop();
  void signal(int number) const;
  /// Exit status of a program that ends by itself; -1 for a signal.
  int wait();

 private:
  pid_t pid_ = -1;
};

}  // namespace litecluster::bench
