#include "support/child.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "support/report.hpp"

namespace litecluster::bench {
namespace {

namespace fs = std::filesystem;

std::uint64_t number_behind(const std::string& text, std::string_view key) {
  const auto at = text.find(key);
  return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + key.size(), nullptr, 10);
}

std::string content_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

pid_t parent_of(pid_t process) {
  return static_cast<pid_t>(number_behind(content_of(fmt::format("/proc/{}/status", process)), "PPid:"));
}

}  // namespace

Usage usage_of(pid_t process) {
  Usage usage;
  const fs::path directory = fmt::format("/proc/{}", process);
  std::error_code ignored;
  for (const auto& thread : fs::directory_iterator(directory / "task", ignored)) {
    // Nanoseconds on a processor, nanoseconds waiting for one, time slices.
    usage.cpu_seconds += std::strtod(content_of(thread.path() / "schedstat").c_str(), nullptr) / 1e9;
    usage.sleeps += number_behind(content_of(thread.path() / "status"), "\nvoluntary_ctxt_switches:");
  }
  const std::string status = content_of(directory / "status");
  if (status.empty()) fail(fmt::format("process {}, which is measured, has ended", process));
  usage.resident_mebibytes = static_cast<double>(number_behind(status, "VmRSS:")) / 1024;
  const std::string pages = content_of(directory / "smaps_rollup");
  usage.private_mebibytes =
      static_cast<double>(number_behind(pages, "Private_Clean:") + number_behind(pages, "Private_Dirty:")) /
      1024;
  usage.anonymous_mebibytes = static_cast<double>(number_behind(status, "RssAnon:")) / 1024;
  return usage;
}

Child::Child(const std::vector<std::string>& command, const fs::path& output) {
  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  const int file = ::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0) fail(fmt::format("cannot write {}", output.string()));
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    ::dup2(file, 1);
    ::dup2(file, 2);
    ::execvp(arguments.front(), arguments.data());
    ::_exit(127);
  }
  ::close(file);
  if (pid_ < 0) fail("cannot fork");
}

Child::Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}

Child::~Child() {
  stop();
}

void Child::signal(int number) const {
  if (pid_ > 0) ::kill(pid_, number);
}

int Child::wait() {
  int status = 0;
  if (pid_ > 0) ::waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void Child::stop() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGTERM);
  for (int tries = 0; tries < 500; ++tries) {
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = -1;
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ::kill(pid_, SIGKILL);
  wait();
}

std::vector<pid_t> Child::family() const {
  std::vector<pid_t> found{pid_};
  std::vector<std::pair<pid_t, pid_t>> all;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const auto process = static_cast<pid_t>(std::atoi(entry.path().filename().c_str()));
    if (process > 0) all.emplace_back(process, parent_of(process));
  }
  for (std::size_t index = 0; index < found.size(); ++index) {
    for (const auto& [process, parent] : all) {
      if (parent == found[index]) found.push_back(process);
    }
  }
  return found;
}

}  // namespace litecluster::bench
