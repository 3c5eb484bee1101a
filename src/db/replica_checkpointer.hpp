// Checkpoints of a replica in a thread and on a connection of their own, so that applying goes on while they
// fsync.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <thread>

#include <litecluster/error.hpp>

#include "base/mutex.hpp"
#include "db/replica_record.hpp"
#include "db/sqlite.hpp"

namespace litecluster::db {

/// Thread-safe. Destroying it waits for a running checkpoint and closes the connection.
class ReplicaCheckpointer {
 public:
  struct Report {
    std::uint64_t checkpoints = 0;
    std::optional<Error> error;  ///< of the last one
  };

  /// `record_file` outlives this; it is synced before each checkpoint when `sync`.
  ReplicaCheckpointer(std::filesystem::path database, const ReplicaRecordFile& record_file, bool sync);
  ReplicaCheckpointer(const ReplicaCheckpointer&) = delete;
  ReplicaCheckpointer& operator=(const ReplicaCheckpointer&) = delete;
  ~ReplicaCheckpointer();

  /// Asks for a checkpoint and returns at once. Asking while one runs means one more after it.
  void request();
  /// Waits until no checkpoint runs or is asked for. It waits for I/O only: a checkpoint waits for no reader.
  void wait_until_idle();
  [[nodiscard]] Report report() const;

 private:
  void run();
  [[nodiscard]] Status checkpoint(std::optional<Connection>& connection) const;

  const std::filesystem::path database_;
  const ReplicaRecordFile& record_file_;
  const bool sync_;
  mutable base::Mutex mutex_;
  base::ConditionVariable wake_;
  base::ConditionVariable idle_;
  bool requested_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  bool running_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  bool stopping_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  Report report_ LITECLUSTER_GUARDED_BY(mutex_);
  std::thread thread_;
};

/// Settings of a connection that only writes the WAL, reads headers and checkpoints.
[[nodiscard]] Status configure_replica_connection(Connection& connection, bool sync);

}  // namespace litecluster::db
