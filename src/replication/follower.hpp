// The standby's side: keeps a replica at the end of the log, within milliseconds of each object.
//
// A LogWatcher learns of new objects by the bucket's metadata; one thread of the follower fetches and applies
// them in TXID order with a ReplicaFeeder. What cannot go on is told by problem() and tried again, at each
// change of the log and now and then by itself; a lag without progress is an alarm with its reason:
//
//   corrupt             an object of the log is bad (it is passed over), or the replica's content was
//   gap                 objects are missing, and nothing leads over the hole
//   not_found           an object is listed and not there, or the bucket is gone
//   resource_exhausted  the disk is full
//   permission_denied   the file system is read-only, or the files are somebody else's
//   busy                another program keeps the replica's write lock
//   failed_precondition the replica is ahead of the log, or at another state of its TXID; or its files were
//                       replaced or written by others
//   unavailable         NATS cannot be reached
//   deadline_exceeded   none of these, and yet no progress
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/lag.hpp>
#include <litecluster/types.hpp>

#include "base/clock.hpp"
#include "db/replica.hpp"
#include "log/log_watcher.hpp"
#include "log/object_bucket.hpp"
#include "replication/replica_feeder.hpp"

namespace litecluster::replication {

struct FollowerOptions {
  db::ReplicaOptions replica;
  ReplicaFeederOptions feeder;  ///< seed_path may be empty: beside the replica; its callbacks are ours
  /// Without progress for so long while something is missing, problem() says so.
  base::Duration stall_after = std::chrono::seconds(30);
  base::Duration retry_initial = std::chrono::milliseconds(20);
  base::Duration retry_cap = std::chrono::seconds(2);
  /// The same for seeds, each of which may fetch a whole database.
  base::Duration seed_retry_cap = std::chrono::seconds(30);
  /// How often the whole replica is read again to see that it is what it was; 0: never.
  base::Duration scrub_interval = std::chrono::minutes(10);
  /// Told of each new position, from the follower's thread. Must not block.
  std::function<void(const db::ReplicaPosition&)> on_applied;
};

/// Thread-safe. `bucket` outlives it, and stop()'s result.
class Follower {
 public:
  /// Opens the replica as it lies there and starts. May read the whole database when its position is in
  /// doubt. `watcher`: one that watches this bucket already, so that a long log need not be read again;
  /// nullptr: its own. Errors: those of db::Replica::open.
  [[nodiscard]] static Result<std::unique_ptr<Follower>> start(
      FollowerOptions options, log::ObjectBucket& bucket, std::shared_ptr<log::LogWatcher> watcher = nullptr);
  virtual ~Follower() = default;
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  /// TXID 0 while the replica is empty.
  [[nodiscard]] virtual db::ReplicaPosition position() const = 0;
  [[nodiscard]] virtual Lag lag() const = 0;
  /// The highest epoch seen in the log.
  [[nodiscard]] virtual Epoch log_epoch() const = 0;
  /// What keeps it from following; nothing while all is well.
  [[nodiscard]] virtual std::optional<Error> problem() const = 0;
  /// Waits until everything is applied that is in the log as seen when this was called. deadline_exceeded
  /// also when there was no progress for `stall_after`.
  [[nodiscard]] virtual Status catch_up(const Context& context) = 0;

  /// Ends the thread and hands the replica over, with what it needs to go on by hand.
  [[nodiscard]] virtual std::unique_ptr<ReplicaFeeder> stop() = 0;
  /// After stop(): what it watched the log with, which goes on watching.
  [[nodiscard]] virtual std::shared_ptr<log::LogWatcher> take_watcher() = 0;

 protected:
  Follower() = default;
};

}  // namespace litecluster::replication
