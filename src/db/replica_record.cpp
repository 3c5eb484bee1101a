#include "db/replica_record.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>

#include "base/file.hpp"
#include "ltx/crc64.hpp"

namespace litecluster::db {

namespace {

constexpr std::uint64_t slot_magic = 0x6C63'7265'706C'0001;  // "lcrepl", version 1
constexpr std::uint64_t slot_offsets[2] = {0, 4096};
constexpr std::uint64_t history_offset = 8192;
constexpr std::uint32_t flag_next = 1;
constexpr std::uint32_t flag_stamp = 2;
constexpr std::uint32_t flag_base_is_unknown = 4;

void append_state(base::Bytes& bytes, const RecordedState& state) {
  base::append_big_endian(bytes, state.position.txid.value());
  base::append_big_endian(bytes, state.position.checksum.value());
  base::append_big_endian(bytes, state.position.epoch.value());
  base::append_big_endian(bytes, state.wal.salts.first);
  base::append_big_endian(bytes, state.wal.salts.second);
  base::append_big_endian(bytes, state.wal.frame_max);
  base::append_big_endian(bytes, state.wal.checksum.first);
  base::append_big_endian(bytes, state.wal.checksum.second);
}

void append_file(base::Bytes& bytes, const std::optional<Checksum>& file) {
  base::append_big_endian(bytes, file ? file->value() : 0);
}

// A checksum in LTX is never 0.
std::optional<Checksum> read_file(base::ByteReader& reader) {
  const auto value = reader.read_big_endian<std::uint64_t>().value_or(0);
  return value == 0 ? std::nullopt : std::optional(Checksum(value));
}

// The CRC was good and the slot is long enough: every field is there.
RecordedState read_state(base::ByteReader& reader) {
  RecordedState state;
  state.position.txid = Txid(reader.read_big_endian<std::uint64_t>().value_or(0));
  state.position.checksum = Checksum(reader.read_big_endian<std::uint64_t>().value_or(0));
  state.position.epoch = Epoch(reader.read_big_endian<std::uint64_t>().value_or(0));
  state.wal.salts.first = reader.read_big_endian<std::uint32_t>().value_or(0);
  state.wal.salts.second = reader.read_big_endian<std::uint32_t>().value_or(0);
  state.wal.frame_max = reader.read_big_endian<std::uint32_t>().value_or(0);
  state.wal.checksum.first = reader.read_big_endian<std::uint32_t>().value_or(0);
  state.wal.checksum.second = reader.read_big_endian<std::uint32_t>().value_or(0);
  return state;
}

}  // namespace

ReplicaSlot encode_replica_record(const ReplicaRecord& record) {
  base::Bytes bytes;
  bytes.reserve(replica_slot_size);
  base::append_big_endian(bytes, slot_magic);
  base::append_big_endian(bytes, record.sequence);
  base::append_bytes(bytes, record.boot);
  base::append_big_endian(bytes, record.file.device);
  base::append_big_endian(bytes, record.file.inode);
  base::append_big_endian(bytes, (record.next ? flag_next : 0U) | (record.stamp ? flag_stamp : 0U) |
                                     (record.base_is_unknown ? flag_base_is_unknown : 0U));
  append_state(bytes, record.base);
  append_state(bytes, record.next.value_or(RecordedState{}));
  const FileStamp stamp = record.stamp.value_or(FileStamp{});
  base::append_big_endian(bytes, stamp.size);
  base::append_big_endian(bytes, static_cast<std::uint64_t>(stamp.modified_nanoseconds));
  base::append_big_endian(bytes, record.doubtful_to.value());
  append_file(bytes, record.base.position.file);
  append_file(bytes, record.next ? record.next->position.file : std::nullopt);
  bytes.resize(replica_slot_size - sizeof(std::uint64_t));
  base::append_big_endian(bytes, ltx::crc64(bytes));
  ReplicaSlot slot;
  std::copy(bytes.begin(), bytes.end(), slot.begin());
  return slot;
}

std::optional<ReplicaRecord> decode_replica_record(base::ByteView bytes) {
  if (bytes.size() != replica_slot_size) return std::nullopt;
  const base::ByteView content = bytes.first(replica_slot_size - sizeof(std::uint64_t));
  if (base::load_big_endian<std::uint64_t>(bytes.data() + content.size()) != ltx::crc64(content)) {
    return std::nullopt;
  }
  base::ByteReader reader(content);
  if (reader.read_big_endian<std::uint64_t>() != slot_magic) return std::nullopt;
  ReplicaRecord record;
  record.sequence = reader.read_big_endian<std::uint64_t>().value_or(0);
  const auto boot = reader.take(record.boot.size());
  if (!boot) return std::nullopt;
  std::copy(boot->begin(), boot->end(), record.boot.begin());
  record.file.device = reader.read_big_endian<std::uint64_t>().value_or(0);
  record.file.inode = reader.read_big_endian<std::uint64_t>().value_or(0);
  const auto flags = reader.read_big_endian<std::uint32_t>().value_or(0);
  record.base = read_state(reader);
  const RecordedState next = read_state(reader);
  if ((flags & flag_next) != 0) record.next = next;
  record.base_is_unknown = (flags & flag_base_is_unknown) != 0;
  FileStamp stamp;
  stamp.size = reader.read_big_endian<std::uint64_t>().value_or(0);
  stamp.modified_nanoseconds = static_cast<std::int64_t>(reader.read_big_endian<std::uint64_t>().value_or(0));
  if ((flags & flag_stamp) != 0) record.stamp = stamp;
  // Zero in records of versions that did not know what follows.
  record.doubtful_to = Txid(reader.read_big_endian<std::uint64_t>().value_or(0));
  record.base.position.file = read_file(reader);
  const auto next_file = read_file(reader);
  if (record.next) record.next->position.file = next_file;
  return reader.failed() ? std::nullopt : std::optional(record);
}

ReplicaRecordFile::ReplicaRecordFile(std::filesystem::path path, base::FileDescriptor descriptor,
                                     base::BootId boot)
    : path_(std::move(path)), descriptor_(std::move(descriptor)), boot_(boot) {}

Result<ReplicaRecordFile> ReplicaRecordFile::open(const std::filesystem::path& path) {
  auto descriptor = base::open_file(path, O_RDWR | O_CREAT);
  if (!descriptor) return std::unexpected(descriptor.error());
  if (::flock(descriptor->get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return std::unexpected(base::errno_error(errno, "lock", path.string()));
    return failure(ErrorCode::busy, "open replica", path.string(),
                   "another process follows into this replica");
  }
  const auto boot = base::read_boot_id();
  if (!boot) return std::unexpected(boot.error());
  ReplicaRecordFile file(path, std::move(*descriptor), *boot);
  for (const std::uint64_t offset : slot_offsets) {
    ReplicaSlot slot;
    const auto count = base::read_at(file.descriptor_.get(), slot, offset, path);
    if (!count) return std::unexpected(count.error());
    if (*count != slot.size()) continue;
    const auto record = decode_replica_record(slot);
    if (record && (!file.record_ || record->sequence > file.record_->sequence)) file.record_ = record;
  }
  return file;
}

Status ReplicaRecordFile::write(ReplicaRecord record) {
  record.sequence = record_ ? record_->sequence + 1 : 1;
  record.boot = boot_;
  const ReplicaSlot slot = encode_replica_record(record);
  auto written = base::write_at(descriptor_.get(), slot, slot_offsets[record.sequence % 2], path_);
  if (written) record_ = record;
  return written;
}

Status ReplicaRecordFile::remember(const ReplicaPosition& position) {
  base::Bytes entry;
  entry.reserve(replica_history_entry_size);
  base::append_big_endian(entry, position.txid.value());
  base::append_big_endian(entry, position.checksum.value());
  base::append_big_endian(entry, position.epoch.value());
  base::append_big_endian(entry, ltx::crc64(entry));
  const std::uint64_t index = position.txid.value() % replica_history_size;
  return base::write_at(descriptor_.get(), entry, history_offset + index * replica_history_entry_size, path_);
}

Status ReplicaRecordFile::forget() {
  const base::Bytes zeros(replica_history_size * replica_history_entry_size);
  return base::write_at(descriptor_.get(), zeros, history_offset, path_);
}

Result<std::vector<ReplicaPosition>> ReplicaRecordFile::remembered() const {
  base::Bytes history(replica_history_size * replica_history_entry_size);
  const auto count = base::read_at(descriptor_.get(), history, history_offset, path_);
  if (!count) return std::unexpected(count.error());
  std::vector<ReplicaPosition> positions;
  for (std::size_t at = 0; at + replica_history_entry_size <= *count; at += replica_history_entry_size) {
    const auto entry = base::ByteView(history).subspan(at, replica_history_entry_size);
    const auto number = [&](std::size_t field) {
      return base::load_big_endian<std::uint64_t>(entry.data() + field * 8);
    };
    if (number(0) == 0 || number(3) != ltx::crc64(entry.first(24))) continue;
    positions.push_back({Txid(number(0)), Checksum(number(1)), Epoch(number(2))});
  }
  std::ranges::sort(positions, {}, &ReplicaPosition::txid);
  return positions;
}

Status ReplicaRecordFile::sync() const {
  return base::fsync_file(descriptor_.get(), path_);
}

bool ReplicaRecordFile::written_in_this_boot() const {
  return record_ && record_->boot == boot_;
}

std::optional<ReplicaPosition> recognise(std::span<const ReplicaPosition> positions, Checksum checksum) {
  const auto found = std::ranges::find(positions, checksum, &ReplicaPosition::checksum);
  return found == positions.end() ? std::nullopt : std::optional(*found);
}

Result<std::optional<ReplicaPosition>> handed_over_position(const std::filesystem::path& position_path,
                                                            const std::filesystem::path& database) {
  std::error_code ignored;
  if (!std::filesystem::exists(position_path, ignored)) return std::nullopt;
  const auto file = file_status(database);
  if (!file) return std::unexpected(file.error());
  const auto opened = ReplicaRecordFile::open(position_path);
  if (!opened) return std::unexpected(opened.error());
  const auto& record = opened->record();
  if (!record || record->next || record->base_is_unknown ||
      record->doubtful_to > record->base.position.txid || !opened->written_in_this_boot()) {
    return std::nullopt;
  }
  if (record->file != file->identity || record->stamp != file->stamp) return std::nullopt;
  const auto wal = file_status(database.string() + "-wal");
  if (wal && wal->stamp.size > 0) return std::nullopt;
  if (!wal && wal.error().code() != ErrorCode::not_found) return std::unexpected(wal.error());
  return record->base.position;
}

}  // namespace litecluster::db
