// Applying changes and checkpointing.
#include <algorithm>
#include <cstring>
#include <thread>

#include <fmt/format.h>

#include "base/fault_point.hpp"
#include "db/replica_implementation.hpp"
#include "ltx/checksum.hpp"
#include "ltx/format.hpp"

namespace litecluster::db {

Status check_first_page(base::ByteView page, std::uint32_t page_size, const std::string& subject) {
  const auto refuse = [&](ErrorCode code, std::string reason) {
    return failure(code, "check page 1", subject, std::move(reason));
  };
  constexpr std::string_view magic("SQLite format 3\0", 16);
  if (page.size() < 100 || base::as_text(page.first(magic.size())) != magic) {
    return refuse(ErrorCode::corrupt, "it does not begin with SQLite's signature");
  }
  const std::uint32_t coded = base::load_big_endian<std::uint16_t>(page.data() + 16);
  if ((coded == 1 ? 65536U : coded) != page_size) {
    return refuse(ErrorCode::corrupt, "it names another page size");
  }
  if (page[18] != std::byte{2} || page[19] != std::byte{2}) {
    return refuse(ErrorCode::unsupported, "the database is not in WAL mode");
  }
  return {};
}

Status Replica::Implementation::check_order(const ReplicaChange& change) const {
  const auto refuse = [&](ErrorCode code, std::string reason) {
    return failure(code, "apply", to_string(change.txid_last), std::move(reason));
  };
  if (change.txid_first.is_zero() || change.txid_last < change.txid_first) {
    return refuse(ErrorCode::corrupt, "impossible TXIDs");
  }
  const std::string at = "the replica is at " + to_string(position_.txid);
  if (change.txid_last <= position_.txid) return refuse(ErrorCode::already_exists, at);
  if (change.txid_first > position_.txid.next()) {
    return refuse(ErrorCode::gap, at + ", the change begins at " + to_string(change.txid_first));
  }
  if (change.epoch && *change.epoch < position_.epoch) {
    return refuse(ErrorCode::deposed, fmt::format("epoch {} is lower than {}, which was applied before",
                                                  change.epoch->value(), position_.epoch.value()));
  }
  return {};
}

Status Replica::Implementation::check_pages(const ReplicaChange& change) const {
  const std::string subject = to_string(change.txid_last);
  const auto refuse = [&](std::string reason) {
    return failure(ErrorCode::corrupt, "apply", subject, std::move(reason));
  };
  if (change.page_size != page_size_) {
    return refuse(fmt::format("page size {}, the replica has {}", change.page_size, page_size_));
  }
  if (change.page_count == 0) return refuse("a database of no pages");
  if (change.pages.empty()) return refuse("no pages");
  const PageNo lock_page = ltx::lock_page(page_size_);
  PageNo last(0);
  std::uint64_t new_pages = 0;
  for (const ReplicaPage& page : change.pages) {
    if (page.number <= last || page.number.value() > change.page_count || page.number == lock_page) {
      return refuse(fmt::format("page {} behind page {} in a database of {}", page.number.value(),
                                last.value(), change.page_count));
    }
    if (page.bytes.size() != page_size_) {
      return refuse(fmt::format("page {} has {} bytes", page.number.value(), page.bytes.size()));
    }
    if (page.number.value() > page_count_) ++new_pages;
    last = page.number;
  }
  if (change.page_count > page_count_) {
    const bool over_lock_page = lock_page.value() > page_count_ && lock_page.value() <= change.page_count;
    if (new_pages + static_cast<std::uint64_t>(over_lock_page) != change.page_count - page_count_) {
      return refuse(fmt::format("the database grows from {} to {} pages, but only {} new ones are there",
                                page_count_, change.page_count, new_pages));
    }
  }
  if (change.pages.front().number == PageNo(1)) {
    return check_first_page(change.pages.front().bytes, page_size_, subject);
  }
  return {};
}

Result<Checksum> Replica::Implementation::checksum_after(const ReplicaChange& change,
                                                         std::vector<Checksum>& pages) {
  Checksum sum = position_.checksum;
  pages.reserve(change.pages.size());
  for (const ReplicaPage& page : change.pages) {
    if (page.number.value() <= page_count_) {
      const auto old = checksum_of_page(checksums_, *writer_, page.number, header_.frame_max);
      if (!old) return std::unexpected(old.error());
      sum = sum.toggled(*old);
    }
    pages.push_back(ltx::page_checksum(page.number, page.bytes));
    sum = sum.toggled(pages.back());
  }
  const PageNo lock_page = ltx::lock_page(page_size_);
  for (std::uint64_t dropped = std::uint64_t{change.page_count} + 1; dropped <= page_count_; ++dropped) {
    const PageNo number(static_cast<std::uint32_t>(dropped));
    if (number == lock_page) continue;
    const auto old = checksum_of_page(checksums_, *writer_, number, header_.frame_max);
    if (!old) return std::unexpected(old.error());
    sum = sum.toggled(*old);
  }
  return sum;
}

Status Replica::Implementation::apply(const ReplicaChange& change) {
  if (state_ == ReplicaState::quarantined) {
    return failure(ErrorCode::failed_precondition, "apply", to_string(change.txid_last),
                   "the replica is quarantined: " + quarantine_reason_);
  }
  if (auto fits = check_order(change); !fits) return fits;
  if (state_ == ReplicaState::empty) return seed_from_change(change);
  if (auto fits = check_pages(change); !fits) return fits;
  const ReplicaPosition next{change.txid_last, {}, change.epoch.value_or(position_.epoch), change.file};
  if (auto written = write_change(change, next); !written) return written;
  ++statistics_.applies;
  statistics_.pages += change.pages.size();
  checkpoint_when_due();
  return {};
}

// The change is applied whatever becomes of the checkpoint; statistics() tells.
void Replica::Implementation::checkpoint_when_due() {
  const std::uint32_t added = header_.frame_max - std::min(checkpointed_at_, header_.frame_max);
  if (options_.checkpoint_frames == 0 || added < options_.checkpoint_frames) return;
  // In the background new frames keep coming, so a checkpoint may never catch up: when the WAL has grown too
  // much, applying waits for one.
  const std::uint64_t patient_from = std::uint64_t{4} * options_.checkpoint_frames;
  if (checkpointer_ && header_.frame_max <= std::max<std::uint64_t>(patient_from, patient_at_)) {
    checkpointer_->request();
    checkpointed_at_ = header_.frame_max;
    return;
  }
  static_cast<void>(checkpoint());
}

Status Replica::Implementation::write_change(const ReplicaChange& change, const ReplicaPosition& next) {
  auto transaction = begin_own();
  if (!transaction) return std::unexpected(transaction.error());
  if (transaction->restart()) {
    ++statistics_.wal_restarts;
    header_ = transaction->header();
    checkpointed_at_ = 0;
    patient_at_ = 0;
  }
  std::vector<Checksum> page_checksums;
  const auto checksum = checksum_after(change, page_checksums);
  if (!checksum) return std::unexpected(checksum.error());
  if (change.checksum && *change.checksum != *checksum) {
    return std::unexpected(quarantine(
        ErrorCode::corrupt, "apply",
        fmt::format("{} would make the checksum {}, expected is {}; nothing was changed",
                    to_string(change.txid_last), to_string(*checksum), to_string(*change.checksum))));
  }
  for (const ReplicaPage& page : change.pages) {
    if (auto appended = transaction->append(page.number, page.bytes); !appended) return appended;
  }
  if (auto committed = commit(*transaction, {next.txid, *checksum, next.epoch, next.file}, change.page_count);
      !committed) {
    return committed;
  }
  checksums_.truncate(page_count_);
  for (std::size_t index = 0; index < change.pages.size(); ++index) {
    checksums_.set(change.pages[index].number, page_checksums[index]);
  }
  return {};
}

// First the record of what is about to be, then the data: the position can lag behind the data for a moment,
// and the record says how to tell, but it is never ahead of them.
Status Replica::Implementation::commit(WalTransaction& transaction, const ReplicaPosition& next,
                                       std::uint32_t page_count) {
  const auto end = transaction.prepare(page_count);
  if (!end) return std::unexpected(end.error());
  // Of a replica in quarantine, or one whose position is a guess, only what a seed makes of it is known.
  const bool base_is_unknown = state_ != ReplicaState::ready;
  if (auto written = write_record(position_, RecordedState{next, *end}, base_is_unknown); !written) {
    return written;
  }
  LITECLUSTER_FAULT_POINT("replica.record.written");
  if (auto committed = transaction.commit(); !committed) return committed;
  header_ = transaction.header();
  page_count_ = page_count;
  position_ = next;
  return {};
}

bool Replica::Implementation::backfill_all(std::chrono::steady_clock::time_point give_up) {
  for (;;) {
    int frames = 0;
    int copied = 0;
    const int result = ::sqlite3_wal_checkpoint_v2(connection_->handle(), "main", SQLITE_CHECKPOINT_PASSIVE,
                                                   &frames, &copied);
    if (result == SQLITE_OK) {
      statistics_.checkpoint_error.reset();
      if (frames == copied) return true;
    } else if ((result & 0xFF) != SQLITE_BUSY) {
      statistics_.checkpoint_error = connection_->error(result, "checkpoint");
      return false;
    }
    if (std::chrono::steady_clock::now() >= give_up) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
}

Status Replica::Implementation::checkpoint() {
  if (!writer_) {
    return failure(ErrorCode::failed_precondition, "checkpoint", options_.path.string(),
                   "there is no database");
  }
  if (checkpointer_) checkpointer_->wait_until_idle();
  const auto now = std::chrono::steady_clock::now();
  const std::uint64_t patient_from = std::uint64_t{4} * options_.checkpoint_frames;
  const bool patient =
      patient_from > 0 && header_.frame_max > std::max<std::uint64_t>(patient_at_, patient_from);
  // The larger the WAL has become, the more a restart is worth: up to four times the patience.
  const auto worth = patient ? std::min<std::uint64_t>(4, header_.frame_max / patient_from) : 0;
  const auto give_up = now + options_.restart_patience * static_cast<int>(worth);
  if (options_.sync) {
    if (auto synced = record_file_.sync(); !synced) {
      statistics_.checkpoint_error = synced.error();
      return synced;
    }
  }
  ++statistics_.checkpoints;
  const bool complete = backfill_all(give_up);
  checkpointed_at_ = header_.frame_max;
  LITECLUSTER_FAULT_POINT("replica.checkpointed");
  bool restarted = false;
  if (complete && state_ == ReplicaState::ready) {
    if (auto transaction = begin_own()) {
      const auto left = give_up - std::chrono::steady_clock::now();
      restarted =
          patient && transaction->restart(std::chrono::duration_cast<std::chrono::microseconds>(left));
      if (restarted) {
        ++statistics_.wal_restarts;
        header_ = transaction->header();
        checkpointed_at_ = 0;
        patient_at_ = 0;
        // Until the next frame comes the file still has the old ones. When we are killed before that, the
        // next to open it would find them, which the record no longer knows, and take them for another
        // program's.
        transaction->discard_leftovers();
      }
      if (auto written = write_record(position_, std::nullopt); !written) {
        statistics_.checkpoint_error = written.error();
      }
    }
  }
  // A reader that stays: let the WAL grow a good deal before waiting again.
  if (patient && !restarted) {
    const std::uint64_t again =
        header_.frame_max + std::max<std::uint64_t>(patient_from, header_.frame_max / 4);
    patient_at_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(again, 0xFFFF'FFFF));
  }
  if (statistics_.checkpoint_error) return std::unexpected(*statistics_.checkpoint_error);
  return {};
}

Status Replica::Implementation::seed_from_change(const ReplicaChange& change) {
  std::size_t next = 0;
  const ReplicaSeed header{.txid = change.txid_last,
                           .epoch = change.epoch.value_or(Epoch(0)),
                           .file = change.file,
                           .page_size = change.page_size,
                           .page_count = change.page_count,
                           .checksum = change.checksum};
  return seed(header, [&](PageNo number, std::span<std::byte> destination) -> Status {
    if (next == change.pages.size() || change.pages[next].number != number ||
        change.pages[next].bytes.size() != destination.size()) {
      return failure(
          ErrorCode::corrupt, "apply", to_string(change.txid_last),
          fmt::format("page {} is missing from what should be a complete database", number.value()));
    }
    std::memcpy(destination.data(), change.pages[next].bytes.data(), destination.size());
    ++next;
    return {};
  });
}

ReplicaStatistics Replica::Implementation::statistics() const {
  ReplicaStatistics copy = statistics_;
  if (checkpointer_) {
    const auto report = checkpointer_->report();
    copy.checkpoints += report.checkpoints;
    if (!copy.checkpoint_error) copy.checkpoint_error = report.error;
  }
  copy.wal_frames = header_.frame_max;
  copy.wal_frames_pending =
      writer_ ? header_.frame_max - std::min(header_.frame_max, writer_->backfilled()) : 0;
  return copy;
}

}  // namespace litecluster::db
