#include "db/capture_state.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <map>
#include <string>
#include <utility>

#include "base/fault_point.hpp"
#include "base/file.hpp"
#include "base/hex.hpp"
#include "base/logging.hpp"
#include "base/random.hpp"
#include "db/capture_state_codec.hpp"
#include "ltx/crc64.hpp"

namespace litecluster::db {

namespace {

constexpr std::uint64_t base_size_max = std::uint64_t{1} << 38U;  // far above 2^32 pages

Result<base::FileDescriptor> take_lock(const std::filesystem::path& path) {
  auto lock = base::open_file(path, O_RDWR | O_CREAT);
  if (!lock) return std::unexpected(lock.error());
  if (::flock(lock->get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK) {
    return failure(ErrorCode::busy, "attach to database", path.parent_path().string(),
                   "another litecluster process is attached to this database");
  }
  return std::unexpected(base::errno_error(errno, "lock", path.string()));
}

}  // namespace

std::filesystem::path CaptureState::journal_path(std::uint64_t id) const {
  return directory_ / ("journal-" + base::to_hex16(id));
}

Result<std::unique_ptr<CaptureState>> CaptureState::open(const std::filesystem::path& directory) {
  if (::mkdir(directory.c_str(), 0777) != 0 && errno != EEXIST) {
    return std::unexpected(base::errno_error(errno, "create directory", directory.string()));
  }
  auto lock = take_lock(directory / "lock");
  if (!lock) return std::unexpected(lock.error());
  auto state = std::unique_ptr<CaptureState>(new CaptureState(directory, std::move(*lock)));
  if (auto loaded = state->load(); !loaded) return std::unexpected(loaded.error());
  if (auto loaded = state->load_boot(); !loaded) return std::unexpected(loaded.error());
  return state;
}

Status CaptureState::load_boot() {
  const auto boot = base::read_boot_id();
  if (!boot) return std::unexpected(boot.error());
  boot_ = *boot;
  const auto stored = base::read_file(directory_ / "boot", boot_.size());
  confirmed_ = stored && std::ranges::equal(*stored, boot_);
  return {};
}

// Not synced: in another boot than this one, whatever is left of it says the same as nothing.
Status CaptureState::confirm() {
  if (confirmed_) return {};
  auto written = base::write_file_unsynced(directory_ / "boot", boot_);
  confirmed_ = written.has_value();
  return written;
}

void CaptureState::forget() {
  table_.clear();
  points_.clear();
  acknowledged_.reset();
  journal_.reset();
  journal_size_ = 0;
}

Status CaptureState::load() {
  const auto bytes = base::read_file(base_path(), base_size_max);
  if (!bytes) {
    if (bytes.error().code() == ErrorCode::not_found) return {};
    return std::unexpected(bytes.error());
  }
  if (!load_base(*bytes)) {
    base::log_warning("stored page checksums are damaged and will be computed anew",
                      {{"path", base_path().string()}});
    forget();
    return {};
  }
  return load_journal();
}

bool CaptureState::load_base(base::ByteView bytes) {
  const auto decoded = decode_base_header(bytes);
  if (!decoded) return false;
  const std::uint64_t count = decoded->point.page_count;
  if (bytes.size() != base_header_size + 8 * count + 8) return false;
  const base::ByteView checked = bytes.first(bytes.size() - 8);
  if (ltx::crc64(checked) != base::load_big_endian<std::uint64_t>(checked.data() + checked.size())) {
    return false;
  }
  id_ = decoded->id;
  table_.resize(count);
  for (std::uint64_t index = 0; index < count; ++index) {
    table_[index] = base::load_big_endian<std::uint64_t>(bytes.data() + base_header_size + 8 * index);
  }
  points_.push_back({.point = decoded->point, .offset = 0});
  if (decoded->acknowledged) acknowledged_ = decoded->point.txid;
  return true;
}

Status CaptureState::load_journal() {
  auto file = base::open_file(journal_path(id_), O_RDWR | O_CREAT);
  if (!file) return std::unexpected(file.error());
  journal_ = std::move(*file);
  journal_crc_ = id_;
  journal_size_ = 0;
  base::Bytes record;
  for (;;) {
    record.resize(record_header_size);
    auto count = base::read_at(journal_.get(), record, journal_size_, directory_);
    if (!count) return std::unexpected(count.error());
    const auto size = base::file_size(journal_.get(), directory_);
    if (!size) return std::unexpected(size.error());
    if (*count < record_header_size) break;
    const std::uint64_t whole =
        record_header_size + std::uint64_t{base::load_big_endian<std::uint32_t>(record.data() + 4)} + 8;
    if (whole > *size - journal_size_) break;
    record.resize(whole);
    count = base::read_at(journal_.get(), record, journal_size_, directory_);
    if (!count) return std::unexpected(count.error());
    if (*count < whole || !replay(record, journal_size_)) break;
    journal_size_ += whole;
  }
  return {};
}

bool CaptureState::replay(base::ByteView record, std::uint64_t offset) {
  const base::ByteView checked = record.first(record.size() - 8);
  const std::uint64_t crc = ltx::crc64(checked, journal_crc_);
  if (crc != base::load_big_endian<std::uint64_t>(record.data() + checked.size())) return false;
  const auto kind = base::load_big_endian<std::uint32_t>(record.data());
  const base::ByteView payload = checked.subspan(record_header_size);
  if (kind == record_captured) {
    const auto captured = decode_captured(payload);
    if (!captured || captured->point.txid != last().txid.next()) return false;
    apply(captured->point, captured->changes);
    points_.push_back({.point = captured->point, .offset = offset});
  } else if (kind == record_acknowledged) {
    const auto acknowledged = decode_acknowledged(payload);
    if (!acknowledged || acknowledged->first > last().txid) return false;
    acknowledged_ = acknowledged->first;
    while (points_.front().point.txid < acknowledged->first) points_.pop_front();
    points_.front().point.epoch = acknowledged->second;
  } else if (kind == record_file) {
    const auto file = decode_file(payload);
    const auto index = file ? index_of(file->first) : std::nullopt;
    if (!index) return false;
    points_[*index].file = file->second;
  } else {
    return false;
  }
  journal_crc_ = crc;
  return true;
}

// TXIDs follow each other.
std::optional<std::size_t> CaptureState::index_of(Txid txid) const {
  if (!known() || txid < points_.front().point.txid || txid > last().txid) return std::nullopt;
  return txid.value() - points_.front().point.txid.value();
}

std::optional<Checksum> CaptureState::file_of(Txid txid) const {
  const auto index = index_of(txid);
  return index ? points_[*index].file : std::nullopt;
}

bool CaptureState::recognises(Txid txid, std::optional<Checksum> file_checksum) const {
  const auto file = file_of(txid);
  return file && file_checksum ? file == file_checksum : acknowledged_ == txid;
}

void CaptureState::apply(const CapturePoint& point, std::span<const PageChange> changes) {
  table_.resize(std::max<std::size_t>(table_.size(), point.page_count), 0);
  for (const PageChange& change : changes) {
    if (change.page.value() <= table_.size()) table_[change.page.value() - 1] = change.after;
  }
  table_.resize(point.page_count);
}

Result<std::vector<PageChange>> CaptureState::read_changes(const Stored& stored) const {
  base::Bytes record(record_header_size);
  auto count = base::read_at(journal_.get(), record, stored.offset, directory_);
  if (!count) return std::unexpected(count.error());
  const std::uint64_t size = base::load_big_endian<std::uint32_t>(record.data() + 4);
  record.resize(size);
  count = base::read_at(journal_.get(), record, stored.offset + record_header_size, directory_);
  if (!count) return std::unexpected(count.error());
  auto captured = *count == size ? decode_captured(record) : std::nullopt;
  if (!captured) {
    return failure(ErrorCode::corrupt, "read", journal_path(id_).string(), "a record changed under us");
  }
  return std::move(captured->changes);
}

Result<bool> CaptureState::rewind(Txid txid, std::optional<Checksum> checksum) {
  const auto found = index_of(txid);
  if (!found || (checksum && points_[*found].point.checksum != *checksum)) return false;
  const std::size_t keep = *found + 1;
  if (keep == points_.size()) return true;
  std::vector<std::pair<PageNo, std::uint64_t>> undone;
  for (std::size_t index = points_.size(); index-- > keep;) {
    const auto changes = read_changes(points_[index]);
    if (!changes) return std::unexpected(changes.error());
    for (const PageChange& change : *changes) undone.emplace_back(change.page, change.before);
  }
  for (const auto& [page, value] : undone) {
    if (page.value() > table_.size()) table_.resize(page.value(), 0);
    table_[page.value() - 1] = value;
  }
  points_.resize(keep);
  table_.resize(last().page_count);
  // What stands behind in the journal is dropped with it.
  if (auto rotated = rotate(Syncing::later); !rotated) return std::unexpected(rotated.error());
  return true;
}

Status CaptureState::append(std::uint32_t kind, base::ByteView payload) {
  if (payload.size() > std::numeric_limits<std::uint32_t>::max()) {
    return failure(ErrorCode::too_large, "record capture", directory_.string(),
                   "more than 4 GiB of changed page checksums in one capture");
  }
  base::Bytes record;
  record.reserve(record_header_size + payload.size() + 8);
  base::append_big_endian(record, kind);
  base::append_big_endian(record, static_cast<std::uint32_t>(payload.size()));
  base::append_bytes(record, payload);
  const std::uint64_t crc = ltx::crc64(record, journal_crc_);
  base::append_big_endian(record, crc);
  // A half-written record is written over by the next try.
  if (auto written = base::write_at(journal_.get(), record, journal_size_, journal_path(id_)); !written) {
    return written;
  }
  journal_crc_ = crc;
  journal_size_ += record.size();
  return {};
}

Status CaptureState::record(const CapturePoint& point, std::span<const PageChange> changes) {
  if (auto synced = sync_base(); !synced) return synced;
  const std::uint64_t offset = journal_size_;
  if (auto written = append(record_captured, encode_captured(point, changes)); !written) return written;
  LITECLUSTER_FAULT_POINT("capture.recorded");
  apply(point, changes);
  points_.push_back({.point = point, .offset = offset});
  return {};
}

Status CaptureState::note_file(Txid txid, Checksum file_checksum) {
  const auto index = index_of(txid);
  if (!index) {
    return failure(ErrorCode::invalid_argument, "note file", to_string(txid), "it was never captured");
  }
  if (auto written = append(record_file, encode_file(txid, file_checksum)); !written) return written;
  points_[*index].file = file_checksum;
  return {};
}

Status CaptureState::acknowledge(Txid txid, Epoch epoch) {
  if (!known() || txid > last().txid) {
    return failure(ErrorCode::invalid_argument, "acknowledge", to_string(txid), "it was never captured");
  }
  if (acknowledged_ && txid <= *acknowledged_) return {};
  if (auto written = append(record_acknowledged, encode_acknowledged(txid, epoch)); !written) return written;
  acknowledged_ = txid;
  while (points_.front().point.txid < txid) points_.pop_front();
  points_.front().point.epoch = epoch;
  LITECLUSTER_FAULT_POINT("capture.acknowledged");
  if (journal_size_ <= std::max<std::uint64_t>(journal_size_min_, 8 * table_.size())) return {};
  return rotate(Syncing::now);
}

Status CaptureState::sync_base() {
  if (!base_unsynced_) return {};
  const auto file = base::open_file(base_path(), O_RDONLY);
  if (!file) return std::unexpected(file.error());
  if (auto synced = base::fsync_file(file->get(), base_path()); !synced) return synced;
  if (auto synced = base::fsync_directory(directory_); !synced) return synced;
  base_unsynced_ = false;
  return {};
}

Status CaptureState::sync() {
  if (auto synced = sync_base(); !synced) return synced;
  if (!journal_) return {};
  if (::fdatasync(journal_.get()) != 0) {
    return std::unexpected(base::errno_error(errno, "fsync", journal_path(id_).string()));
  }
  return {};
}

Status CaptureState::reset(const CapturePoint& point, std::vector<std::uint64_t> table, bool acknowledged) {
  forget();
  table_ = std::move(table);
  table_.resize(point.page_count);
  points_.push_back({.point = point, .offset = 0});
  if (acknowledged) acknowledged_ = point.txid;
  if (auto rotated = rotate(Syncing::later); !rotated) {
    forget();
    return rotated;
  }
  return acknowledged ? confirm() : Status();
}

// The new journal is complete before the new base names it; the old pair stands until then.
Status CaptureState::rotate(Syncing syncing) {
  const CapturePoint& first = points_.front().point;
  std::vector<std::vector<PageChange>> pending;
  std::map<PageNo, std::uint64_t> before;
  for (std::size_t index = points_.size(); index-- > 1;) {
    auto changes = read_changes(points_[index]);
    if (!changes) return std::unexpected(changes.error());
    for (const PageChange& change : *changes) before[change.page] = change.before;
    pending.push_back(std::move(*changes));
  }
  const std::uint64_t old_id = id_;
  const std::uint64_t id = base::random_u64();
  const bool acknowledged = acknowledged_ && *acknowledged_ == first.txid;

  base::FileDescriptor old_journal = std::exchange(journal_, {});
  const std::uint64_t old_size = std::exchange(journal_size_, 0);
  const std::uint64_t old_crc = std::exchange(journal_crc_, id);
  id_ = id;
  std::vector<std::uint64_t> offsets;
  Status done = start_journal(id);
  for (std::size_t index = 1; done && index < points_.size(); ++index) {
    offsets.push_back(journal_size_);
    done =
        append(record_captured, encode_captured(points_[index].point, pending[points_.size() - 1 - index]));
  }
  for (const Stored& stored : points_) {
    if (!done || !stored.file) continue;
    done = append(record_file, encode_file(stored.point.txid, *stored.file));
  }
  LITECLUSTER_FAULT_POINT("capture.rotate_journal");
  if (done) done = write_base(first, id, acknowledged, {before.begin(), before.end()}, syncing);
  if (!done) {
    ::unlink(journal_path(id).c_str());
    id_ = old_id;
    journal_ = std::move(old_journal);
    journal_size_ = old_size;
    journal_crc_ = old_crc;
    return done;
  }
  base_unsynced_ = syncing == Syncing::later;
  LITECLUSTER_FAULT_POINT("capture.rotate_base");
  points_.front().offset = 0;
  for (std::size_t index = 1; index < points_.size(); ++index) points_[index].offset = offsets[index - 1];
  remove_strangers();
  return {};
}

Status CaptureState::start_journal(std::uint64_t id) {
  auto file = base::open_file(journal_path(id), O_RDWR | O_CREAT | O_TRUNC);
  if (!file) return std::unexpected(file.error());
  journal_ = std::move(*file);
  return {};
}

Status CaptureState::write_base(const CapturePoint& point, std::uint64_t id, bool acknowledged,
                                const std::vector<std::pair<PageNo, std::uint64_t>>& overlay,
                                Syncing syncing) {
  auto file = base::AtomicFile::create(base_path());
  if (!file) return std::unexpected(file.error());
  constexpr std::size_t flush_size = 256 * 1024;
  base::Bytes buffer = encode_base_header({.id = id, .acknowledged = acknowledged, .point = point});
  std::uint64_t crc = 0;
  const auto flush = [&]() -> Status {
    crc = ltx::crc64(buffer, crc);
    auto written = file->append(buffer);
    buffer.clear();
    return written;
  };
  auto replaced = overlay.begin();
  for (std::uint32_t number = 1; number <= point.page_count; ++number) {
    std::uint64_t value = checksum_of(PageNo(number));
    if (replaced != overlay.end() && replaced->first == PageNo(number)) value = (replaced++)->second;
    base::append_big_endian(buffer, value);
    if (buffer.size() < flush_size) continue;
    if (auto written = flush(); !written) return written;
  }
  if (auto written = flush(); !written) return written;
  base::append_big_endian(buffer, crc);
  if (auto written = file->append(buffer); !written) return written;
  return syncing == Syncing::now ? file->commit() : file->commit_unsynced();
}

// Journals of other bases and temporary files: left by a process that was killed.
void CaptureState::remove_strangers() const {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, ignored)) {
    const std::string name = entry.path().filename().string();
    const bool ours = name == "lock" || name == "base" || name == "boot" || entry.path() == journal_path(id_);
    if (!ours && (name.starts_with("journal-") || name.starts_with("base.tmp-"))) {
      ::unlink(entry.path().c_str());
    }
  }
}

}  // namespace litecluster::db
