// Runs the program's commands against a server of the test.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>
#include <thread>

#include <fmt/format.h>

#include "support/nats_fixture.hpp"

namespace litecluster::test {

using namespace std::chrono_literals;

struct Output {
  int status = -1;
  std::string text;
};

class LockCommand : public NatsTest {
 protected:
  std::string program() const {
    return fmt::format("LITECLUSTER_NATS_URLS={} LITECLUSTER_CLUSTER=myapp {}/litecluster", server_->url(),
                       LITECLUSTER_BINARY_DIR);
  }
  /// Runs it in a shell; standard error goes with standard output.
  Output run(const std::string& arguments, const std::string& before = {}) const {
    Output output;
    FILE* const pipe = ::popen((before + program() + " " + arguments + " 2>&1").c_str(), "r");
    if (pipe == nullptr) return output;
    std::array<char, 4096> buffer{};
    while (const std::size_t size = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
      output.text.append(buffer.data(), size);
    }
    const int status = ::pclose(pipe);
    output.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return output;
  }
  /// Starts it without waiting; its process id. `env`: the program that starts it, with options.
  pid_t start(const std::string& arguments, const std::string& env = "env") const {
    const std::string command = "exec " + env + " " + program() + " " + arguments;
    const pid_t child = ::fork();
    if (child == 0) {
      ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
      ::_exit(127);
    }
    return child;
  }
  static int wait(pid_t child) {
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  std::string file(const std::string& name) const { return (directory_ / name).string(); }
  /// The line of the file with this number, once it is there.
  static std::string line_of(const std::string& name, int number) {
    const auto end = std::chrono::steady_clock::now() + 20s;
    while (std::chrono::steady_clock::now() < end) {
      std::ifstream stream(name);
      std::string line;
      for (int index = 0; std::getline(stream, line) && !stream.eof(); ++index) {
        if (index == number) return line;
      }
      std::this_thread::sleep_for(5ms);
    }
    return "nothing";
  }
  static std::string first_line(const std::string& name) { return line_of(name, 0); }
  /// Whether it ends, looked at for as long.
  static bool ends_within(pid_t process, std::chrono::milliseconds limit) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (std::chrono::steady_clock::now() < end) {
      // A zombie without a parent that reaps it has ended, too.
      std::ifstream stat(fmt::format("/proc/{}/stat", process));
      std::string line;
      if (!std::getline(stat, line) || line.find(") Z") != std::string::npos) return true;
      std::this_thread::sleep_for(5ms);
    }
    return false;
  }
};

}  // namespace litecluster::test
