// Makes a standby's replica the primary database, in place.
//
//   follow to the end of the log -> fence -> apply the fence -> check -> checkpoint, fsync -> let go
//
// Before the fence nothing is changed that following would not change, so a failure leaves a standby. After
// it no older leader can append. The fence changes nothing in the database: its content is byte for byte what
// the old leader had at the last TXID of the log. Each step may be repeated: kill -9 anywhere, open the
// replica again, promote again.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "db/replica.hpp"
#include "log/appender.hpp"
#include "log/log_view.hpp"
#include "log/object_bucket.hpp"
#include "replication/follower.hpp"
#include "replication/replica_feeder.hpp"

namespace litecluster::replication {

/// Brings the feeder's replica to the end of the log, fences the log for the appender's author, and applies
/// the fence. `view`: as for log::fence_log(). Returns the fence. Errors: deposed (a newer epoch owns the
/// log); those of log and replica: it may be tried again.
[[nodiscard]] Result<log::Object> fence_with_replica(const Context& context, log::ObjectBucket& bucket,
                                                     log::Appender& appender, ReplicaFeeder& feeder,
                                                     std::optional<log::LogView> view = std::nullopt);

struct PromotionOptions {
  /// Epoch 0: one above the highest in the log, for those who hold no election.
  log::Author author;
  /// Read the whole database and compare it with its checksum. Without it every page that was applied has
  /// been checked, and the file is known to be the one that we wrote.
  bool full_check = false;
  /// How long readers that stand in the way of emptying the WAL are waited for.
  std::chrono::milliseconds reader_patience{50};
};

struct Promotion {
  /// The fence, with which the new epoch begins.
  log::Object fence;
  db::Handover database;
};

/// Blocks. On success the database at the replica's path is a primary in WAL mode, synced, that nobody here
/// has open, and its position file is gone. After an error the replica is a replica still; follow it again
/// with Follower::start().
[[nodiscard]] Result<Promotion> promote(const Context& context, std::unique_ptr<Follower> follower,
                                        log::ObjectBucket& bucket, PromotionOptions options);

}  // namespace litecluster::replication
