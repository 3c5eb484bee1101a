#include "daemon/signal_context.hpp"

#include <unistd.h>
#include <csignal>

#include <chrono>
#include <optional>
#include <thread>

#include "backend/guard_machine.hpp"
#include "base/clock.hpp"

namespace litecluster::daemon {

namespace {

// As the guard counts them.
constexpr base::Duration same_request = backend::GuardConfig().same_request;

}  // namespace

Context context_until_signal() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  // Threads started later inherit the mask, so only the one below ever sees these signals.
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const Context context = Context::background();
  std::thread([signals, context] {
    // Ctrl-C and `kill -- -GROUP` reach an agent directly, and once more through its guard: that is one
    // request. The second request is the second signal of the parent's, or the second of anybody else's.
    std::optional<base::BootTime> asked_by_parent;
    std::optional<base::BootTime> asked_by_others;
    while (true) {
      siginfo_t received{};
      if (::sigwaitinfo(&signals, &received) < 0) continue;
      const bool parent = received.si_code == SI_USER && received.si_pid == ::getppid();
      std::optional<base::BootTime>& asked = parent ? asked_by_parent : asked_by_others;
      const base::BootTime now = base::system_clock().boot_time();
      if (asked && now - *asked > same_request) ::_exit(128 + received.si_signo);
      if (!asked) asked = now;
      context.cancel();
    }
  }).detach();
  return context;
}

}  // namespace litecluster::daemon
