// The guard: the small parent process of `litecluster run`. It starts the agent (the process that talks to
// NATS and leads) and, on the agent's order, the backend. It does little and therefore keeps working when the
// agent does not: one thread, no allocation once it runs, its own timer on CLOCK_BOOTTIME.
//
// What it guarantees on its node, whatever happens to the agent (crash, kill -9, SIGSTOP, deadlock):
// past the lease deadline, and after the death of the agent, the backend's process group is killed and the
// addresses are dropped. When the guard itself dies, the kernel tells agent and backend (PR_SET_PDEATHSIG),
// and the agent drops the addresses. Only when both are killed at once does an address, or a systemd unit,
// stay until the next start, at which the guard drops it before anything else.
//
// The two share one page of memory (GuardMemory) and a SOCK_SEQPACKET pair that carries GuardMessage: fixed
// binary records in host order, since both ends are the same program. Orders: arm (before anything of a term
// is started; the deadline must be in the memory already), start (with three descriptors: a memory file with
// the process spec, and where the backend's output and errors go), signal, disarm (after the demotion is
// complete). Answers: started, failed, exited, fenced.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <sys/types.h>

#include <litecluster/error.hpp>

#include "backend/guard_machine.hpp"
#include "backend/process.hpp"
#include "base/file_descriptor.hpp"
#include "election/record.hpp"

namespace litecluster::backend {

/// Shared by guard and agent; boot time in nanoseconds.
struct GuardMemory {
  std::atomic<std::int64_t> lease_deadline{0};   ///< 0: no lease
  std::atomic<std::int64_t> agent_heartbeat{0};  ///< 0: none yet
  /// For the agent's handler of the guard's death: the process group to take along; 0: none.
  std::atomic<std::int32_t> backend_group{0};
};
static_assert(std::atomic<std::int64_t>::is_always_lock_free);

/// A deadline for modes without a lease: the backend may run as long as its agent lives.
inline constexpr std::int64_t no_deadline = INT64_MAX;

/// Something that must be gone when the lease is over, besides the backend's process: an address, a systemd
/// unit. drop() is called in the guard, any number of times, also when there is nothing to drop; it must not
/// block for longer than some milliseconds. What takes longer goes on in a child process: its id, or 0. The
/// guard reaps it, takes its end with status 0 for the end of what was to be dropped, and does not call
/// drop() meanwhile.
class Fence {
 public:
  virtual ~Fence() = default;
  virtual pid_t drop() noexcept = 0;
};

struct GuardOptions {
  GuardConfig config;
  std::vector<std::shared_ptr<Fence>> fences;
  bool lock_memory = false;  ///< mlockall(2), so that a paging host does not delay the guard
};

/// The agent's end.
class GuardLink {
 public:
  GuardLink(election::Incarnation incarnation, GuardMemory& memory, base::FileDescriptor socket);
  ~GuardLink();
  GuardLink(const GuardLink&) = delete;
  GuardLink& operator=(const GuardLink&) = delete;

  [[nodiscard]] election::Incarnation incarnation() const { return incarnation_; }
  /// For LeaseStoreOptions::shared_deadline.
  [[nodiscard]] std::atomic<std::int64_t>& lease_deadline() const { return memory_.lease_deadline; }
  /// To be called by the agent's main loop while it is well.
  void beat() const;

  /// Kills the backend's process group without the guard, which may stand still: for the end of a lease.
  /// Nothing when there is no backend.
  void kill_backend() const;

  /// Begins to read the guard's answers, in a thread. Call it once. `fenced` is called when the guard
  /// killed the backend because the deadline had passed.
  void listen(std::function<void()> fenced);
  /// Before anything of a term is started; lease_deadline() must be set.
  [[nodiscard]] Status arm() const;
  /// When nothing of the term runs any more.
  [[nodiscard]] Status disarm() const;
  /// Starts processes as children of the guard. One at a time; lives as long as the link.
  [[nodiscard]] ProcessHost& process_host();

 private:
  class Host;
  election::Incarnation incarnation_;
  GuardMemory& memory_;
  base::FileDescriptor socket_;
  std::unique_ptr<Host> host_;
};

/// Runs the guard in this process until its work is over; returns its exit status. `agent` runs in a forked
/// child and its result is that process's exit status. The caller must be single-threaded, with nothing open
/// that a child should not inherit.
[[nodiscard]] int run_guard(const GuardOptions& options, const std::function<int(GuardLink&)>& agent);

}  // namespace litecluster::backend
