#include "app/option_check.hpp"

#include <string>

#include <litecluster/member.hpp>

#include "log/compaction_schedule.hpp"
#include "membership/record.hpp"
#include "replication/session_options.hpp"
#include "ring/assignment.hpp"

namespace litecluster::app {
namespace {

constexpr std::chrono::milliseconds heartbeat_min{50};
constexpr std::chrono::milliseconds heartbeat_max = membership::lease_max / 3;

std::unexpected<Error> refuse(const char* option, std::string reason) {
  return failure(ErrorCode::invalid_argument, "check configuration", option, std::move(reason));
}

// In pools and rings the lease is three heartbeats, and lease_ttl plays no part.
Status check_times(const AppOptions& options) {
  if (options.mode != Mode::active_passive) {
    if (options.heartbeat < heartbeat_min || options.heartbeat > heartbeat_max) {
      return refuse("heartbeat", "must be from 50ms to 20m");
    }
    return {};
  }
  if (options.lease_ttl < std::chrono::seconds(1)) return refuse("lease_ttl", "must be at least 1s");
  if (options.heartbeat.count() <= 0 || options.heartbeat * 3 > options.lease_ttl) {
    return refuse("heartbeat", "must be above 0 and at most a third of lease_ttl");
  }
  return {};
}

// What belongs to another mode is refused, not ignored: somebody expects it to work.
Status check_mode(const AppOptions& options) {
  if (options.mode == Mode::active_passive) return {};
  const std::string needs =
      "needs mode active_passive, and this is mode " + std::string(to_string(options.mode));
  if (options.sqlite) return refuse("sqlite", needs);
  if (options.vip) return refuse("vip", needs);
  if (options.mode != Mode::ring) return {};
  if (const auto checked = ring::check_partitions(options.ring.partitions); !checked) {
    return refuse("ring.partitions",
                  "must be from 1 to 4096, and is " + std::to_string(options.ring.partitions));
  }
  return {};
}

Status check_positive(const char* option, std::chrono::milliseconds duration) {
  if (duration.count() > 0) return {};
  return refuse(option, "must be above 0");
}

Status check_backend(const Backend& backend) {
  if (backend.command.empty() == backend.systemd_unit.empty()) {
    return refuse("backend", "needs either command or systemd_unit");
  }
  if (backend.stop_timeout.count() < 0) return refuse("backend.stop_timeout", "must not be negative");
  if (auto checked = check_positive("backend.start_timeout", backend.start_timeout); !checked) return checked;
  if (backend.restarts_max < 0) return refuse("backend.restarts_max", "must not be negative");
  const BackendHealth& health = backend.health;
  if (auto checked = check_positive("backend.health.interval", health.interval); !checked) return checked;
  if (auto checked = check_positive("backend.health.timeout", health.timeout); !checked) return checked;
  if (health.failures_max < 1) return refuse("backend.health.failures_max", "must be at least 1");
  return {};
}

}  // namespace

Status check_sqlite(const Sqlite& sqlite) {
  if (sqlite.path.empty()) return refuse("sqlite.path", "is needed when sqlite is configured");
  if (sqlite.replica == sqlite.path) return refuse("sqlite.replica", "must not be the database itself");
  if (auto checked = check_positive("sqlite.snapshot_interval", sqlite.snapshot_interval); !checked) {
    return checked;
  }
  if (auto checked = check_positive("sqlite.retention", sqlite.retention); !checked) return checked;
  if (auto checked = check_positive("sqlite.min_sync_interval", sqlite.min_sync_interval); !checked) {
    return checked;
  }
  if (sqlite.scrub_interval.count() < 0) return refuse("sqlite.scrub_interval", "must not be negative");
  if (sqlite.checkpoint_pages == 0) {
    return refuse("sqlite.checkpoint_pages", "must be at least 1: without checkpoints the WAL never ends");
  }
  const auto schedule = log::CompactionSchedule::create(
      replication::leader_session_options(sqlite, /*node=*/{}).maintainer.compaction);
  if (schedule) return {};
  return refuse("sqlite.compaction_levels", schedule.error().subject() + ": " + schedule.error().reason());
}

Status check_options(const AppOptions& options) {
  // The alphabet is the same for both.
  if (!membership::valid_node_name(options.cluster)) {
    return refuse("cluster", "1 to 64 letters, digits, '-' or '_' are needed");
  }
  if (!membership::valid_node_name(options.node)) {
    return refuse("node", "1 to 64 letters, digits, '-' or '_' are needed");
  }
  if (auto checked = check_times(options); !checked) return checked;
  if (auto checked = check_positive("hook_timeout", options.hook_timeout); !checked) return checked;
  if (options.cooldown && options.cooldown->count() < 0) return refuse("cooldown", "must not be negative");
  if (options.sqlite) {
    if (auto checked = check_sqlite(*options.sqlite); !checked) return checked;
  }
  if (options.backend) {
    if (auto checked = check_backend(*options.backend); !checked) return checked;
  }
  if (options.vip && (options.vip->address.empty() || options.vip->interface.empty())) {
    return refuse("vip", "needs address and interface");
  }
  return check_mode(options);
}

}  // namespace litecluster::app
