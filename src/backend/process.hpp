// One child process with a session and process group of its own, so that a signal reaches all that it forked.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "base/bytes.hpp"
#include "base/file_descriptor.hpp"

namespace litecluster::backend {

struct ProcessSpec {
  std::vector<std::string> arguments{};    ///< the first one is the program, looked up in PATH
  std::vector<std::string> environment{};  ///< "NAME=value", added to or replacing our own
  std::string directory{};                 ///< to run in; empty: ours
};

/// The spec as bytes, for the guard: each string ends with a zero byte.
[[nodiscard]] Result<std::string> encode_process_spec(const ProcessSpec& spec);
[[nodiscard]] Result<ProcessSpec> decode_process_spec(std::string_view bytes);

/// "exit status 1", "signal 9 (Killed)".
[[nodiscard]] std::string describe_wait_status(int wait_status);

/// In a forked child: new session, killed when the thread that forked it dies, signals as at login, standard
/// output and error to the descriptors given (-1: unchanged), exec. Returns only by ending the process: with
/// status 127 after writing errno, as a native int, to `report`, whose close-on-exec says that exec
/// succeeded.
[[noreturn]] void become_process(const ProcessSpec& spec, int output, int error_output, int report);

/// Runs at most one process at a time. Thread-safe.
class ProcessHost {
 public:
  virtual ~ProcessHost() = default;
  /// Called once per started process, from a thread of the host, with the status of waitpid(2), when the
  /// process is gone and what was left of its group was killed. Set it before the first start().
  virtual void on_exit(std::function<void(int wait_status)> callback) = 0;
  /// Errors: not_found, permission_denied, io (could not be executed), failed_precondition (one runs
  /// already).
  [[nodiscard]] virtual Status start(const ProcessSpec& spec, int output, int error_output) = 0;
  /// To the whole group; nothing happens when no process runs.
  virtual void signal(int number) = 0;
};

/// Children of this process. They die with it: the kernel kills them when the host's thread ends.
[[nodiscard]] std::unique_ptr<ProcessHost> make_local_process_host();

/// Runs a process to its end and returns its wait status (waitpid(2)). When the Context ends first, it is
/// killed with everything it started, and the status says so. Errors: as ProcessHost::start().
[[nodiscard]] Result<int> run_to_end(const Context& context, const ProcessSpec& spec, int output,
                                     int error_output);

}  // namespace litecluster::backend
