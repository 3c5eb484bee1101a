#include "backend/guard.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "backend/guard_death.hpp"
#include "backend/guard_fences.hpp"
#include "backend/guard_log.hpp"
#include "backend/guard_message.hpp"
#include "base/file.hpp"
#include "base/logging.hpp"
#include "base/random.hpp"

namespace litecluster::backend {

namespace {

using base::BootTime;

constexpr int failed_to_run = 1;

BootTime boot_time(std::int64_t nanoseconds) {
  return BootTime(base::Duration(nanoseconds));
}

class Guard {
 public:
  Guard(const GuardOptions& options, const std::function<int(GuardLink&)>& agent)
      : options_(options),
        agent_(agent),
        machine_(options.config),
        family_(base::random_u64()),
        fences_(options.fences) {}
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  ~Guard() {
    if (memory_ != nullptr) ::munmap(memory_, sizeof(GuardMemory));
    ::sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
    ::signal(SIGPIPE, old_pipe_handler_);
  }

  int run() {
    if (auto status = set_up(); !status) {
      base::log_error("guard cannot start", {{"error", status.error().message()}});
      return failed_to_run;
    }
    perform(machine_.start(view()));
    log_.write();
    while (!exit_status_) wait_once();
    return *exit_status_;
  }

 private:
  Status set_up() {
    void* memory =
        ::mmap(nullptr, sizeof(GuardMemory), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return std::unexpected(base::errno_error(errno, "map shared memory", {}));
    memory_ = new (memory) GuardMemory();
    sigset_t mask;
    sigemptyset(&mask);
    for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&mask, number);
    ::sigprocmask(SIG_BLOCK, &mask, &old_mask_);
    // The end of whoever reads the log is not ours. The backend has the default again.
    old_pipe_handler_ = ::signal(SIGPIPE, SIG_IGN);
    signals_.reset(::signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_) return std::unexpected(base::errno_error(errno, "create signalfd", {}));
    timer_.reset(::timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!timer_) return std::unexpected(base::errno_error(errno, "create timerfd", {}));
    // What a backend leaves behind under another session comes to us, and is killed like the rest.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (options_.lock_memory && ::mlockall(MCL_CURRENT) != 0) {
      base::log_warning("guard memory is not locked", {{"reason", std::strerror(errno)}});
    }
    return {};
  }

  [[nodiscard]] GuardView view() const {
    return {.now = base::BootClock::now(),
            .lease_deadline = boot_time(memory_->lease_deadline.load(std::memory_order_acquire)),
            .agent_heartbeat = boot_time(memory_->agent_heartbeat.load(std::memory_order_acquire))};
  }

  void wait_once() {
    std::array<pollfd, 4> sources = {{{.fd = timer_.get(), .events = POLLIN, .revents = 0},
                                      {.fd = signals_.get(), .events = POLLIN, .revents = 0},
                                      {.fd = socket_.get(), .events = POLLIN, .revents = 0},
                                      {.fd = exec_report_.get(), .events = POLLIN, .revents = 0}}};
    if (::poll(sources.data(), sources.size(), -1) < 0 && errno != EINTR) return;
    if (sources[0].revents != 0) {
      std::uint64_t count = 0;
      [[maybe_unused]] const ssize_t ignored = ::read(timer_.get(), &count, sizeof count);
    }
    // Time first: a flood of messages must not delay the end of a lease.
    perform(machine_.tick(view()));
    if (sources[3].revents != 0) exec_reported();
    if (sources[2].revents != 0) message_arrived();
    if (sources[1].revents != 0) signals_arrived();
    log_.write();
  }

  void perform(GuardMachine::Actions span) {
    // A failing start is an event of its own, which must not overwrite the actions while they are walked.
    bool start_failed = false;
    bool fenced = false;
    for (const GuardAction& action : span) {
      switch (action.act) {
        case GuardAct::renew_family:
          family_ = base::random_u64();
          log_.note({.kind = GuardNote::Kind::fences_not_through});
          break;
        case GuardAct::start_agent: start_agent(static_cast<std::uint32_t>(action.number)); break;
        case GuardAct::signal_agent:
          if (agent_pid_ > 0) ::kill(agent_pid_, static_cast<int>(action.number));
          break;
        case GuardAct::start_backend: start_failed = !start_backend(); break;
        case GuardAct::refuse_backend:
          descriptors_ = {};
          tell(GuardVerb::failed, 0);
          break;
        case GuardAct::signal_backend: signal_backend(static_cast<int>(action.number)); break;
        case GuardAct::fence:
          fences_.drop();
          fenced = true;
          break;
        case GuardAct::tell_exited: tell(GuardVerb::exited, action.number); break;
        case GuardAct::tell_fenced:
          tell(GuardVerb::fenced, 0);
          log_.note({.kind = GuardNote::Kind::lease_over});
          break;
        case GuardAct::set_timer: set_timer(action.at); break;
        case GuardAct::exit: exit_status_ = static_cast<int>(action.number); break;
      }
    }
    if (start_failed) perform(machine_.backend_start_failed(view()));
    if (fenced && fences_.through()) perform(machine_.fences_done(view()));
  }

  void set_timer(BootTime at) {
    const auto since = std::max<std::int64_t>(at.time_since_epoch().count(), 1);
    itimerspec time{};
    time.it_value.tv_sec = since / 1'000'000'000;
    time.it_value.tv_nsec = since % 1'000'000'000;
    ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &time, nullptr);
  }

  void tell(GuardVerb verb, std::int64_t number) {
    if (!socket_) return;
    // An agent that does not read is about to be found silent or past its deadline.
    [[maybe_unused]] const Status ignored =
        send_message(socket_.get(), {.verb = verb, .reserved = 0, .number = number}, nullptr);
  }

  void start_agent(std::uint32_t number) {
    std::array<int, 2> ends{};
    memory_->lease_deadline.store(0);
    memory_->agent_heartbeat.store(0);
    const pid_t guard_pid = ::getpid();
    std::fflush(nullptr);
    const pid_t pid =
        ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) == 0 ? ::fork() : -1;
    if (pid < 0) {
      log_.note({.kind = GuardNote::Kind::agent_not_started, .number = errno});
      exit_status_ = failed_to_run;
      return;
    }
    base::FileDescriptor agent_end(ends[1]);
    socket_.reset(ends[0]);
    if (pid == 0) {
      socket_.reset();
      run_agent({.family = family_, .number = number}, std::move(agent_end), guard_pid);
    }
    agent_pid_ = pid;
    log_.note({.kind = GuardNote::Kind::agent_started, .number = pid, .agent = number});
  }

  // An exception must not unwind the guard's own frames in this process.
  [[noreturn]] void run_agent(election::Incarnation incarnation, base::FileDescriptor socket,
                              int guard_pid) noexcept {
    signals_.reset();
    timer_.reset();
    die_with_guard(*memory_, options_.fences, guard_pid);
    ::sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
    int status = failed_to_run;
    {
      GuardLink link(incarnation, *memory_, std::move(socket));
      status = agent_(link);
    }
    std::fflush(nullptr);
    ::_exit(status);
  }

  bool start_backend() {
    std::array<int, 2> ends{};
    const pid_t guard_pid = ::getpid();
    const pid_t pid = ::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0 ? ::fork() : -1;
    if (pid < 0) {
      tell(GuardVerb::failed, errno);
      return false;
    }
    exec_report_.reset(ends[0]);
    const base::FileDescriptor child_end(ends[1]);
    if (pid == 0) run_backend(guard_pid, child_end.get());
    backend_pid_ = pid;
    memory_->backend_group.store(pid);
    descriptors_ = {};
    return true;
  }

  // We have one thread, so the child may allocate before it becomes another program.
  [[noreturn]] void run_backend(int guard_pid, int report) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != guard_pid) ::_exit(127);
    std::string bytes;
    struct stat status{};
    if (::fstat(descriptors_[0].get(), &status) == 0) bytes.resize(static_cast<std::size_t>(status.st_size));
    const ssize_t size = ::pread(descriptors_[0].get(), bytes.data(), bytes.size(), 0);
    const auto spec = decode_process_spec(bytes);
    if (size != static_cast<ssize_t>(bytes.size()) || !spec) {
      const int error_number = EINVAL;
      [[maybe_unused]] const ssize_t ignored = ::write(report, &error_number, sizeof error_number);
      ::_exit(127);
    }
    become_process(*spec, descriptors_[1].get(), descriptors_[2].get(), report);
  }

  // Read here and not at the start: exec may hang on a slow file system, and we must not.
  void exec_reported() {
    int error_number = 0;
    const ssize_t size = ::read(exec_report_.get(), &error_number, sizeof error_number);
    exec_report_.reset();
    if (size > 0) {
      exec_failed_ = true;
      tell(GuardVerb::failed, error_number);
    } else {
      tell(GuardVerb::started, backend_pid_);
    }
  }

  void signal_backend(int number) {
    if (backend_pid_ <= 0) return;
    // Before the child has made its session there is no group yet.
    if (::kill(-backend_pid_, number) != 0) ::kill(backend_pid_, number);
  }

  void message_arrived() {
    GuardDescriptors descriptors;
    const auto message = receive_message(socket_.get(), descriptors, MSG_DONTWAIT);
    if (!message) {
      // The agent's end: its death is told by SIGCHLD.
      if (errno != EAGAIN) socket_.reset();
      return;
    }
    switch (message->verb) {
      case GuardVerb::arm: return perform(machine_.arm_ordered(true, view()));
      case GuardVerb::disarm: fences_.forget_again(); return perform(machine_.arm_ordered(false, view()));
      case GuardVerb::signal:
        return perform(machine_.signal_ordered(static_cast<int>(message->number), view()));
      case GuardVerb::start:
        descriptors_ = std::move(descriptors);
        return perform(machine_.start_ordered(view()));
      case GuardVerb::started:
      case GuardVerb::failed:
      case GuardVerb::exited:
      case GuardVerb::fenced: return;
    }
  }

  void signals_arrived() {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
      if (info.ssi_signo != SIGCHLD) {
        const int number = info.ssi_signo == SIGHUP ? SIGTERM : static_cast<int>(info.ssi_signo);
        perform(machine_.stop_requested(number, view()));
      }
    }
    reap();
  }

  void reap() {
    while (true) {
      siginfo_t info{};
      if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) break;
      const pid_t pid = info.si_pid;
      // Not reaped yet, so the group's number cannot have been given to others.
      if (pid == backend_pid_) ::kill(-pid, SIGKILL);
      int status = 0;
      ::waitpid(pid, &status, 0);
      if (pid == backend_pid_) {
        backend_gone(status);
      } else if (pid == agent_pid_) {
        agent_pid_ = -1;
        socket_.reset();
        log_.note({.kind = GuardNote::Kind::agent_ended, .number = status});
        perform(machine_.agent_exited(status, view()));
      } else if (fences_.ended(pid, status) && fences_.through()) {
        perform(machine_.fences_done(view()));
      }
    }
    if (backend_pid_ <= 0) kill_orphans();
  }

  void backend_gone(int status) {
    if (exec_report_) exec_reported();
    backend_pid_ = -1;
    memory_->backend_group.store(0);
    if (std::exchange(exec_failed_, false)) {
      perform(machine_.backend_start_failed(view()));
    } else {
      perform(machine_.backend_exited(status, view()));
    }
  }

  // Children of ours that we did not start: descendants of the backend that escaped its process group. They
  // have other sessions than ours, unlike what a fence runs.
  void kill_orphans() const {
    std::array<char, 32> path{};
    std::snprintf(path.data(), path.size(), "/proc/self/task/%d/children", static_cast<int>(::getpid()));
    const base::FileDescriptor file(::open(path.data(), O_RDONLY | O_CLOEXEC));
    std::array<char, 4096> text{};
    const ssize_t size = file ? ::read(file.get(), text.data(), text.size()) : 0;
    const char* at = text.data();
    const char* const end = at + std::max<ssize_t>(size, 0);
    while (at < end) {
      pid_t pid = 0;
      const auto [next, error] = std::from_chars(at, end, pid);
      const bool own = pid == agent_pid_ || pid == backend_pid_ || ::getsid(pid) == ::getsid(0);
      if (error == std::errc() && !own) ::kill(pid, SIGKILL);
      at = next + 1;
    }
  }

  const GuardOptions& options_;
  const std::function<int(GuardLink&)>& agent_;
  GuardMachine machine_;
  std::uint64_t family_;
  GuardMemory* memory_ = nullptr;
  GuardFences fences_;
  GuardLog log_;
  sigset_t old_mask_{};
  void (*old_pipe_handler_)(int) = SIG_DFL;
  base::FileDescriptor signals_;
  base::FileDescriptor timer_;
  base::FileDescriptor socket_;
  base::FileDescriptor exec_report_;
  GuardDescriptors descriptors_;
  pid_t agent_pid_ = -1;
  pid_t backend_pid_ = -1;
  bool exec_failed_ = false;
  std::optional<int> exit_status_;
};

}  // namespace

int run_guard(const GuardOptions& options, const std::function<int(GuardLink&)>& agent) {
  return Guard(options, agent).run();
}

}  // namespace litecluster::backend
