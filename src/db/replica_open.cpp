// Opening a replica, deciding what position its data are at, and noticing that somebody else touched it.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/fault_point.hpp"
#include "base/file.hpp"
#include "base/logging.hpp"
#include "db/replica_implementation.hpp"
#include "ltx/checksum.hpp"
#include "ltx/format.hpp"

namespace litecluster::db {

std::filesystem::path with_suffix(std::filesystem::path path, const char* suffix) {
  path += suffix;
  return path;
}

Replica::Implementation::~Implementation() {
  static_cast<void>(close());
}

Status Replica::Implementation::open() {
  const auto file = file_status(options_.path);
  const bool missing = !file && file.error().code() == ErrorCode::not_found;
  // A reader that came too early has SQLite create an empty file.
  if (missing || (file && file->stamp.size == 0)) {
    state_ = ReplicaState::empty;
    return {};
  }
  if (!file) return std::unexpected(file.error());
  if (auto connected = connect(); !connected) {
    const ErrorCode code = connected.error().code();
    disconnect();
    if (code != ErrorCode::corrupt && code != ErrorCode::unsupported) return connected;
    quarantine(code, "open replica", connected.error().message());
    return {};
  }
  return decide_position();
}

Status Replica::Implementation::connect() {
  auto connection = Connection::open(options_.path, SQLITE_OPEN_READWRITE);
  if (!connection) return std::unexpected(connection.error());
  connection_ = std::make_unique<Connection>(std::move(*connection));
  connection_->set_busy_timeout(options_.lock_timeout);
  if (auto set = configure_replica_connection(*connection_, options_.sync); !set) return set;
  // The first read opens the WAL, recovers the wal-index when nobody has it open, and teaches the pager the
  // page size, which a checkpoint needs to know.
  if (auto read = connection_->query_integer("SELECT count(*) FROM sqlite_schema"); !read) {
    return std::unexpected(read.error());
  }
  const auto page_size = connection_->query_integer("PRAGMA page_size");
  if (!page_size) return std::unexpected(page_size.error());
  const auto page_count = connection_->query_integer("PRAGMA page_count");
  if (!page_count) return std::unexpected(page_count.error());
  page_size_ = static_cast<std::uint32_t>(page_size->value_or(0));
  page_count_ = static_cast<std::uint32_t>(page_count->value_or(0));
  auto writer = WalWriter::attach(*connection_, page_size_,
                                  {.lock_timeout = options_.lock_timeout,
                                   .sync_header = options_.sync,
                                   .size_limit = options_.wal_size_limit});
  if (!writer) return std::unexpected(writer.error());
  writer_ = std::move(*writer);
  const auto transaction = writer_->begin();
  if (!transaction) return std::unexpected(transaction.error());
  header_ = transaction->header();
  if (header_.frame_max > 0) page_count_ = header_.page_count;
  forget_checksums();
  checkpointed_at_ = 0;
  patient_at_ = 0;
  const std::pair<const char*, FileIdentity*> files[] = {
      {"", &database_identity_}, {"-wal", &wal_identity_}, {"-shm", &shared_memory_identity_}};
  for (const auto& [suffix, identity] : files) {
    const auto status = file_status(with_suffix(options_.path, suffix));
    if (!status) return std::unexpected(status.error());
    *identity = status->identity;
  }
  if (options_.background_checkpoints) {
    checkpointer_ = std::make_unique<ReplicaCheckpointer>(options_.path, record_file_, options_.sync);
  }
  return {};
}

void Replica::Implementation::stop_checkpointer() {
  if (!checkpointer_) return;
  statistics_.checkpoints += checkpointer_->report().checkpoints;
  checkpointer_.reset();
}

void Replica::Implementation::disconnect() {
  stop_checkpointer();
  writer_.reset();
  connection_.reset();
  forget_checksums();
}

Error Replica::Implementation::quarantine(ErrorCode code, std::string operation, std::string reason) {
  state_ = ReplicaState::quarantined;
  quarantine_reason_ = reason;
  base::log_warning("replica quarantined", {{"path", options_.path.string()}, {"reason", reason}});
  return {code, std::move(operation), options_.path.string(), std::move(reason)};
}

Status Replica::Implementation::decide_position() {
  const auto& record = record_file_.record();
  if (!record || record->file != database_identity_) {
    quarantine(ErrorCode::failed_precondition, "open replica",
               "nothing is recorded about this file, so its position is not known");
    return {};
  }
  position_ = record->base.position;
  doubtful_to_ = record->doubtful_to;
  if (const auto position = position_from_record()) return settle(*position);
  if (record->base_is_unknown) {
    distrust("its content was not known when it was left");
    return {};
  }
  if (record_file_.written_in_this_boot() && header_.frame_max > 0) {
    // Ours are recorded before they are written.
    distrust("the WAL is not what was left: another program wrote to this replica");
    return {};
  }
  const auto position = position_from_content();
  if (!position) return std::unexpected(position.error());
  if (*position) return settle(**position);
  quarantine(ErrorCode::corrupt, "open replica",
             fmt::format("the content is not that of any recorded position (the last one is {})",
                         to_string(Position{position_.txid, position_.checksum})));
  return {};
}

std::optional<ReplicaPosition> Replica::Implementation::position_from_record() const {
  if (!record_file_.written_in_this_boot()) return std::nullopt;
  const ReplicaRecord& record = *record_file_.record();
  const WalEnd live = wal_end_of(header_);
  if (live.frame_max > 0) {
    if (record.next && record.next->wal == live) return record.next->position;
    if (record.base.wal == live && !record.base_is_unknown) return record.base.position;
    return std::nullopt;
  }
  if (record.base_is_unknown) return std::nullopt;
  const auto file = file_status(options_.path);
  if (file && record.stamp && *record.stamp == file->stamp) return record.base.position;
  return std::nullopt;
}

// Two positions can have the same checksum (ltx/checksum.hpp). Going on from the earlier one applies again
// what lies between; when the content is of the later one, that may not lead to the right checksums, and so
// the position stays doubtful until the last one is passed. Without a power failure the content is one of the
// two last recorded.
Result<std::optional<ReplicaPosition>> Replica::Implementation::position_from_content() {
  base::log_info("reading the whole replica to find its position", {{"path", options_.path.string()}});
  const auto checksum = scan();
  if (!checksum) return std::unexpected(checksum.error());
  const ReplicaRecord& record = *record_file_.record();
  std::optional<ReplicaPosition> recorded;
  if (record.next && record.next->position.checksum == *checksum) recorded = record.next->position;
  if (record.base.position.checksum == *checksum) recorded = record.base.position;
  if (recorded && record_file_.written_in_this_boot()) return recorded;
  const auto remembered = record_file_.remembered();
  if (!remembered) return std::unexpected(remembered.error());
  guessed_ = true;
  for (const Txid later : {remembered->empty() ? Txid(0) : remembered->back().txid, record.base.position.txid,
                           record.next ? record.next->position.txid : Txid(0)}) {
    doubtful_to_ = std::max(doubtful_to_, later);
  }
  const auto recognised = recognise(*remembered, *checksum);
  return recognised && (!recorded || recognised->txid < recorded->txid) ? recognised : recorded;
}

// The data are known to be at `position`: makes that the starting point.
Status Replica::Implementation::settle(const ReplicaPosition& position) {
  {
    auto transaction = writer_->begin();
    if (!transaction) return std::unexpected(transaction.error());
    header_ = transaction->header();
    transaction->discard_leftovers();
  }
  position_ = position;
  if (auto written = write_record(position, std::nullopt); !written) return written;
  state_ = ReplicaState::ready;
  quarantine_reason_.clear();
  only_seed_helps_ = false;
  return {};
}

Status Replica::Implementation::write_record(const ReplicaPosition& base, std::optional<RecordedState> next,
                                             bool base_is_unknown) {
  ReplicaRecord record;
  record.file = database_identity_;
  record.base = {base, wal_end_of(header_)};
  record.next = next;
  record.doubtful_to = doubtful_to_ > base.txid && !base_is_unknown ? doubtful_to_ : Txid(0);
  record.base_is_unknown = base_is_unknown;
  if (header_.frame_max == writer_->backfilled()) {
    const auto file = file_status(options_.path);
    if (file) record.stamp = file->stamp;
  }
  if (auto written = record_file_.write(record); !written) return written;
  LITECLUSTER_FAULT_POINT("replica.record.slot");
  if (base_is_unknown && !next) return {};
  return record_file_.remember(next ? next->position : base);
}

Status Replica::Implementation::same_files() const {
  const std::pair<const char*, FileIdentity> files[] = {
      {"", database_identity_}, {"-wal", wal_identity_}, {"-shm", shared_memory_identity_}};
  for (const auto& [suffix, identity] : files) {
    const auto path = with_suffix(options_.path, suffix);
    const auto status = file_status(path);
    if (status && status->identity == identity) continue;
    return failure(ErrorCode::failed_precondition, "apply", path.string(),
                   status ? "the file was replaced by another one" : "the file was deleted");
  }
  return {};
}

Result<WalTransaction> Replica::Implementation::begin_own() {
  if (auto same = same_files(); !same) {
    return std::unexpected(quarantine(ErrorCode::failed_precondition, "apply", same.error().message()));
  }
  auto transaction = writer_->begin();
  if (!transaction) return transaction;
  const WalIndexHeader& live = transaction->header();
  // A checkpoint by another program may have emptied the WAL; that changes nothing of the content. A recovery
  // by another program rebuilds the header and only loses the counter.
  const bool emptied =
      live.frame_max == 0 && live.change_counter == header_.change_counter && writer_->backfilled() == 0;
  const bool recovered = wal_end_of(live) == wal_end_of(header_) && live.page_count == header_.page_count;
  if (live != header_ && !emptied && !recovered) {
    distrust("another program wrote to this replica");
    return failure(ErrorCode::failed_precondition, "apply", options_.path.string(), quarantine_reason_);
  }
  if (emptied && header_.frame_max != 0) {
    checkpointed_at_ = 0;
    patient_at_ = 0;
  }
  header_ = live;
  return transaction;
}

Result<Checksum> Replica::Implementation::scan() {
  if (!writer_) {
    return failure(ErrorCode::failed_precondition, "scan replica", options_.path.string(),
                   "there is no readable database");
  }
  // Held to the end: nobody can start the WAL anew under the scan. Readers do not need this lock.
  const auto transaction = writer_->begin();
  if (!transaction) return std::unexpected(transaction.error());
  const WalIndexHeader& header = transaction->header();
  const std::uint32_t page_count = header.frame_max > 0 ? header.page_count : page_count_;
  forget_checksums();
  return scan_database(checksums_, *writer_, header.frame_max, page_count);
}

Result<bool> Replica::Implementation::scrub(std::uint32_t pages_max) {
  if (state_ != ReplicaState::ready) {
    return failure(ErrorCode::failed_precondition, "scrub replica", options_.path.string(),
                   "it is not ready");
  }
  if (scrub_done_) return false;
  // Nobody can start the WAL anew meanwhile.
  const auto transaction = begin_own();
  if (!transaction) return std::unexpected(transaction.error());
  const PageNo lock_page = ltx::lock_page(page_size_);
  for (std::uint32_t read = 0; scrubbed_ < page_count_ && read < pages_max;) {
    const PageNo number(++scrubbed_);
    if (number == lock_page || checksums_.get(number)) continue;
    const auto checksum = checksum_of_page(checksums_, *writer_, number, header_.frame_max);
    if (!checksum) return std::unexpected(checksum.error());
    ++read;
  }
  if (scrubbed_ < page_count_) return true;
  Checksum sum;
  for (const std::uint64_t page : checksums_.all(page_count_)) {
    if (page != 0) sum = sum.toggled(Checksum(page));
  }
  if (sum != position_.checksum) {
    return std::unexpected(
        quarantine(ErrorCode::corrupt, "scrub replica",
                   fmt::format("the content has checksum {}, but position {} says {}", to_string(sum),
                               to_string(position_.txid), to_string(position_.checksum))));
  }
  scrub_done_ = true;
  return false;
}

Result<bool> Replica::Implementation::scrub_again(std::uint32_t pages_max) {
  if (state_ != ReplicaState::ready || !scrub_done_) {
    return failure(ErrorCode::failed_precondition, "scrub replica again", options_.path.string(),
                   "it is not ready, or was not scrubbed yet");
  }
  const auto transaction = begin_own();
  if (!transaction) return std::unexpected(transaction.error());
  const PageNo lock_page = ltx::lock_page(page_size_);
  base::Bytes page(page_size_);
  for (std::uint32_t read = 0; scrubbed_again_ < page_count_ && read < pages_max;) {
    const PageNo number(++scrubbed_again_);
    const auto remembered = checksums_.get(number);
    if (number == lock_page || !remembered) continue;
    if (auto done = writer_->read_page(number, header_.frame_max, page); !done) {
      return std::unexpected(done.error());
    }
    if (ltx::page_checksum(number, page) != *remembered) {
      return std::unexpected(quarantine(ErrorCode::corrupt, "scrub replica again",
                                        fmt::format("page {} is not what it was", number.value())));
    }
    ++read;
  }
  if (scrubbed_again_ < page_count_) return true;
  scrubbed_again_ = 0;
  return false;
}

void Replica::Implementation::forget_checksums() {
  checksums_.clear();
  scrubbed_ = 0;
  scrubbed_again_ = 0;
  scrub_done_ = false;
}

Result<base::Bytes> Replica::Implementation::read_page(PageNo number) {
  if (!writer_ || number.is_zero() || number.value() > page_count_) {
    return failure(ErrorCode::invalid_argument, "read page " + std::to_string(number.value()),
                   options_.path.string(), "the replica has no such page");
  }
  base::Bytes page(page_size_);
  if (auto read = writer_->read_page(number, header_.frame_max, page); !read) {
    return std::unexpected(read.error());
  }
  return page;
}

// Takes what lies at the path now. When only the WAL's name was removed, our handle is the last that has its
// frames: they go into the database file first.
Status Replica::Implementation::reopen() {
  const auto file = file_status(options_.path);
  if (connection_ && file && file->identity == database_identity_) static_cast<void>(checkpoint());
  disconnect();
  auto connected = connect();
  if (!connected) disconnect();
  return connected;
}

void Replica::Implementation::distrust(const std::string& reason) {
  only_seed_helps_ = true;
  static_cast<void>(quarantine(ErrorCode::corrupt, "trust replica", reason));
  // So that whoever opens it next knows as well. When it cannot be written, the disk has other worries.
  const auto& record = record_file_.record();
  if (!record || record->base_is_unknown) return;
  if (auto written = write_record(position_, std::nullopt, true); !written) {
    base::log_warning("cannot record that a replica's content is unknown",
                      {{"reason", written.error().message()}});
  }
}

// The content may be of any state up to here: after a power failure the WAL can be newer than the record.
void Replica::Implementation::note_log_end(Txid end) {
  if (std::exchange(guessed_, false)) doubtful_to_ = std::max(doubtful_to_, end);
}

Status Replica::Implementation::verify() {
  if (state_ == ReplicaState::empty) {
    return failure(ErrorCode::failed_precondition, "verify replica", options_.path.string(), "it is empty");
  }
  if (only_seed_helps_) {
    return failure(ErrorCode::corrupt, "verify replica", options_.path.string(), quarantine_reason_);
  }
  if (!writer_ || !same_files()) {
    if (auto reopened = reopen(); !reopened) {
      return std::unexpected(
          quarantine(reopened.error().code(), "verify replica", reopened.error().message()));
    }
  }
  const auto checksum = scan();
  if (!checksum) return std::unexpected(checksum.error());
  if (*checksum != position_.checksum || position_.txid.is_zero()) {
    return std::unexpected(
        quarantine(ErrorCode::corrupt, "verify replica",
                   fmt::format("the content has checksum {}, but position {} says {}", to_string(*checksum),
                               to_string(position_.txid), to_string(position_.checksum))));
  }
  if (auto same = same_files(); !same) {
    return std::unexpected(
        quarantine(ErrorCode::failed_precondition, "verify replica", same.error().message()));
  }
  return settle(position_);
}

Status Replica::Implementation::adopt(const ReplicaPosition& position, Txid doubtful_to) {
  if (!writer_) {
    if (auto connected = connect(); !connected) {
      disconnect();
      return connected;
    }
  }
  state_ = ReplicaState::quarantined;
  only_seed_helps_ = false;
  position_ = position;
  doubtful_to_ = doubtful_to;
  return verify();
}

Status Replica::Implementation::close() {
  Status result;
  stop_checkpointer();
  if (state_ == ReplicaState::ready && writer_ && same_files()) {
    // Everything in the file, so that whoever closes last has nothing to write and the stamp stays true.
    result = checkpoint();
  }
  disconnect();
  state_ = ReplicaState::quarantined;
  quarantine_reason_ = "closed";
  return result;
}

}  // namespace litecluster::db
