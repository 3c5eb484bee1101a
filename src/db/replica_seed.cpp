// Putting a complete database in place.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "base/fault_point.hpp"
#include "base/file.hpp"
#include "db/replica_implementation.hpp"
#include "ltx/checksum.hpp"
#include "ltx/format.hpp"

namespace litecluster::db {

namespace {

// Calls `take(number, page)` for each page of the source, checks page 1, and returns the checksum.
template <typename Take>
Result<Checksum> read_source(const ReplicaSeed& seed, ReplicaPageSource& source, Take take) {
  const PageNo lock_page = ltx::lock_page(seed.page_size);
  base::Bytes page(seed.page_size);
  Checksum sum;
  for (std::uint64_t index = 1; index <= seed.page_count; ++index) {
    const PageNo number(static_cast<std::uint32_t>(index));
    if (number == lock_page) continue;
    if (auto read = source(number, page); !read) return std::unexpected(read.error());
    if (index == 1) {
      auto checked = check_first_page(page, seed.page_size, to_string(seed.txid));
      if (!checked) return std::unexpected(checked.error());
    }
    const Checksum checksum = ltx::page_checksum(number, page);
    sum = sum.toggled(checksum);
    if (auto taken = take(number, base::ByteView(page), checksum); !taken) {
      return std::unexpected(taken.error());
    }
  }
  if (seed.checksum && *seed.checksum != sum) {
    return failure(ErrorCode::corrupt, "seed replica", to_string(seed.txid),
                   fmt::format("the pages have checksum {}, expected is {}; nothing was changed",
                               to_string(sum), to_string(*seed.checksum)));
  }
  return sum;
}

}  // namespace

Status Replica::Implementation::seed(const ReplicaSeed& seed, ReplicaPageSource source) {
  if (seed.txid.is_zero() || seed.page_count == 0 || !ltx::is_page_size(seed.page_size)) {
    return failure(
        ErrorCode::invalid_argument, "seed replica", options_.path.string(),
        fmt::format("TXID {}, {} pages of {} bytes", seed.txid.value(), seed.page_count, seed.page_size));
  }
  // What it was is of no interest any more, and a half-made seed must not pass for it.
  if (position_is_doubtful() && state_ == ReplicaState::ready) distrust("it is about to be seeded");
  // No file at all may be left of what was there, or another one may lie there, or an unreadable one.
  const bool usable = writer_ && same_files() && page_size_ == seed.page_size;
  auto seeded = usable ? seed_into_wal(seed, std::move(source)) : seed_new_file(seed, source);
  if (!seeded) return seeded;
  state_ = ReplicaState::ready;
  quarantine_reason_.clear();
  only_seed_helps_ = false;
  guessed_ = false;
  doubtful_to_ = Txid(0);
  checkpoint_when_due();
  return {};
}

// Only the pages that differ go into the WAL, and they become visible at once.
Status Replica::Implementation::seed_into_wal(const ReplicaSeed& seed, ReplicaPageSource source) {
  auto transaction = writer_->begin();
  if (!transaction) return std::unexpected(transaction.error());
  header_ = transaction->header();
  if (header_.frame_max > 0) page_count_ = header_.page_count;
  if (transaction->restart()) {
    header_ = transaction->header();
    checkpointed_at_ = 0;
    patient_at_ = 0;
  }
  const std::uint32_t frame_max = header_.frame_max;
  base::Bytes old(page_size_);
  base::Bytes first;
  PageChecksums fresh;
  const auto checksum =
      read_source(seed, source, [&](PageNo number, base::ByteView page, Checksum page_sum) -> Status {
        fresh.set(number, page_sum);
        if (number == PageNo(1)) first.assign(page.begin(), page.end());
        if (number.value() <= page_count_) {
          if (auto read = writer_->read_page(number, frame_max, old); !read) return read;
          if (std::ranges::equal(old, page)) return {};
        }
        return transaction->append(number, page);
      });
  if (!checksum) return std::unexpected(checksum.error());
  if (transaction->appended() == 0 && page_count_ != seed.page_count) {
    if (auto appended = transaction->append(PageNo(1), first); !appended) return appended;
  }
  if (auto forgotten = record_file_.forget(); !forgotten) return forgotten;
  const ReplicaPosition next{seed.txid, *checksum, seed.epoch, seed.file};
  if (transaction->appended() == 0) {
    if (header_.frame_max == 0) transaction->discard_leftovers();
    if (auto written = write_record(next, std::nullopt); !written) return written;
    position_ = next;
  } else if (auto committed = commit(*transaction, next, seed.page_count); !committed) {
    return committed;
  }
  checksums_ = std::move(fresh);
  return {};
}

Status Replica::Implementation::seed_new_file(const ReplicaSeed& seed, ReplicaPageSource& source) {
  auto file = base::AtomicFile::create(options_.path);
  if (!file) return std::unexpected(file.error());
  base::Bytes buffer;
  std::uint64_t offset = 0;  // of the buffer in the file
  const auto flush = [&]() -> Status {
    auto written = file->write_at(buffer, offset);
    offset += buffer.size();
    buffer.clear();
    return written;
  };
  const auto checksum =
      read_source(seed, source, [&](PageNo number, base::ByteView page, Checksum) -> Status {
        const std::uint64_t at = std::uint64_t{number.value() - 1} * seed.page_size;
        if (at != offset + buffer.size() || buffer.size() >= (1U << 20U)) {  // the lock page stays a hole
          if (auto flushed = flush(); !flushed) return flushed;
          offset = at;
        }
        base::append_bytes(buffer, page);
        return {};
      });
  if (!checksum) return std::unexpected(checksum.error());
  if (auto flushed = flush(); !flushed) return flushed;
  if (options_.sync) {
    if (auto synced = base::fsync_file(file->descriptor(), file->temporary_path()); !synced) return synced;
  }
  const auto status = file_status(file->temporary_path());
  if (!status) return std::unexpected(status.error());
  LITECLUSTER_FAULT_POINT("replica.seed.built");

  if (const auto present = file_status(options_.path); present && present->stamp.size == 0) {
    return seed_empty_file(seed, file->descriptor());
  }
  // Whole by itself, for a reader that opens it after its WAL went and before the new one comes.
  if (writer_ && same_files()) static_cast<void>(checkpoint());
  // From here on the old content is given up. A WAL that belonged to it must not meet the new file.
  disconnect();
  state_ = ReplicaState::empty;
  for (const char* suffix : {"-wal", "-shm"}) {
    if (auto removed = base::remove_file(with_suffix(options_.path, suffix)); !removed) return removed;
  }
  ReplicaRecord record;
  record.file = status->identity;
  record.base.position = {seed.txid, *checksum, seed.epoch, seed.file};
  record.stamp = status->stamp;
  if (auto forgotten = record_file_.forget(); !forgotten) return forgotten;
  if (auto written = record_file_.write(record); !written) return written;
  if (auto remembered = record_file_.remember(record.base.position); !remembered) return remembered;
  if (auto synced = record_file_.sync(); !synced) return synced;
  LITECLUSTER_FAULT_POINT("replica.seed.recorded");
  if (auto committed = file->commit(); !committed) return committed;
  LITECLUSTER_FAULT_POINT("replica.seed.renamed");
  if (auto connected = connect(); !connected) {
    quarantine(ErrorCode::failed_precondition, "seed replica", connected.error().message());
    disconnect();
    return connected;
  }
  return settle(record.base.position);
}

// A reader that came before us has created the file, and may have it open. It must not be replaced: SQLite
// deletes the WAL beside a database that it takes for empty, so that reader would delete ours again and
// again. The pages go into the file that is there, as one transaction.
Status Replica::Implementation::seed_empty_file(const ReplicaSeed& seed, int descriptor) {
  const auto pragmas = fmt::format("PRAGMA page_size={}; PRAGMA journal_mode=WAL", seed.page_size);
  {
    auto connection = Connection::open(options_.path, SQLITE_OPEN_READWRITE);
    if (!connection) return std::unexpected(connection.error());
    connection->set_busy_timeout(options_.lock_timeout);
    if (auto made = connection->execute(pragmas); !made) return made;
  }
  disconnect();
  if (auto connected = connect(); !connected) {
    disconnect();
    return connected;
  }
  position_ = {};
  quarantine(ErrorCode::failed_precondition, "seed replica", "its first content is not complete yet");
  return seed_into_wal(seed, [&](PageNo number, std::span<std::byte> page) -> Status {
    const auto count =
        base::read_at(descriptor, page, std::uint64_t{number.value() - 1} * page.size(), options_.path);
    if (!count) return std::unexpected(count.error());
    if (*count == page.size()) return {};
    return failure(ErrorCode::io, "seed replica", options_.path.string(), "the built file ends early");
  });
}

}  // namespace litecluster::db
