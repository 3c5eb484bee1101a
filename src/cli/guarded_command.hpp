// Runs a command that must not outlive a deadline which moves on while somebody renews it.
//
// The command dies with us, however we die (PR_SET_PDEATHSIG). When we are alive but stopped or stuck, a
// small second process kills it: that sleeps until the deadline in shared memory and looks whether it has
// moved.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <litecluster/error.hpp>

#include "base/clock.hpp"

namespace litecluster::cli {

/// Not thread-safe, except for forward().
class GuardedCommand {
 public:
  /// Starts the watching process. Call it before any thread exists.
  [[nodiscard]] static Result<GuardedCommand> prepare();

  GuardedCommand(GuardedCommand&&) noexcept;
  GuardedCommand& operator=(GuardedCommand&&) noexcept;
  /// Kills what still runs.
  ~GuardedCommand();

  /// The command gets a process group of its own, and the terminal if we had it. `kill_at`: at this time it
  /// is killed. Errors: not_found, permission_denied (program), io.
  [[nodiscard]] Status start(const std::vector<std::string>& command,
                             const std::vector<std::pair<std::string, std::string>>& environment,
                             base::BootTime kill_at);
  /// Moves the deadline.
  void set_kill_at(base::BootTime time);
  /// Waits until the command has ended, at most for `timeout`; its exit status as a shell tells it (128 +
  /// signal).
  [[nodiscard]] std::optional<int> wait(base::Duration timeout);
  /// Sends a signal to the command's process group, if it runs.
  void forward(int signal) const;

 private:
  struct Shared;
  struct State;
  explicit GuardedCommand(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace litecluster::cli
