#include "cli/guarded_command.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
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
#include <thread>
#include <utility>

#include "base/file_descriptor.hpp"
#include "cli/child_process.hpp"

namespace litecluster::cli {
namespace {

using namespace std::chrono_literals;

constexpr int program_not_started = 127;

std::unexpected<Error> system_error(const char* operation, const std::string& subject) {
  const ErrorCode code = errno == ENOENT   ? ErrorCode::not_found
                         : errno == EACCES ? ErrorCode::permission_denied
                                           : ErrorCode::io;
  return failure(code, operation, subject, std::strerror(errno));
}

timespec to_timespec(std::int64_t nanoseconds) {
  return {.tv_sec = nanoseconds / 1'000'000'000, .tv_nsec = nanoseconds % 1'000'000'000};
}

bool in_foreground() {
  return ::tcgetpgrp(STDIN_FILENO) == ::getpgrp();
}

}  // namespace

// Lies in memory that all three processes see.
struct GuardedCommand::Shared {
  std::atomic<std::int64_t> kill_at_ns{0};
  std::atomic<pid_t> group{0};

  // The watching process: nothing but system calls on what is above. `armed` brings a byte when the command
  // has been started, and ends when we have.
  [[noreturn]] void watch(int armed, int timer) {
    std::array<pollfd, 2> events{pollfd{.fd = armed, .events = POLLIN, .revents = 0},
                                 pollfd{.fd = timer, .events = POLLIN, .revents = 0}};
    while (true) {
      if (::poll(events.data(), events.size(), -1) < 0) continue;
      char byte = 0;
      if (events[0].revents != 0 && ::read(armed, &byte, 1) != 1) kill_orphans();
      std::int64_t next = kill_at_ns.load();
      const std::int64_t now = base::BootClock::now().time_since_epoch().count();
      if (next <= now) {
        const pid_t running = group.load();
        if (running == 0) ::_exit(0);
        ::kill(-running, SIGKILL);
        next = now + 10'000'000;
      }
      const itimerspec at{.it_interval = {}, .it_value = to_timespec(next)};
      ::timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, nullptr);
    }
  }

 private:
  // The kernel kills the command with us, but not what the command has started.
  [[noreturn]] void kill_orphans() {
    // Until nobody is left. Not for ever: zombies that nobody reaps count.
    for (int attempt = 0; attempt < 100; ++attempt) {
      const pid_t running = group.load();
      if (running == 0 || ::kill(-running, SIGKILL) != 0) break;
      const timespec pause = to_timespec(10'000'000);
      ::nanosleep(&pause, nullptr);
    }
    ::_exit(0);
  }
};

struct GuardedCommand::State {
  Shared* shared = nullptr;
  pid_t watcher = 0;
  pid_t child = 0;  // also the number of its group
  // Closes only after the destructor has ended the watcher, which otherwise takes it for our death.
  base::FileDescriptor armed;
  base::FileDescriptor child_handle;
  Inheritance inheritance;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (child > 0) kill_and_reap();
    if (watcher > 0) {
      ::kill(watcher, SIGKILL);
      ::waitpid(watcher, nullptr, 0);
    }
    if (shared != nullptr) ::munmap(shared, sizeof(Shared));
  }

  // Apart from our group, so that what stops us with the terminal does not stop it.
  Status start_watcher() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return system_error("make a pipe", {});
    const base::FileDescriptor reading(ends[0]);
    armed.reset(ends[1]);
    const base::FileDescriptor timer(::timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC));
    if (!timer) return system_error("make a timer", {});
    watcher = ::fork();
    if (watcher < 0) return system_error("start the watching process", {});
    if (watcher == 0) {
      ::prctl(PR_SET_NAME, "lock-guard");
      ::setpgid(0, 0);
      sigset_t all;
      ::sigfillset(&all);
      ::sigprocmask(SIG_SETMASK, &all, nullptr);
      armed.reset();
      shared->watch(reading.get(), timer.get());
    }
    return {};
  }

  // The child, from fork to exec: nothing but system calls.
  [[noreturn]] void become(const Program& program, pid_t parent, bool with_terminal, int problem_pipe) {
    ::setpgid(0, 0);
    // The watcher sees our end only when exec closes our copy of `armed`: from then on it knows the group.
    shared->group = ::getpid();
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(program_not_started);
    if (with_terminal) ::tcsetpgrp(STDIN_FILENO, ::getpid());
    inheritance.restore();
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    program.execute();
    const int problem = errno;
    (void)!::write(problem_pipe, &problem, sizeof(problem));
    ::_exit(program_not_started);
  }

  bool has_ended(base::Duration timeout) const {
    pollfd handle{.fd = child_handle.get(), .events = POLLIN, .revents = 0};
    const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
    return ::poll(&handle, 1, static_cast<int>(std::clamp<std::int64_t>(milliseconds, 0, 60'000))) > 0;
  }

  void give_terminal() const {
    if (in_foreground()) ::tcsetpgrp(STDIN_FILENO, child);
  }
  // From the command, or from a group that has ended: not from a shell that has it while we are in the
  // background.
  void take_terminal() const {
    const pid_t holder = ::tcgetpgrp(STDIN_FILENO);
    if (holder == child || (holder > 0 && ::kill(-holder, 0) != 0 && errno == ESRCH)) {
      ::tcsetpgrp(STDIN_FILENO, ::getpgrp());
    }
  }

  int reap() {
    siginfo_t ended{};
    while (::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
    }
    take_terminal();
    // The watcher must forget the number before the kernel may give it to somebody else.
    shared->group = 0;
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    child = 0;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  // Reaped last: until then the number is that of our group, and of no other.
  void kill_and_reap() {
    ::kill(-child, SIGKILL);
    reap();
  }
};

GuardedCommand::GuardedCommand(std::unique_ptr<State> state) : state_(std::move(state)) {}
GuardedCommand::GuardedCommand(GuardedCommand&&) noexcept = default;
GuardedCommand& GuardedCommand::operator=(GuardedCommand&&) noexcept = default;
GuardedCommand::~GuardedCommand() = default;

Result<GuardedCommand> GuardedCommand::prepare() {
  auto state = std::make_unique<State>();
  state->inheritance.remember();
  void* const memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return system_error("map shared memory", {});
  state->shared = new (memory) Shared;
  if (const Status started = state->start_watcher(); !started) return std::unexpected(started.error());
  return GuardedCommand(std::move(state));
}

Status GuardedCommand::start(const std::vector<std::string>& command,
                             const std::vector<std::pair<std::string, std::string>>& environment,
                             base::BootTime kill_at) {
  const Program program(command, environment);
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return system_error("make a pipe", {});
  const base::FileDescriptor reading(ends[0]);
  base::FileDescriptor writing(ends[1]);
  const pid_t parent = ::getpid();
  const bool with_terminal = in_foreground();
  set_kill_at(kill_at);
  const pid_t child = ::fork();
  if (child < 0) return system_error("start", command.front());
  if (child == 0) state_->become(program, parent, with_terminal, writing.get());
  ::setpgid(child, child);
  state_->child = child;
  state_->shared->group = child;
  (void)!::write(state_->armed.get(), "", 1);
  writing.reset();
  int problem = 0;
  if (::read(reading.get(), &problem, sizeof(problem)) == sizeof(problem)) {
    (void)state_->reap();
    errno = problem;
    return system_error("start", command.front());
  }
  state_->child_handle.reset(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  if (!state_->child_handle) {
    auto error = system_error("watch the command", command.front());
    state_->kill_and_reap();
    return error;
  }
  return {};
}

void GuardedCommand::set_kill_at(base::BootTime time) {
  state_->shared->kill_at_ns = time.time_since_epoch().count();
}

std::optional<int> GuardedCommand::wait(base::Duration timeout) {
  if (!state_->has_ended(timeout)) return std::nullopt;
  return state_->reap();
}

bool GuardedCommand::stop_with_command() {
  siginfo_t stopped{};
  if (::waitid(P_PID, static_cast<id_t>(state_->child), &stopped, WSTOPPED | WNOHANG) != 0 ||
      stopped.si_pid == 0) {
    state_->give_terminal();  // after `fg` of a job that ran in the background nothing else tells us
    return false;
  }
  if (::tcgetpgrp(STDIN_FILENO) < 0) return false;  // without a terminal there is no job control
  const bool only_lacks_terminal = stopped.si_status == SIGTTIN || stopped.si_status == SIGTTOU;
  if (only_lacks_terminal && in_foreground()) return true;
  state_->take_terminal();
  // All of our group, as the terminal does it: a script around us, the other parts of a pipeline. Where
  // nobody could continue us the kernel drops the signal.
  ::kill(0, SIGTSTP);
  return true;
}

void GuardedCommand::resume() {
  state_->give_terminal();
  ::kill(-state_->child, SIGCONT);
}

void GuardedCommand::end_by(base::BootTime time) {
  forward(SIGTERM);
  while (base::BootClock::now() < time) {
    const base::Duration pause = std::min<base::Duration>(time - base::BootClock::now(), 100ms);
    if (!state_->has_ended(pause)) continue;
    if (!group_lives(state_->child)) break;
    std::this_thread::sleep_for(pause);
  }
  state_->kill_and_reap();
}

void GuardedCommand::forward(int signal) const {
  const pid_t group = state_->shared->group;
  if (group <= 0) return;
  ::kill(-group, signal);
  // What is stopped would take it only when continued.
  const bool means_end = signal == SIGTERM || signal == SIGINT || signal == SIGHUP || signal == SIGQUIT;
  if (means_end) ::kill(-group, SIGCONT);
}

}  // namespace litecluster::cli
