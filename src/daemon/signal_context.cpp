#include "daemon/signal_context.hpp"

#include <unistd.h>
#include <csignal>

#include <thread>
#include <utility>

namespace litecluster::daemon {

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
    bool asked_by_parent = false;
    bool asked_by_others = false;
    while (true) {
      siginfo_t received{};
      if (::sigwaitinfo(&signals, &received) < 0) continue;
      const bool parent = received.si_code == SI_USER && received.si_pid == ::getppid();
      if (std::exchange(parent ? asked_by_parent : asked_by_others, true)) ::_exit(128 + received.si_signo);
      context.cancel();
    }
  }).detach();
  return context;
}

}  // namespace litecluster::daemon
