// A node's status as JSON for scripts and as Prometheus text for monitoring.
#pragma once

#include <string>
#include <vector>

#include <litecluster/app.hpp>

namespace litecluster::daemon {

/// One JSON object on one line; docs/operations.md names its fields. `process_id` is the agent's.
[[nodiscard]] std::string status_json(const NodeStatus& status, const std::vector<Member>& members,
                                      int process_id);

/// One JSON array on one line, an object for each.
[[nodiscard]] std::string members_json(const std::vector<Member>& members);

/// Prometheus text exposition format, version 0.0.4.
[[nodiscard]] std::string metrics_text(const NodeStatus& status, const std::vector<Member>& members);

/// {"ok":false,"code":…,"message":…}
[[nodiscard]] std::string error_json(const Error& error);

}  // namespace litecluster::daemon
