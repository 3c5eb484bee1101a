// `litecluster run`: the guard and, under it, the agent with one App, its control socket, HTTP endpoint and
// hooks.
#pragma once

#include "daemon/config.hpp"

namespace litecluster::daemon {

/// Runs until SIGTERM or SIGINT, or until the node cannot take part; returns the process's exit status: 0, 1
/// (failed), 2 (configuration). The caller must be single-threaded: the guard forks.
[[nodiscard]] int run_node_process(const Config& config);

/// How long a stop in order may take until the guard kills what is left: at least a minute, and enough for
/// the backend's stop_timeout and the hooks.
[[nodiscard]] std::chrono::milliseconds stop_timeout(const Config& config);

/// Where the node's control socket is.
[[nodiscard]] std::filesystem::path control_socket_path(const Config& config);

}  // namespace litecluster::daemon
