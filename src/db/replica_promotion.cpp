// Giving a replica away: to become a primary.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/fault_point.hpp"
#include "base/file.hpp"
#include "db/replica_implementation.hpp"

namespace litecluster::db {

namespace {

// What a promotion reads at most to have the checksums of all pages; the rest is read by whoever attaches.
constexpr std::uint32_t scrub_pages_at_the_end = 4096;

}  // namespace

// Through SQLite's own handles: opening and closing the files here would drop other connections' locks.
Status Replica::Implementation::sync_file(sqlite3_file* file) const {
  const int synced = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
  if (synced == SQLITE_OK) return {};
  return std::unexpected(sqlite_error(synced, "fsync", options_.path.string()));
}

Result<Handover> Replica::Implementation::hand_over(bool full_scan, std::chrono::milliseconds patience) {
  if (state_ != ReplicaState::ready) {
    return failure(
        ErrorCode::failed_precondition, "hand over replica", options_.path.string(),
        state_ == ReplicaState::empty ? "it is empty" : "it is quarantined: " + quarantine_reason_);
  }
  if (position_is_doubtful()) {
    return failure(ErrorCode::failed_precondition, "hand over replica", options_.path.string(),
                   "its position is no more than a guess");
  }
  if (full_scan) {
    if (auto verified = verify(); !verified) return std::unexpected(verified.error());
  }
  if (auto scrubbed = scrub(scrub_pages_at_the_end); !scrubbed) return std::unexpected(scrubbed.error());
  stop_checkpointer();
  if (auto transaction = begin_own(); !transaction) return std::unexpected(transaction.error());
  // The record is not synced: it says where a replica is, and this is about to be none. A power failure
  // before that costs a look at the whole content. The WAL first: frames that somebody who does not sync has
  // copied back, and that are on disk in part, must not come back with a WAL whose cutting was not synced.
  if (auto synced = sync_file(connection_->journal_file()); !synced) return std::unexpected(synced.error());
  connection_->set_busy_timeout(patience);
  const int result = ::sqlite3_wal_checkpoint_v2(connection_->handle(), "main", SQLITE_CHECKPOINT_TRUNCATE,
                                                 nullptr, nullptr);
  if (result != SQLITE_OK && (result & 0xFF) != SQLITE_BUSY) {
    return std::unexpected(connection_->error(result, "checkpoint"));
  }
  if (auto synced = sync_file(connection_->database_file()); !synced) return std::unexpected(synced.error());
  Handover handover;
  handover.position = {position_.txid, position_.checksum};
  handover.epoch = position_.epoch;
  handover.page_size = page_size_;
  handover.page_count = page_count_;
  // In this order: whoever wrote before is found out here, whoever does afterwards changes the stamp.
  const auto file = file_status(options_.path);
  if (!file) return std::unexpected(file.error());
  handover.stamp = file->stamp;
  if (auto transaction = begin_own(); !transaction) return std::unexpected(transaction.error());
  if (auto written = write_record(position_, std::nullopt); !written) return std::unexpected(written.error());
  handover.wal = wal_end_of(header_);
  handover.wal_is_empty = header_.frame_max == 0 || header_.frame_max == writer_->backfilled();
  if (scrub_done_) handover.page_checksums = checksums_.all(page_count_);
  disconnect();
  state_ = ReplicaState::quarantined;
  quarantine_reason_ = "handed over";
  return handover;
}

// Links for -wal and -shm first, then the rename, then the old names go: whenever we are stopped, the
// database has its WAL beside it under the name that it then has. Readers share the files with whoever opens
// the new name, so their locks still hold against each other.
//
// Against a power failure the links are on disk before the rename, unless the WAL is empty: then it does not
// matter which of them is. That the old names are gone need not be on disk: a process killed here leaves them
// as well, and whoever makes a database under such a name removes them first.
Status move_database(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (const auto present = file_status(to); present) {
    return failure(ErrorCode::already_exists, "move database", to.string(), "there is a file already");
  }
  const auto wal = file_status(with_suffix(from, "-wal"));
  for (const char* suffix : {"-wal", "-shm"}) {
    const auto source = with_suffix(from, suffix);
    const auto target = with_suffix(to, suffix);
    if (auto removed = base::remove_file(target); !removed) return removed;
    if (::link(source.c_str(), target.c_str()) != 0 && errno != ENOENT) {
      return std::unexpected(base::errno_error(errno, "link", source.string() + " to " + target.string()));
    }
  }
  if (wal && wal->stamp.size > 0) {
    if (auto synced = base::fsync_directory(to.parent_path()); !synced) return synced;
  }
  LITECLUSTER_FAULT_POINT("replica.move.linked");
  if (auto renamed = base::rename_durably(from, to); !renamed) return renamed;
  LITECLUSTER_FAULT_POINT("replica.move.renamed");
  for (const char* suffix : {"-wal", "-shm"}) {
    if (auto removed = base::remove_file(with_suffix(from, suffix)); !removed) return removed;
  }
  if (from.parent_path() == to.parent_path()) return {};
  return base::fsync_directory(from.parent_path());
}

}  // namespace litecluster::db
