// `litecluster lock run NAME -- COMMAND`: run a command while holding a lock.
//
// The lease is L. The hold counts until 0.8 L after the last renewal that succeeded was sent (see
// <litecluster/lock.hpp>). When it is lost the command gets SIGTERM, and SIGKILL at 0.95 L: before anybody
// else can have the lock. The second process of guarded_command.hpp sees to the latter also when this one is
// stopped or gone.
#include <pthread.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include <litecluster/client.hpp>

#include "base/clock.hpp"
#include "base/mutex.hpp"
#include "cli/commands.hpp"
#include "cli/connection_options.hpp"
#include "cli/guarded_command.hpp"
#include "daemon/scalar.hpp"

namespace litecluster::cli {
namespace {

using namespace std::chrono_literals;

struct LockArguments {
  ConnectionOptions connection;
  std::string name;
  std::string lease = "10s";
  std::string wait;
  std::vector<std::string> command;
};

// As shells and env(1) have it.
constexpr int program_not_started = 126;
constexpr int program_not_found = 127;
constexpr int lock_lost_status = 1;

// Without those that we were started to ignore (nohup, a script's background jobs): once blocked they would
// arrive nevertheless.
sigset_t handled_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2}) {
    struct sigaction present{};
    ::sigaction(signal, nullptr, &present);
    if (present.sa_handler != SIG_IGN) ::sigaddset(&signals, signal);
  }
  ::sigaddset(&signals, SIGTTOU);
  return signals;
}

/// Takes the process's signals on a thread of its own: passes them on to the command while there is one;
/// before that, those that mean the end cancel `context`.
class SignalForwarder {
 public:
  SignalForwarder(const GuardedCommand& command, Context context)
      : command_(command),
        context_(std::move(context)),
        thread_([this](const std::stop_token& stop) { run(stop); }) {}

  /// Signals go to the command from now on, and so does one that meant the end and came while it was started.
  void command_runs() {
    const base::MutexLock lock(mutex_);
    running_ = true;
    if (pending_ != 0) command_.forward(pending_);
  }
  /// The last one that meant the end and came before the command ran; 0: none.
  [[nodiscard]] int pending() const {
    const base::MutexLock lock(mutex_);
    return pending_;
  }

 private:
  void run(const std::stop_token& stop) {
    const sigset_t signals = handled_signals();
    const timespec patience{.tv_sec = 0, .tv_nsec = 100'000'000};
    while (!stop.stop_requested()) {
      const int signal = ::sigtimedwait(&signals, nullptr, &patience);
      if (signal <= 0 || signal == SIGTTOU) continue;
      if (take(signal)) context_.cancel();
    }
  }

  // Whether it means the end before there is a command.
  bool take(int signal) {
    const base::MutexLock lock(mutex_);
    if (running_) {
      command_.forward(signal);
      return false;
    }
    if (signal == SIGUSR1 || signal == SIGUSR2) return false;
    pending_ = signal;
    return true;
  }

  const GuardedCommand& command_;
  const Context context_;
  mutable base::Mutex mutex_;
  bool running_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  int pending_ LITECLUSTER_GUARDED_BY(mutex_) = 0;
  std::jthread thread_;
};

/// Waits for the command while the lock is held. nullopt when the lock was lost; the command has then ended,
/// too.
std::optional<int> supervise(GuardedCommand& command, const Lock& lock, std::chrono::milliseconds lease) {
  const base::Duration step = std::clamp<base::Duration>(lease / 20, 10ms, 100ms);
  const auto grace = std::chrono::duration_cast<base::Duration>(lease * 0.15);
  base::BootTime kill_at = base::BootClock::now() + lock.remaining();
  bool stopped = false;
  while (true) {
    const base::Duration left = lock.remaining();
    if (left <= 0ns) {
      command.end_by(kill_at);
      return std::nullopt;
    }
    kill_at = base::BootClock::now() + left + grace;
    command.set_kill_at(kill_at);
    if (stopped) command.resume();
    if (const auto status = command.wait(std::min(step, left))) return status;
    stopped = command.stop_with_command();
  }
}

Result<std::chrono::milliseconds> duration_of(const std::string& flag, const std::string& text) {
  if (const auto duration = daemon::parse_duration(text)) return *duration;
  return failure(ErrorCode::invalid_argument, "read flags", flag,
                 "'" + text + "' is not a duration such as 500ms or 10s");
}

Status acquire(Lock& lock, const LockArguments& arguments, const Context& context) {
  if (arguments.wait.empty()) return lock.acquire(context);
  const auto wait = duration_of("--wait", arguments.wait);
  if (!wait) return std::unexpected(wait.error());
  if (*wait == 0ms) return lock.try_acquire(context);
  return lock.acquire(context.with_timeout(*wait));
}

/// A signal that cancelled what failed tells more than the failure.
Result<int> failed(const SignalForwarder& signals, const Error& error) {
  if (const int signal = signals.pending(); signal != 0) return 128 + signal;
  return std::unexpected(error);
}

Result<int> run_locked(const LockArguments& arguments, GuardedCommand& command) {
  auto settings = resolve(arguments.connection);
  if (!settings) return std::unexpected(settings.error());
  if (settings->cluster.empty()) {
    return failure(ErrorCode::invalid_argument, "acquire lock", arguments.name, "give --cluster NAME");
  }
  const auto lease = duration_of("--ttl", arguments.lease);
  if (!lease) return std::unexpected(lease.error());
  const Context context = Context::background().with_cancel();
  SignalForwarder signals(command, context);
  const auto client = Client::connect({.cluster = settings->cluster,
                                       .node = settings->node,
                                       .nats = std::move(settings->nats),
                                       .kv_bucket = {}},
                                      context);
  if (!client) return failed(signals, client.error());
  Lock lock = client->lock(arguments.name, {.lease = *lease});
  if (const Status acquired = acquire(lock, arguments, context); !acquired) {
    return failed(signals, acquired.error());
  }
  const auto started =
      command.start(arguments.command, {{"LITECLUSTER_FENCING_TOKEN", std::to_string(lock.token().value())}},
                    base::BootClock::now() + lock.remaining());
  if (!started) {
    (void)lock.release();
    fmt::print(stderr, "litecluster: {}\n", started.error().message());
    return started.error().code() == ErrorCode::not_found ? program_not_found : program_not_started;
  }
  signals.command_runs();
  const auto status = supervise(command, lock, *lease);
  if (status) {
    // A failure to give it back is no failure of the command: others get it when the lease has run out.
    if (const Status released = lock.release(); !released) {
      fmt::print(stderr, "litecluster: {}\n", released.error().message());
    }
    return *status;
  }
  fmt::print(stderr, "litecluster: the lock {} was lost; the command was stopped\n", arguments.name);
  return lock_lost_status;
}

}  // namespace

void add_lock_commands(CommandLine& line) {
  CLI::App* group = line.program.add_subcommand("lock", "Locks between processes on any machines");
  group->require_subcommand(1);
  const auto arguments = std::make_shared<LockArguments>();
  add_connection_options(*group, arguments->connection);
  group->remove_option(group->get_option("--bucket"));  // locks lie in one bucket of the cluster
  CLI::App* command = group->add_subcommand("run", "Run a command while holding a lock");
  command->fallthrough();
  command->add_option("name", arguments->name, "name of the lock")->required();
  command->add_option("--ttl,--lease", arguments->lease,
                      "time after which others get the lock of a holder that vanished");
  command->add_option("--wait", arguments->wait,
                      "longest wait for the lock; 0: do not wait; default: for ever");
  command
      ->add_option("command", arguments->command,
                   "the command; it finds its fencing token in LITECLUSTER_FENCING_TOKEN")
      ->required();
  command->callback([&line, arguments] {
    const sigset_t signals = handled_signals();
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    auto guarded = GuardedCommand::prepare();
    if (!guarded) return report(line, guarded.error());
    const auto status = run_locked(*arguments, *guarded);
    if (status) {
      line.exit_status = static_cast<ExitStatus>(*status);
    } else {
      report(line, status.error());
      if (status.error().code() == ErrorCode::busy || status.error().code() == ErrorCode::deadline_exceeded) {
        line.exit_status = ExitStatus::refused;
      }
    }
  });
}

}  // namespace litecluster::cli
