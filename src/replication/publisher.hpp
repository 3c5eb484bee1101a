// The leader's side: every commit of the database goes into the log, in order, once.
//
// Two threads. The capture thread owns the Database: it waits for changes, captures them when the Batcher
// says so, encodes them as LTX into the outbox, and checkpoints. The append thread takes from the outbox and
// appends to the log, one object at a time, each retried until its fate is known: a TXID is never skipped and
// never sent twice with different content. An append that finds its name taken by somebody else means that
// this leader is deposed; the publisher then stops for good, and what it had not yet appended stays in the
// database alone.
//
// What goes wrong short of that (NATS away, bucket full, disk full) is retried with a capped back-off and
// told by problem(); commits gather in the WAL and, at its checkpoints, in the outbox, whose limit stops
// checkpoints, never captures of what only the WAL holds.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/clock.hpp"
#include "db/captured_transaction.hpp"
#include "db/database.hpp"
#include "ltx/format.hpp"
#include "replication/batcher.hpp"
#include "replication/outbox.hpp"

namespace litecluster::replication {

/// Where L0 objects go. Implemented over log/; tests and the simulator stand in for it.
class AppendTarget {
 public:
  virtual ~AppendTarget() = default;
  /// Returns when the object is known to be in the log as ours, or when it is known not to get there. Errors:
  /// deposed (a newer leader has the log), gap (the log is not the one it was), invalid_argument (no such
  /// item can follow) are final; after anything else it is called again with the same item.
  [[nodiscard]] virtual Status append(const Context& context, const OutboxItem& item) = 0;
};

struct PublisherOptions {
  Epoch epoch;
  BatchLimits batch;
  OutboxOptions outbox;
  ltx::PageEncoding encoding = ltx::PageEncoding::block;
  /// A WAL larger than this is told by problem().
  std::uint64_t wal_bytes_max = std::uint64_t{1} << 30U;
  /// Between attempts to append.
  base::Duration retry_initial = std::chrono::milliseconds(50);
  base::Duration retry_cap = std::chrono::seconds(2);
};

struct PublisherStatistics {
  std::uint64_t appended = 0;
  std::uint64_t appended_bytes = 0;
  std::uint64_t retries = 0;
  std::size_t outbox_items = 0;
  std::uint64_t outbox_bytes = 0;
  db::DatabaseStatistics database;
};

/// Thread-safe.
class Publisher {
 public:
  /// Starts both threads. `target` is shared with nobody.
  [[nodiscard]] static Result<std::unique_ptr<Publisher>> start(PublisherOptions options,
                                                                std::unique_ptr<db::Database> database,
                                                                std::unique_ptr<AppendTarget> target);
  virtual ~Publisher() = default;
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  /// The last position that the log acknowledged; with TXID 0 when nothing was yet.
  [[nodiscard]] virtual Position position() const = 0;
  /// Returns when all that was committed before the call is acknowledged. Errors: deposed,
  /// failed_precondition (the database is gone or was replaced), those of the Context.
  [[nodiscard]] virtual Status sync(const Context& context) = 0;
  /// The database at one position that is already acknowledged when this returns. Writers are not held up.
  [[nodiscard]] virtual Result<db::DatabaseSnapshot> open_snapshot(const Context& context) = 0;

  /// Somebody else was seen to own the log: nothing more is appended, and it turns fatal with this reason.
  virtual void depose(const Error& reason) = 0;

  /// Why it cannot go on, for good (deposed, database replaced); nothing while it can.
  [[nodiscard]] virtual std::optional<Error> fatal() const = 0;
  /// What is wrong at the moment and retried; nothing when all is well.
  [[nodiscard]] virtual std::optional<Error> problem() const = 0;
  [[nodiscard]] virtual PublisherStatistics statistics() const = 0;
  /// Called once when it turns fatal, from a thread of the publisher; at once, in this thread, when it
  /// already has.
  virtual void on_fatal(std::function<void(const Error&)> callback) = 0;

  /// Stops both threads and gives the Database back. What was not acknowledged is not in the log.
  [[nodiscard]] virtual std::unique_ptr<db::Database> stop() = 0;

 protected:
  Publisher() = default;
};

}  // namespace litecluster::replication
