// The leader's housekeeping of the log in a thread of its own: compaction, snapshots, retention.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "base/clock.hpp"
#include "log/compaction_schedule.hpp"
#include "log/log_watcher.hpp"
#include "log/maintenance.hpp"
#include "log/object_bucket.hpp"
#include "log/retention.hpp"
#include "ltx/format.hpp"
#include "replication/publisher.hpp"

namespace litecluster::replication {

struct MaintainerOptions {
  log::Author author;
  log::CompactionOptions compaction;
  log::RetentionPolicy retention;
  base::Duration snapshot_interval = std::chrono::hours(1);
  /// Bytes of puts that never finished are removed when they are older; longer than any put takes.
  base::Duration orphan_grace = std::chrono::hours(6);
  ltx::PageEncoding encoding = ltx::PageEncoding::block;
  /// Waited after a round that failed; ever longer, up to a minute, where time does not cure it.
  base::Duration retry = std::chrono::seconds(5);
  /// For the inputs of large merges, in files without a name. Empty: the temporary directory.
  std::filesystem::path spool_directory{};
};

/// Thread-safe. What it is given outlives it.
class Maintainer {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Maintainer>> start(MaintainerOptions options,
                                                                 log::ObjectBucket& bucket,
                                                                 log::LogWatcher& watcher,
                                                                 Publisher& publisher);
  /// Cancels what is under way and waits for its end.
  virtual ~Maintainer() = default;
  Maintainer(const Maintainer&) = delete;
  Maintainer& operator=(const Maintainer&) = delete;

  /// Writes a snapshot of the present state, or returns the one that is there.
  [[nodiscard]] virtual Result<log::Object> snapshot(const Context& context) = 0;
  /// Why the last round failed; nothing when it did not.
  [[nodiscard]] virtual std::optional<Error> problem() const = 0;

 protected:
  Maintainer() = default;
};

}  // namespace litecluster::replication
