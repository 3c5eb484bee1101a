// The database of one node in its two roles: a replica that follows the log, or the primary whose commits go
// into it. Carries out the steps of RoleMachine that concern files and the log; each may be run again after a
// crash.
//
// What lies on disk when a node starts, and what becomes of it in follow():
//   only a replica   it follows from its position.
//   a primary        this node led when it ended; what it is worth is judged (app/former_primary.hpp):
//     prefix         a state that the log holds: the file becomes the replica
//     ahead          the log's end and commits behind it: the file is left as it is (a "dormant" primary);
//                    when this node wins the next term, they become the next TXID, and nothing is lost
//     diverged       the file is put into `<path>.diverged-<epoch>/` with an LTX of the pages that differ,
//                    and the replica is seeded from the log
//   nothing          the replica is seeded; with an empty log, the first leader creates an empty database.
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

#include "app/former_primary.hpp"
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
  std::function<void(const db::ReplicaPosition&)> on_position;
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

  /// True when a standby should run follow() again: a dormant primary was overtaken, or nothing is followed,
  /// because follow() failed. Thread-safe.
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
  [[nodiscard]] bool primary_exists() const;
  [[nodiscard]] Status start_follower(std::shared_ptr<log::LogWatcher> watcher);
  [[nodiscard]] Status settle_primary(const Context& context,
                                      const std::shared_ptr<log::LogWatcher>& watcher);
  [[nodiscard]] Result<std::unique_ptr<db::Database>> attach(const Context& context, const db::LogEnd& end,
                                                             std::optional<db::Handover> handover = {}) const;
  [[nodiscard]] db::DatabaseOptions capture_options() const;
  [[nodiscard]] Status primary_to_replica(const FormerPrimary& primary);
  [[nodiscard]] Status put_aside(const Context& context, const std::filesystem::path& database,
                                 std::optional<db::CapturedTransaction> difference, Epoch epoch);
  void let_go();
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
  std::shared_ptr<log::LogWatcher> watcher_;
  // From a demotion to the next follow(): it knows the log, which may be long.
  std::shared_ptr<log::LogWatcher> kept_watcher_;
  std::unique_ptr<log::Appender> appender_;
  db::LogEnd fence_;
  bool in_place_ = false;  // the primary was there already

  mutable base::Mutex mutex_;
  std::shared_ptr<replication::Follower> follower_ LITECLUSTER_GUARDED_BY(mutex_);
  std::shared_ptr<replication::LeaderSession> session_ LITECLUSTER_GUARDED_BY(mutex_);
  std::shared_ptr<log::LogWatcher> dormant_watcher_ LITECLUSTER_GUARDED_BY(mutex_);
  std::optional<Position> dormant_position_ LITECLUSTER_GUARDED_BY(mutex_);
  std::optional<Position> last_position_
      LITECLUSTER_GUARDED_BY(mutex_);  // from a demotion to the next follow
};

}  // namespace litecluster::app
