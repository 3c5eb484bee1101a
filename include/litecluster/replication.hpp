// The replicated database as a program sees it: where it is, how far behind, snapshots.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/lag.hpp>
#include <litecluster/types.hpp>

namespace litecluster {

class App;

/// The write-ahead log of this node's database. Cheap to copy, thread-safe; calls fail with
/// failed_precondition once the App is gone or when it has no database.
class Wal {
 public:
  /// On the leader the last position that JetStream acknowledged, on a standby the last one applied.
  [[nodiscard]] Result<Position> position() const;
  /// Of a standby; on the leader 0.
  [[nodiscard]] Lag lag() const;
  /// Returns when everything that was committed before the call is acknowledged by JetStream. Leader only
  /// (not_leader). Blocks for a round trip or more, until the Context ends.
  [[nodiscard]] Status sync(const Context& context) const;

  class Impl;
  explicit Wal(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<Impl> impl_;
};

/// A complete state of the database in the log.
struct Snapshot {
  /// Its TXID in 16 hexadecimal digits.
  std::string id;
  Txid txid;
  /// When the state was current.
  std::chrono::sys_time<std::chrono::milliseconds> created_at{};
  std::uint64_t size_bytes = 0;
};

/// Cheap to copy, thread-safe.
class Snapshots {
 public:
  /// Writes one now; of the present position if there is one already. Leader only (not_leader). Blocks until
  /// acknowledged; writers are not held up.
  [[nodiscard]] Result<Snapshot> create(const Context& context) const;
  /// not_found when there is none.
  [[nodiscard]] Result<Snapshot> latest(const Context& context) const;
  /// Newest first.
  [[nodiscard]] Result<std::vector<Snapshot>> list(const Context& context) const;
  /// Restores the state of a snapshot, or of any TXID, into a new file. already_exists when it is there.
  [[nodiscard]] Status restore(const Context& context, std::string_view id,
                               const std::filesystem::path& destination) const;

  explicit Snapshots(std::shared_ptr<Wal::Impl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<Wal::Impl> impl_;
};

}  // namespace litecluster
