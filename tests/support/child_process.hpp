// Children of a test: forked copies that run a function, or another program, and are always reaped.
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "base/fault_point.hpp"

namespace litecluster::test {

/// Arms a fault point (base/fault_point.hpp) in this process.
inline void set_fault(const std::string& fault) {
  ::setenv("LITECLUSTER_FAULT", fault.c_str(), 1);
#if defined(LITECLUSTER_FAULT_POINTS)
  base::reload_fault_points();
#endif
}

/// Killed and reaped at the latest when destroyed. Fork before the process has threads or open databases.
class ChildProcess {
 public:
  /// Runs `body` in a forked copy of this process, which ends with its result as exit status.
  static ChildProcess run(const std::function<int()>& body) {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(body());
    return ChildProcess(pid);
  }

  /// Another program, in a process of its own.
  static ChildProcess execute(std::vector<std::string> command) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      std::vector<char*> arguments;
      for (std::string& part : command) arguments.push_back(part.data());
      arguments.push_back(nullptr);
      ::execv(arguments.front(), arguments.data());
      ::_exit(127);
    }
    return ChildProcess(pid);
  }

  ChildProcess(ChildProcess&& other) noexcept : pid_(std::exchange(other.pid_, -1)), status_(other.status_) {}
  ChildProcess& operator=(ChildProcess&&) = delete;
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess() {
    kill();
    wait();
  }

  void kill() const {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
  }
  [[nodiscard]] bool ended() {
    if (pid_ > 0 && ::waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = -1;
    return pid_ <= 0;
  }
  /// Waits for the end and describes it: "0" is success, "signal 9" and so on.
  std::string wait() {
    if (pid_ > 0) ::waitpid(pid_, &status_, 0);
    pid_ = -1;
    if (WIFSIGNALED(status_)) return "signal " + std::to_string(WTERMSIG(status_));
    return std::to_string(WEXITSTATUS(status_));
  }

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}
  pid_t pid_;
  int status_ = 0;
};

/// A value that forked children share with their parent. Use atomics in it.
template <typename Value>
class SharedValue {
 public:
  SharedValue() {
    void* memory = ::mmap(nullptr, sizeof(Value), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    value_ = new (memory) Value();
  }
  SharedValue(const SharedValue&) = delete;
  SharedValue& operator=(const SharedValue&) = delete;
  ~SharedValue() { ::munmap(value_, sizeof(Value)); }

  Value& operator*() const { return *value_; }
  Value* operator->() const { return value_; }

 private:
  Value* value_;
};

}  // namespace litecluster::test
