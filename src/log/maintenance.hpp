// What the leader does to the log besides appending: compaction, snapshots, retention.
//
// All of it only adds objects that hold nothing new and removes objects that hold nothing needed, so a leader
// that does not yet know that it is deposed does no harm by it. It stops all the same as soon as it sees a
// higher epoch in the log.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "log/byte_pipe.hpp"
#include "log/compaction_schedule.hpp"
#include "log/log_view.hpp"
#include "log/log_watcher.hpp"
#include "log/object_bucket.hpp"
#include "log/retention.hpp"
#include "ltx/format.hpp"

namespace litecluster::log {

struct MaintenanceOptions {
  ltx::PageEncoding encoding = ltx::PageEncoding::block;
  /// Where inputs of a large merge lie meanwhile, in files without a name. Empty: the temporary directory.
  std::filesystem::path spool_directory{};
  /// Inputs of a merge are kept in memory up to this size, all together.
  std::uint64_t input_memory_max = std::uint64_t{32} << 20U;
  /// Removals under way at the same time: each takes a few round trips.
  std::size_t removals_in_flight = 8;
};

/// Thread-safe: it holds no state. `bucket` outlives it.
class Maintenance {
 public:
  Maintenance(ObjectBucket& bucket, Author author, MaintenanceOptions options = {});

  [[nodiscard]] ObjectBucket& bucket() const { return bucket_; }

  /// deposed when the log knows a higher epoch than ours.
  [[nodiscard]] Status check_leadership(const LogView& view) const;

  /// Merges the job's inputs and puts the result, which carries the time and database checksum of the last
  /// input. When it is there already, returns that. Errors: not_found (an input vanished: plan again),
  /// already_exists (the name is taken by a tombstone), corrupt, gap, resource_exhausted (the bucket is
  /// full), io (the disk, be it that it is full), those of the transport.
  [[nodiscard]] Result<Object> compact(const Context& context, const CompactionJob& job);

  /// Puts the snapshot that `producer` writes: a whole LTX file of TXIDs 1 to `txid`, whose header carries
  /// `created_at`. `checksum` is that of the database. When it is there already, returns that.
  [[nodiscard]] Result<Object> put_snapshot(const Context& context, Txid txid, base::WallTime created_at,
                                            std::optional<Checksum> checksum, const ByteProducer& producer);

  /// Removes objects, several at a time. `on_removed` is called for each that is gone, from several threads.
  /// The first error ends it; what was removed until then stays removed.
  [[nodiscard]] Status remove(const Context& context, std::span<const Object> objects,
                              const std::function<void(const Object&)>& on_removed = {});

 private:
  [[nodiscard]] Result<Object> put_once(const Context& context, const NewObject& object,
                                        const ByteProducer& producer);

  ObjectBucket& bucket_;
  Author author_;
  MaintenanceOptions options_;
};

/// A merge that did not succeed. Those that come after it wait for it.
struct FailedCompaction {
  CompactionJob job;
  Error error;

  /// What the inputs hold is to blame, so that it will fail again, and readers do not get past them either.
  [[nodiscard]] bool is_unreadable() const;
};

struct MaintenanceReport {
  std::size_t compactions = 0;
  std::size_t removals = 0;
  std::optional<FailedCompaction> failed_compaction{};
  Status retention{};

  /// The first error.
  [[nodiscard]] Status status() const;
};

/// Does all compactions that are due, then retention, with the watcher's view. Neither keeps the other from
/// its work: in a full bucket nothing but retention makes room. Raw objects that a compaction repeats are
/// kept while that may be unreadable. What failed is in the report: call it again later. Errors: deposed;
/// those of the Context.
[[nodiscard]] Result<MaintenanceReport> run_maintenance(const Context& context, Maintenance& maintenance,
                                                        LogWatcher& watcher,
                                                        const CompactionSchedule& schedule,
                                                        const RetentionPolicy& policy,
                                                        const RetentionTimes& times, Revision settled);

}  // namespace litecluster::log
