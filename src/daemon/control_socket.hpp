// The control socket: how commands on the same machine talk to a running node.
//
// A unix stream socket of mode 0600. A client sends one line of JSON, {"verb": "status", ...}, and receives
// one line of JSON, {"ok": true, ...} or {"ok": false, "code": ..., "message": ...}; then the connection
// ends. A socket file whose owner is dead is replaced; one that answers is a node that runs, and refused.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

namespace litecluster::daemon {

/// Longest request and answer in bytes; a longer one ends the connection with an error.
inline constexpr std::size_t control_request_bytes_max = 64UZ * 1024;
inline constexpr std::size_t control_answer_bytes_max = 4UZ * 1024 * 1024;
/// Clients served at a time; further ones wait in the kernel's backlog.
inline constexpr int control_clients_max = 4;

/// Answers one request with one line (without its end). Runs in a thread of the server, several at a time.
/// The Context is cancelled when the client goes away or the server stops.
using ControlHandler = std::function<std::string(const Context&, const std::string& request)>;

/// Serves until destroyed; the destructor cancels running handlers and waits for them.
class ControlServer {
 public:
  /// Errors: already_exists (a live node has this socket), permission_denied, too_large (the path is too long
  /// for a socket), io.
  [[nodiscard]] static Result<std::unique_ptr<ControlServer>> start(const std::filesystem::path& path,
                                                                    ControlHandler handler);
  virtual ~ControlServer() = default;
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 protected:
  ControlServer() = default;
};

/// One request to the node behind `path`. Errors: not_found (no socket), unavailable (nobody answers),
/// deadline_exceeded, cancelled.
[[nodiscard]] Result<std::string> control_request(const Context& context, const std::filesystem::path& path,
                                                  const std::string& request);

}  // namespace litecluster::daemon
