#include "daemon/signal_context.hpp"

#include <unistd.h>
#include <csignal>

#include <thread>

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
    int received = 0;
    sigwait(&signals, &received);
    context.cancel();
    sigwait(&signals, &received);
    ::_exit(128 + received);
  }).detach();
  return context;
}

}  // namespace litecluster::daemon
