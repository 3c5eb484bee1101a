// What `litecluster check` says about a machine and its servers before a node is started. Only the judgements
// are here: what was seen goes in, a finding comes out.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <litecluster/app_options.hpp>
#include <litecluster/health.hpp>

#include "nats/connection.hpp"
#include "nats/jetstream.hpp"

namespace litecluster::daemon {

/// One line of the report.
struct Finding {
  std::string name;  ///< "nats version"
  HealthLevel level = HealthLevel::passing;
  std::string detail;  ///< what was seen
  std::string advice;  ///< what to do about it; empty when passing
};

/// Three numbers; what is missing or no number counts as 0.
struct Version {
  int major = 0;
  int minor = 0;
  int patch = 0;
  friend auto operator<=>(const Version&, const Version&) = default;
};
[[nodiscard]] Version parse_version(std::string_view text);

[[nodiscard]] Finding judge_nats_version(std::string_view version);
/// Chunks of the log have to fit into one message.
[[nodiscard]] Finding judge_max_payload(std::uint64_t bytes);
/// An existing bucket: copies, limit, what happens at the limit. `clustered`: there is more than one server.
[[nodiscard]] std::vector<Finding> judge_bucket(const std::string& what, const nats::StreamInfo& info,
                                                bool clustered);
/// `interval` as the server says it ("2m0s", "always"), nothing when it cannot be seen.
[[nodiscard]] Finding judge_sync(const std::optional<std::string>& interval);
[[nodiscard]] Finding judge_sqlite_version(std::string_view version);
[[nodiscard]] Finding judge_disk(std::uint64_t free_bytes, std::uint64_t total_bytes);
/// Whether the kernel's clock is kept by a time service.
[[nodiscard]] Finding judge_clock(bool synchronised);
[[nodiscard]] Finding judge_open_files(std::uint64_t limit);
/// `restart` as systemd says it ("no", "on-failure"); empty when it cannot be seen.
[[nodiscard]] Finding judge_unit(std::string_view unit, std::string_view restart);
[[nodiscard]] Finding judge_lease(std::chrono::milliseconds lease_ttl);

}  // namespace litecluster::daemon
