// The file beside a replica that says what position its data are at.
//
//   offset 0, 4096   two slots of 512 bytes; the valid one with the higher sequence number counts. Each write
//                    goes to the other slot, so a torn one leaves the record before it.
//   offset 8192      1024 entries of 32 bytes: the newest positions, at TXID mod 1024, to recognise a
//                    content by its checksum after a power failure; not by which file each was reached
//
// A slot names two states: `base`, which the data had when it was written, and `next`, which the transaction
// that was about to be written leads to. Numbers are big-endian; each slot and entry ends with its CRC-64.
// kill -9 cannot tear a write of less than a page, so no fsync is needed against that; sync() is called
// before each checkpoint.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include <litecluster/error.hpp>

#include "base/boot_id.hpp"
#include "base/file_descriptor.hpp"
#include "db/file_status.hpp"
#include "db/replica.hpp"
#include "db/wal_writer_transaction.hpp"

namespace litecluster::db {

inline constexpr std::size_t replica_slot_size = 512;
inline constexpr std::size_t replica_history_size = 1024;
inline constexpr std::size_t replica_history_entry_size = 32;

/// A position and the end of the WAL that belongs to it.
struct RecordedState {
  ReplicaPosition position;
  WalEnd wal;

  friend constexpr bool operator==(const RecordedState&, const RecordedState&) = default;
};

struct ReplicaRecord {
  std::uint64_t sequence = 0;
  base::BootId boot{};
  FileIdentity file;
  RecordedState base;
  std::optional<RecordedState> next;
  /// The database file when it held all of `base` and needed no WAL. While it looks the same, it still does.
  std::optional<FileStamp> stamp;
  /// The position was found by its checksum, and may as well be another one up to this. 0: no doubt.
  Txid doubtful_to{};
  /// What the data are at is not known, except when they are at `next`.
  bool base_is_unknown = false;

  friend bool operator==(const ReplicaRecord&, const ReplicaRecord&) = default;
};

using ReplicaSlot = std::array<std::byte, replica_slot_size>;

[[nodiscard]] ReplicaSlot encode_replica_record(const ReplicaRecord& record);
/// nullopt for anything that is not a whole record.
[[nodiscard]] std::optional<ReplicaRecord> decode_replica_record(base::ByteView bytes);

/// The record file, locked against other processes while this lives. Not thread-safe.
class ReplicaRecordFile {
 public:
  /// Creates the file when there is none. busy: another process holds it.
  [[nodiscard]] static Result<ReplicaRecordFile> open(const std::filesystem::path& path);

  /// The newest record; nullopt: none yet.
  [[nodiscard]] const std::optional<ReplicaRecord>& record() const { return record_; }
  /// Replaces the record; fills in sequence and boot id.
  [[nodiscard]] Status write(ReplicaRecord record);
  /// Remembers a position, in the place of the one of 1024 TXIDs before.
  [[nodiscard]] Status remember(const ReplicaPosition& position);
  /// Forgets all remembered positions.
  [[nodiscard]] Status forget();
  /// What is remembered, in ascending order of the TXIDs.
  [[nodiscard]] Result<std::vector<ReplicaPosition>> remembered() const;
  [[nodiscard]] Status sync() const;
  /// True when the record was written since this machine last booted.
  [[nodiscard]] bool written_in_this_boot() const;

 private:
  ReplicaRecordFile(std::filesystem::path path, base::FileDescriptor descriptor, base::BootId boot);

  std::filesystem::path path_;
  base::FileDescriptor descriptor_;
  base::BootId boot_;
  std::optional<ReplicaRecord> record_;
};

/// The first of `positions` with this checksum: two states of the log can have the same one
/// (ltx/checksum.hpp), and going on from the first repeats what lies between them.
[[nodiscard]] std::optional<ReplicaPosition> recognise(std::span<const ReplicaPosition> positions,
                                                       Checksum checksum);

/// What a database is that a replica's owner has handed over, by the record that the replica left under
/// `position_path`. Nothing when there is no such record, it is about another file or of an earlier boot, or
/// the file is not what it was or has a WAL: somebody may have written since, or a reader held the WAL then.
/// Errors: those of open().
[[nodiscard]] Result<std::optional<ReplicaPosition>> handed_over_position(
    const std::filesystem::path& position_path, const std::filesystem::path& database);

}  // namespace litecluster::db
