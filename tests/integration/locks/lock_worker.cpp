// One of the processes that contend in lock_contention_test.cpp: takes the lock again and again, and writes
// down what it does to a shared file, one line per write(), which O_APPEND keeps whole and in order.
//
//   lock_worker URL FILE LEASE_MS
//
//   wait  PID TIME                    begins to wait for the lock
//   enter PID TIME TOKEN DEADLINE     has it
//   tick  PID TIME TOKEN DEADLINE     still has it, looked at right before writing
//   leave PID TIME TOKEN              is about to release
// Times are CLOCK_BOOTTIME in nanoseconds.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

#include <fmt/format.h>

#include <litecluster/client.hpp>

#include "base/clock.hpp"

namespace {

using namespace std::chrono_literals;
using litecluster::base::BootClock;

std::int64_t now_ns() {
  return BootClock::now().time_since_epoch().count();
}

void note(int file, const std::string& line) {
  if (::write(file, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::abort();
}

void work_inside(const litecluster::Lock& lock, int file, std::chrono::milliseconds duration) {
  const std::uint64_t token = lock.token().value();
  const auto end = BootClock::now() + duration;
  const char* what = "enter";
  while (BootClock::now() < end) {
    const std::int64_t left = lock.remaining().count();
    if (left == 0) return;
    const std::int64_t now = now_ns();
    note(file, fmt::format("{} {} {} {} {}\n", what, ::getpid(), now, token, now + left));
    what = "tick";
    if (lock.context().wait_for(3ms)) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const int file = ::open(argv[2], O_WRONLY | O_APPEND | O_CLOEXEC);
  if (file < 0) return 2;
  litecluster::NatsOptions nats;
  nats.urls = {argv[1]};
  nats.reconnect_wait = 20ms;
  nats.reconnect_wait_max = 200ms;
  nats.connect_timeout = 30s;
  const auto client = litecluster::Client::connect({.cluster = "contention", .nats = nats});
  if (!client) {
    std::fprintf(stderr, "%s\n", client.error().message().c_str());
    return 1;
  }
  litecluster::Lock lock = client->lock("lock", {.lease = std::chrono::milliseconds(std::atoi(argv[3]))});
  std::mt19937 random(static_cast<unsigned>(::getpid()));
  while (true) {
    note(file, fmt::format("wait {} {}\n", ::getpid(), now_ns()));
    if (const auto acquired = lock.acquire(litecluster::Context::background()); !acquired) {
      std::fprintf(stderr, "%s\n", acquired.error().message().c_str());
      return 1;
    }
    work_inside(lock, file, std::chrono::milliseconds(5 + random() % 60));
    if (lock.held()) note(file, fmt::format("leave {} {} {}\n", ::getpid(), now_ns(), lock.token().value()));
    // A hold that was lost is an error of release(), and expected here.
    (void)lock.release();
  }
}
