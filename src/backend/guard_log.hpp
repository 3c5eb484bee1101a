// The guard's log: lines are kept until everything is done that they tell of, and written only when the log
// takes them at once. A reader that stands still costs lines, and not a late end of a lease.
#pragma once

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "backend/process.hpp"
#include "base/logging.hpp"

namespace litecluster::backend {

struct GuardNote {
  enum class Kind { agent_started, agent_ended, agent_not_started, lease_over, fences_not_through };
  Kind kind = Kind::agent_started;
  int number = 0;  ///< process id, wait status or errno
  std::uint32_t agent = 0;
};

class GuardLog {
 public:
  void note(const GuardNote& what) {
    if (count_ < notes_.size()) notes_[count_++] = what;
  }

  void write() {
    for (std::size_t index = 0; index < count_; ++index) {
      if (takes_a_line()) write(notes_[index]);
    }
    count_ = 0;
  }

 private:
  static bool takes_a_line() {
    pollfd log{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
    return ::poll(&log, 1, 0) > 0 && (log.revents & POLLOUT) != 0;
  }

  static void write(const GuardNote& what) {
    switch (what.kind) {
      case GuardNote::Kind::agent_started:
        return base::log_info("agent started", {{"pid", what.number}, {"number", what.agent}});
      case GuardNote::Kind::agent_ended:
        return base::log_info("agent ended", {{"how", describe_wait_status(what.number)}});
      case GuardNote::Kind::agent_not_started:
        return base::log_error("cannot start the agent", {{"reason", std::strerror(what.number)}});
      case GuardNote::Kind::lease_over:
        return base::log_warning("lease over: backend killed, addresses dropped");
      case GuardNote::Kind::fences_not_through:
        return base::log_error("the unit does not end; the next agent waits for the old lease to run out");
    }
  }

  std::array<GuardNote, 8> notes_{};
  std::size_t count_ = 0;
};

}  // namespace litecluster::backend
