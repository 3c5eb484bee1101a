// What an App is told at its creation. Designated initialisers stand for functional options:
//
//   lc::App::create({.cluster = "myapp", .node = "node-1", .sqlite = lc::Sqlite{.path = "/data/app.db"}});
//
// Every duration has to be positive, but for those at which 0 is explained; App::create checks all of it and
// names the field that is wrong.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <litecluster/nats_options.hpp>

namespace litecluster {

/// One compaction level: at each interval, what level-1 holds is joined into one object.
struct CompactionLevel {
  int level = 0;  ///< 1 to 8; level 0 may be named, it is the raw log and has no interval
  std::chrono::milliseconds interval{0};
};

/// How pages are compressed inside LTX files.
enum class PageEncoding {
  block,  ///< what Litestream 0.5.16 and newer write
  frame,  ///< readable by every Litestream 0.5
};

/// The database that is made highly available.
struct Sqlite {
  /// The database file that the leader's application opens. A local file, in WAL mode.
  std::filesystem::path path{};
  /// Where a standby keeps its readable copy. Empty: `<path>-replica`.
  std::filesystem::path replica{};
  std::chrono::milliseconds snapshot_interval = std::chrono::hours(1);
  /// How far back restore to any point in time is promised.
  std::chrono::milliseconds retention = std::chrono::hours(24);
  /// Empty: level 1 each 10 s, level 2 each 5 min, level 3 each hour.
  std::vector<CompactionLevel> compaction_levels{};
  PageEncoding page_encoding = PageEncoding::block;
  /// Under sustained load, the time between two log objects, on average.
  std::chrono::milliseconds min_sync_interval{10};
  /// The WAL is checkpointed when it has grown to this many pages.
  std::uint32_t checkpoint_pages = 1000;
  /// A WAL that grows past this is an alarm in the node's health; nothing is ever dropped.
  std::uint64_t wal_bytes_max = std::uint64_t{1} << 30U;
  /// A standby that has nothing else to do reads its replica through as often as this and compares it with
  /// what it was, so that bits that flipped on its disk are found before it leads. 0: only once after each
  /// start.
  std::chrono::milliseconds scrub_interval = std::chrono::minutes(10);
  /// Log objects kept on disk while NATS is away (`replicate` without election only).
  std::uint64_t spool_bytes_max = std::uint64_t{1} << 30U;
  /// Object store bucket. Empty: `<cluster>-wal`.
  std::string bucket{};
};

/// How to find out whether a backend serves. At most one of tcp, http and command is set; with none, a
/// backend counts as healthy as soon as it runs.
struct BackendHealth {
  std::string tcp{};                   ///< "host:port" accepts connections
  std::string http{};                  ///< "http://host:port/path" answers 2xx or 3xx
  std::vector<std::string> command{};  ///< exits with 0
  std::chrono::milliseconds interval{1000};
  std::chrono::milliseconds timeout{1000};
  /// Failures in a row after start-up that make it unhealthy.
  int failures_max = 3;
};

/// The application that runs on the leader. At most one of command and systemd_unit is set.
struct Backend {
  std::vector<std::string> command{};  ///< program and arguments; no shell in between
  std::string systemd_unit{};
  std::filesystem::path directory{};                 ///< working directory; empty: ours
  std::map<std::string, std::string> environment{};  ///< added to ours
  /// From TERM to KILL; 0: KILL at once.
  std::chrono::milliseconds stop_timeout{5000};
  /// Leadership is given up when the backend is not healthy this long after its start.
  std::chrono::milliseconds start_timeout{30000};
  /// Restarts within start_timeout, or a minute if that is longer, after which leadership is given up.
  int restarts_max = 5;
  BackendHealth health{};
};

/// A virtual IP address that follows the leader.
struct Vip {
  std::string address{};    ///< "10.0.0.10/24" or "fd00::10/64"
  std::string interface{};  ///< "eth0"
};

enum class Mode {
  active_passive,  ///< one leader, elected
  pool,            ///< every node is active
  ring,            ///< every node owns some partitions
};

struct RingOptions {
  std::uint32_t partitions = 256;  ///< 1 to 4096, the same on every node
};

struct AppOptions {
  /// Letters, digits, `-` and `_`: it becomes part of bucket names.
  std::string cluster{};
  /// Unique in the cluster; the same alphabet.
  std::string node{};
  NatsOptions nats{};
  Mode mode = Mode::active_passive;
  std::optional<Sqlite> sqlite{};
  std::optional<Backend> backend{};
  std::optional<Vip> vip{};
  RingOptions ring{};
  /// At least 1 s. Of leadership: in pools and rings the lease of a member is three heartbeats.
  std::chrono::milliseconds lease_ttl{10000};
  /// At most lease_ttl / 3. In pools and rings 50 ms to 20 min.
  std::chrono::milliseconds heartbeat{3000};
  /// How long a node that stepped down leaves leadership to others. Unset: lease_ttl.
  std::optional<std::chrono::milliseconds> cooldown{};
  /// A hook that takes longer has its Context cancelled.
  std::chrono::milliseconds hook_timeout{30000};
  /// Published to the other members.
  std::map<std::string, std::string> labels{};
  std::vector<std::string> addresses{};
};

}  // namespace litecluster
