#include "cli/guarded_command.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <new>
#include <utility>

#include "base/file_descriptor.hpp"

extern char** environ;

namespace litecluster::cli {
namespace {

constexpr int program_not_started = 127;

std::unexpected<Error> system_error(const char* operation, const std::string& subject) {
  const ErrorCode code = errno == ENOENT   ? ErrorCode::not_found
                         : errno == EACCES ? ErrorCode::permission_denied
                                           : ErrorCode::io;
  return failure(code, operation, subject, std::strerror(errno));
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

}  // namespace

// Lies in memory that both processes see.
struct GuardedCommand::Shared {
  std::atomic<std::int64_t> kill_at_ns{0};
  std::atomic<pid_t> group{0};

  // The watching process: nothing but system calls on what is above.
  [[noreturn]] void watch(int armed) {
    char byte = 0;
    if (::read(armed, &byte, 1) != 1) ::_exit(0);
    while (true) {
      const std::int64_t kill_at = kill_at_ns.load();
      const std::int64_t now = base::BootClock::now().time_since_epoch().count();
      if (now < kill_at) {
        const timespec until{.tv_sec = kill_at / 1'000'000'000, .tv_nsec = kill_at % 1'000'000'000};
        ::clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &until, nullptr);
        continue;
      }
      const pid_t running = group.load();
      if (running == 0) ::_exit(0);
      ::kill(-running, SIGKILL);
      const timespec pause{.tv_sec = 0, .tv_nsec = 10'000'000};
      ::nanosleep(&pause, nullptr);
    }
  }
};

struct GuardedCommand::State {
  Shared* shared = nullptr;
  pid_t watcher = 0;
  pid_t child = 0;
  base::FileDescriptor armed;
  base::FileDescriptor child_handle;
  bool gave_terminal = false;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (child > 0) {
      ::kill(-child, SIGKILL);
      reap();
    }
    if (watcher > 0) {
      ::kill(watcher, SIGKILL);
      ::waitpid(watcher, nullptr, 0);
    }
    if (shared != nullptr) ::munmap(shared, sizeof(Shared));
  }

  int reap() {
    // The watcher must forget the number before the kernel may give it to somebody else.
    siginfo_t ended{};
    while (::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
    }
    shared->group = 0;
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    child = 0;
    if (gave_terminal) ::tcsetpgrp(STDIN_FILENO, ::getpgrp());
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
};

GuardedCommand::GuardedCommand(std::unique_ptr<State> state) : state_(std::move(state)) {}
GuardedCommand::GuardedCommand(GuardedCommand&&) noexcept = default;
GuardedCommand& GuardedCommand::operator=(GuardedCommand&&) noexcept = default;
GuardedCommand::~GuardedCommand() = default;

Result<GuardedCommand> GuardedCommand::prepare() {
  auto state = std::make_unique<State>();
  void* const memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return system_error("map shared memory", {});
  state->shared = new (memory) Shared;
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return system_error("make a pipe", {});
  base::FileDescriptor reading(ends[0]);
  state->armed.reset(ends[1]);
  const pid_t parent = ::getpid();
  state->watcher = ::fork();
  if (state->watcher < 0) return system_error("start the watching process", {});
  if (state->watcher == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::prctl(PR_SET_NAME, "lock-guard");
    // Apart from our group, so that what stops us with the terminal does not stop it.
    ::setpgid(0, 0);
    state->armed.reset();
    if (::getppid() != parent) ::_exit(0);
    state->shared->watch(reading.get());
  }
  return GuardedCommand(std::move(state));
}

Status GuardedCommand::start(const std::vector<std::string>& command,
                             const std::vector<std::pair<std::string, std::string>>& environment,
                             base::BootTime kill_at) {
  std::vector<std::string> arguments = command;
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    const bool replaced = std::ranges::any_of(
        environment, [&](const auto& entry) { return text.substr(0, text.find('=')) == entry.first; });
    if (!replaced) variables.emplace_back(text);
  }
  for (const auto& [name, value] : environment) variables.push_back(name + "=" + value);
  const std::vector<char*> argv = pointers(arguments);
  const std::vector<char*> envp = pointers(variables);

  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return system_error("make a pipe", {});
  const base::FileDescriptor reading(ends[0]);
  base::FileDescriptor writing(ends[1]);
  const pid_t parent = ::getpid();
  const bool terminal = ::isatty(STDIN_FILENO) == 1 && ::tcgetpgrp(STDIN_FILENO) == ::getpgrp();
  set_kill_at(kill_at);
  const pid_t child = ::fork();
  if (child < 0) return system_error("start", command.front());
  if (child == 0) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(program_not_started);
    sigset_t none;
    ::sigemptyset(&none);
    if (terminal) {
      ::signal(SIGTTOU, SIG_IGN);
      ::tcsetpgrp(STDIN_FILENO, ::getpid());
      ::signal(SIGTTOU, SIG_DFL);
    }
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::execvpe(argv.front(), argv.data(), envp.data());
    const int problem = errno;
    (void)!::write(writing.get(), &problem, sizeof(problem));
    ::_exit(program_not_started);
  }
  ::setpgid(child, child);
  state_->child = child;
  state_->gave_terminal = terminal;
  state_->shared->group = child;
  (void)!::write(state_->armed.get(), "", 1);
  state_->child_handle.reset(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  writing.reset();
  int problem = 0;
  if (::read(reading.get(), &problem, sizeof(problem)) == sizeof(problem)) {
    (void)state_->reap();
    errno = problem;
    return system_error("start", command.front());
  }
  if (!state_->child_handle) return system_error("watch the command", command.front());
  return {};
}

void GuardedCommand::set_kill_at(base::BootTime time) {
  state_->shared->kill_at_ns = time.time_since_epoch().count();
}

std::optional<int> GuardedCommand::wait(base::Duration timeout) {
  pollfd handle{.fd = state_->child_handle.get(), .events = POLLIN, .revents = 0};
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
  const int ready = ::poll(&handle, 1, static_cast<int>(std::clamp<std::int64_t>(milliseconds, 0, 60'000)));
  if (ready <= 0) return std::nullopt;
  return state_->reap();
}

void GuardedCommand::forward(int signal) const {
  const pid_t group = state_->shared->group;
  if (group > 0) ::kill(-group, signal);
}

}  // namespace litecluster::cli
