// The database of one node in its two roles: a replica that follows the log, or the primary whose commits go
// into it. Carries out the steps of RoleMachine that concern files and the log; each may be run again after a
// crash.
//
// What lies on disk when a node starts, and what becomes of it in follow():
//   only a replica        it follows from its position.
//   a primary             this node led when it ended. Its stored state says which TXID the log had
//   acknowledged last.
//     nothing beyond that TXID was committed: the file becomes the replica.
//     there are such commits, and the log still ends there: the file is left as it is (a "dormant" primary).
//     If this
//       node wins the next term, they become the next TXID; nothing is lost.
//     the machine was booted since, and the content is not what the log had acknowledged: a power failure may
//       have taken commits away that the log has. A state that the log knows becomes the replica and catches
//       up; anything else is put aside. It is never published, for that would take acknowledged commits back.
//     there are such commits, and somebody else appended meanwhile: they are diverged. The file is put into
//       `<path>.diverged-<epoch>/` with an LTX of the pages that differ, and the replica is seeded from the
//       log.
//   nothing               the replica is seeded; with an empty log, the first leader creates an empty
//   database.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <litecluster/app_options.hpp>
#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/lag.hpp>
#include <litecluster/types.hpp>

#include "base/mutex.hpp"
#include "db/database.hpp"
#include "log/appender.hpp"
#include "log/log_watcher.hpp"
#include "log/object_bucket.hpp"
#include "replication/follower.hpp"
#include "replication/leader_session.hpp"

namespace litecluster::app {

struct DatabaseRoleOptions {
  Sqlite sqlite;  ///< replica and bucket filled in
  std::string node;
  std::string incarnation;
  /// Told of each applied position, from a thread of the follower.
  std::function<void(Position)> on_position;
  /// Publishing ended for good (deposed, database replaced); from a thread of the publisher.
  std::function<void(const Error&)> on_fatal;
};

/// Steps are called by one thread; what says so is thread-safe.
class DatabaseRole {
 public:
  /// `bucket` outlives it.
  DatabaseRole(DatabaseRoleOptions options, log::ObjectBucket& bucket);
  ~DatabaseRole();
  DatabaseRole(const DatabaseRole&) = delete;
  DatabaseRole& operator=(const DatabaseRole&) = delete;

  // The steps.
  [[nodiscard]] Status follow(const Context& context);
  [[nodiscard]] Status catch_up(const Context& context);
  [[nodiscard]] Status fence(const Context& context, Epoch epoch);
  [[nodiscard]] Status seal_replica(const Context& context);
  [[nodiscard]] Status install_primary(const Context& context);
  [[nodiscard]] Status attach_capture(const Context& context);
  [[nodiscard]] Status final_sync(const Context& context);
  [[nodiscard]] Status detach_capture();
  [[nodiscard]] Status retire_primary(const Context& context);

  /// True when follow() should be run again: a dormant primary was overtaken. Thread-safe.
  [[nodiscard]] bool overtaken() const;
  /// A primary of ours that may lead again as it is. Thread-safe.
  [[nodiscard]] bool ready() const;

  /// Thread-safe, all of them.
  [[nodiscard]] std::optional<Position> position() const;
  [[nodiscard]] Lag lag() const;
  [[nodiscard]] Epoch log_epoch() const;
  [[nodiscard]] std::optional<Error> problem() const;
  [[nodiscard]] Status sync(const Context& context) const;
  [[nodiscard]] Result<log::Object> snapshot(const Context& context) const;
  [[nodiscard]] std::vector<std::string> diverged() const;

 private:
  // What lies at the primary path while this node does not lead.
  struct FormerPrimary {
    db::AttachReport report;
    bool stored = false;  // it is known what the log had acknowledged
    // Commits that the log is not known to have; the first 64 MiB of them.
    std::optional<db::CapturedTransaction> pending;
    Position content;
  };

  [[nodiscard]] bool primary_exists() const;
  [[nodiscard]] Status start_follower();
  [[nodiscard]] Status settle_primary(const Context& context);
  [[nodiscard]] Result<FormerPrimary> look_at_primary(const Context& context) const;
  [[nodiscard]] Result<std::unique_ptr<db::Database>> attach(const Context& context,
                                                             std::optional<db::LogEnd> end,
                                                             std::optional<db::Handover> handover = {}) const;
  [[nodiscard]] Status primary_to_replica(const Position& position, Epoch epoch);
  [[nodiscard]] bool primary_is_at(const Context& context, const db::LogEnd& end) const;
  [[nodiscard]] Status put_aside(const Context& context, const std::filesystem::path& database,
                                 const db::CapturedTransaction* difference, Epoch epoch);
  [[nodiscard]] Status create_empty_primary() const;
  [[nodiscard]] Result<db::LogEnd> log_end(const Context& context) const;
  void share_session(std::shared_ptr<replication::LeaderSession> session);
  [[nodiscard]] std::shared_ptr<replication::LeaderSession> session() const;
  [[nodiscard]] std::shared_ptr<replication::Follower> follower() const;

  DatabaseRoleOptions options_;
  log::ObjectBucket& bucket_;

  // Between the steps of one promotion.
  std::unique_ptr<replication::ReplicaFeeder> feeder_;
  std::optional<db::Handover> handover_;
  std::unique_ptr<db::Database> database_;
  std::unique_ptr<log::LogWatcher> watcher_;
  std::unique_ptr<log::Appender> appender_;
  bool in_place_ = false;  // the primary was there already

  mutable base::Mutex mutex_;
  std::shared_ptr<replication::Follower> follower_ LITECLUSTER_GUARDED_BY(mutex_);
  std::shared_ptr<replication::LeaderSession> session_ LITECLUSTER_GUARDED_BY(mutex_);
  std::shared_ptr<log::LogWatcher> dormant_watcher_ LITECLUSTER_GUARDED_BY(mutex_);
  std::optional<Position> dormant_position_ LITECLUSTER_GUARDED_BY(mutex_);
};

}  // namespace litecluster::app
