// One term of publishing: a fenced appender, an attached database, and the threads that keep the log.
//
// Two ways lead here. A node that was promoted has fenced the log with its replica's page 1 before the
// replica became the database; start() takes both over. A publisher without election (`litecluster
// replicate`) fences with the database itself: take_over() does it.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "db/database.hpp"
#include "log/appender.hpp"
#include "log/log_watcher.hpp"
#include "log/object_bucket.hpp"
#include "replication/maintainer.hpp"
#include "replication/publisher.hpp"

namespace litecluster::replication {

struct LeaderSessionOptions {
  PublisherOptions publisher;  ///< its epoch is the author's
  MaintainerOptions maintainer;
};

/// Thread-safe. `bucket` outlives it.
class LeaderSession {
 public:
  /// `appender` has fenced the log and ends where `database` is acknowledged.
  [[nodiscard]] static Result<std::unique_ptr<LeaderSession>> start(LeaderSessionOptions options,
                                                                    log::ObjectBucket& bucket,
                                                                    std::shared_ptr<log::LogWatcher> watcher,
                                                                    std::unique_ptr<log::Appender> appender,
                                                                    std::unique_ptr<db::Database> database);

  /// Attaches to the database, fences the log with the next epoch, and starts. Another publisher of the same
  /// bucket is deposed by it. `author` in the options needs node and incarnation; the epoch is found here.
  /// `last_epoch`: the epoch that the last attempt of this process used, so that another one uses a higher
  /// one: what that attempt sent may still arrive.
  [[nodiscard]] static Result<std::unique_ptr<LeaderSession>> take_over(const Context& context,
                                                                        LeaderSessionOptions options,
                                                                        db::DatabaseOptions database,
                                                                        log::ObjectBucket& bucket,
                                                                        Epoch* last_epoch = nullptr);

  /// Stops and lets go of the database.
  ~LeaderSession();
  LeaderSession(const LeaderSession&) = delete;
  LeaderSession& operator=(const LeaderSession&) = delete;

  [[nodiscard]] Publisher& publisher() { return *publisher_; }
  [[nodiscard]] Maintainer& maintainer() { return *maintainer_; }
  [[nodiscard]] const log::LogWatcher& watcher() const { return *watcher_; }
  /// For whoever follows afterwards: it goes on watching when the session has stopped.
  [[nodiscard]] std::shared_ptr<log::LogWatcher> shared_watcher() const { return watcher_; }
  [[nodiscard]] Epoch epoch() const { return epoch_; }
  /// The first trouble of publisher, watcher or maintainer; nothing while all is well.
  [[nodiscard]] std::optional<Error> problem() const;

  /// Stops the threads and gives the database back.
  [[nodiscard]] std::unique_ptr<db::Database> stop();

 private:
  LeaderSession() = default;
  Epoch epoch_;
  std::shared_ptr<log::LogWatcher> watcher_;
  std::unique_ptr<Publisher> publisher_;
  std::unique_ptr<Maintainer> maintainer_;
};

}  // namespace litecluster::replication
