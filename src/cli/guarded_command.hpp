// Runs a command that must not outlive a deadline which moves on while somebody renews it.
//
// The command dies with us, however we die, and so does what it has started and left in its process group. A
// small second process sees to that: it waits for the end of a pipe that only we hold. It also sleeps until
// the deadline in shared memory, looks whether that has moved, and kills the group when it has not: we are
// alive then, but stopped or stuck.
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
  /// Starts the watching process, and remembers what the command is to inherit. Call it before any thread
  /// exists and anything is opened. SIGTTOU has to be blocked from then on.
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
  /// Job control; call it every now and then. When the command has stopped (Ctrl-Z) we take its terminal back
  /// and stop, too, until the shell continues us. True: the command waits for resume().
  [[nodiscard]] bool stop_with_command();
  /// Continues the command, with the terminal if that is ours.
  void resume();
  /// Asks the command's group to end, kills at `time` what is left of it, and returns when it has ended.
  void end_by(base::BootTime time);
  /// Sends a signal to the command's process group, if it runs; one that means the end also when it is
  /// stopped.
  void forward(int signal) const;

 private:
  struct Shared;
  struct State;
  explicit GuardedCommand(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace litecluster::cli
