// What capture has to remember: the checksum of every page at the last captured TXID, and where in the WAL
// that was. It lies in a directory of its own beside the database and survives kill -9 at any point.
//
//   lock            one process at a time (flock)
//   base            everything at one TXID: header(96) | page count x u64 | crc u64
//   journal-<id>    what came after that base: records, each chained to the one before by its crc
//   boot            the boot of the machine in which the log last confirmed the content
//
//   record   := kind u32 | size u32 | payload | crc u64
//   captured := point | count u32 | count x (page u32, checksum before u64, checksum after u64)
//   acknowledged := txid u64 | epoch u64
//   file     := txid u64 | file checksum u64
//
// A capture is recorded before it is handed out, so before the log can have it. Which captures the log has is
// known when we start again: attach() asks the log for its end, and rewind() takes the records behind it back
// (that is what "checksum before" is for). So the stored state never runs ahead of the log, at whatever
// instant we died: it is a range of states, from the last acknowledged to the last captured one, and the log
// picks one of them. A torn record at the end breaks the chain and is dropped; its capture had not been
// handed out.
//
// Which one the log picks, its end says by the checksum of its LTX file, which is recorded here before the
// file is offered. TXID and database checksum are not enough: another writer may have taken the TXID, or the
// object in the log is an earlier attempt of our own, and the database checksums of two states can be equal
// (ltx/checksum.hpp). The files behind the last acknowledged TXID were offered one after the other, so the
// one at the end stands for those before it.
//
// Power failures. They can take the newest commits from the database, while the log has them: the content is
// then older than the stored state, which looks like a difference that is to be sent. Only the boot tells: as
// long as it is that in which the log last confirmed the content, the content cannot have gone back.
//
// Cost: one pwrite of 20 bytes per changed page and capture, no fsync. A power failure may thus lose the last
// records; the journal is synced with each checkpoint. When the journal has outgrown the table, a new base is
// written (temporary file, fsync, rename) together with a journal that repeats what is not acknowledged.
//
// A base that reset() or rewind() writes is synced no sooner than with the first capture behind it or the
// next sync(): both belong to a fail-over, in which each fsync is time in which nobody serves. A power
// failure before that leaves an older pair of base and journal, a torn base, which its crc tells, or none.
// Each is a state of this database once, or nothing: attach() then reads all pages instead of trusting the
// table.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/boot_id.hpp"
#include "base/bytes.hpp"
#include "base/file_descriptor.hpp"
#include "wal/scanner.hpp"

namespace litecluster::db {

/// One captured state of the database.
struct CapturePoint {
  Txid txid;
  Epoch epoch;
  Checksum checksum;
  std::uint32_t page_size = 0;
  std::uint32_t page_count = 0;
  /// Inode of the database file.
  std::uint64_t inode = 0;
  /// When that file was made (db::FileStatus); 0: not known.
  std::int64_t born_nanoseconds = 0;
  /// Up to where the WAL belongs to this state.
  wal::Position wal;

  friend bool operator==(const CapturePoint&, const CapturePoint&) = default;
};

/// Checksums as ltx::page_checksum() gives them; 0: no such page.
struct PageChange {
  PageNo page;
  std::uint64_t before = 0;
  std::uint64_t after = 0;
};

/// Not thread-safe.
class CaptureState {
 public:
  /// Creates the directory when missing and reads what is there. What cannot be read is worth nothing and is
  /// replaced by the next reset(). Errors: busy another process uses it; those of the file system.
  [[nodiscard]] static Result<std::unique_ptr<CaptureState>> open(const std::filesystem::path& directory);

  /// Whether any state is known; without one only reset() may be called.
  [[nodiscard]] bool known() const { return !points_.empty(); }
  /// The last captured state: what the checksums below are those of.
  [[nodiscard]] const CapturePoint& last() const { return points_.back().point; }
  /// What the log is known to have; nothing when the log was not seen to have any state of this directory.
  [[nodiscard]] std::optional<Txid> acknowledged() const { return acknowledged_; }
  /// Term of leadership in which that was written; 0 when unknown. Needs known().
  [[nodiscard]] Epoch acknowledged_epoch() const { return points_.front().point.epoch; }
  /// confirm() was called since this machine booted, by this or an earlier process.
  [[nodiscard]] bool confirmed_in_this_boot() const { return confirmed_; }
  /// 0 for pages beyond the database and for the lock page.
  [[nodiscard]] std::uint64_t checksum_of(PageNo page) const {
    return page.value() <= table_.size() ? table_[page.value() - 1] : 0;
  }

  /// The LTX file as which this capture was offered to the log last; nothing when it never was, as far as is
  /// known.
  [[nodiscard]] std::optional<Checksum> file_of(Txid txid) const;

  /// Whether the object with which the log reaches `txid` was made of the state recorded here, as far as is
  /// known: by its file checksum, which only raw objects of ours tell, else because that state was
  /// acknowledged.
  [[nodiscard]] bool recognises(Txid txid, std::optional<Checksum> file_checksum) const;

  /// Goes back to the state at `txid`, forgetting what was captured behind it. False when that state is not
  /// known, or has another checksum; nothing has changed then.
  [[nodiscard]] Result<bool> rewind(Txid txid, std::optional<Checksum> checksum);

  /// Forgets all and starts from here. `table`: a checksum for each of the point's pages. `acknowledged`:
  /// whether the log has this state.
  [[nodiscard]] Status reset(const CapturePoint& point, std::vector<std::uint64_t> table, bool acknowledged);
  /// A new capture. Its changes name every page that differs, those cut off by a shrink (after: 0) included.
  /// On an error nothing has changed.
  [[nodiscard]] Status record(const CapturePoint& point, std::span<const PageChange> changes);
  /// The capture is about to be offered to the log as this LTX file. invalid_argument when it is not known.
  [[nodiscard]] Status note_file(Txid txid, Checksum file_checksum);
  /// The log has everything up to `txid`. invalid_argument when that was never captured.
  [[nodiscard]] Status acknowledge(Txid txid, Epoch epoch);
  /// The content is the log's, or what follows from it. Cheap after the first time in a boot.
  [[nodiscard]] Status confirm();
  /// Puts the journal on disk.
  [[nodiscard]] Status sync();
  /// Whether a power failure may still take the base.
  [[nodiscard]] bool base_is_unsynced() const { return base_unsynced_; }

  /// Journal size from which on a new base is written when that is larger than the table. For tests.
  void set_journal_size_min(std::uint64_t bytes) { journal_size_min_ = bytes; }

 private:
  struct Stored {
    CapturePoint point;
    std::uint64_t offset = 0;  // of its record in the journal; 0 for the base
    std::optional<Checksum> file{};
  };

  CaptureState(std::filesystem::path directory, base::FileDescriptor lock)
      : directory_(std::move(directory)), lock_(std::move(lock)) {}

  [[nodiscard]] std::filesystem::path base_path() const { return directory_ / "base"; }
  [[nodiscard]] std::filesystem::path journal_path(std::uint64_t id) const;

  [[nodiscard]] Status load();
  [[nodiscard]] Status load_boot();
  [[nodiscard]] bool load_base(base::ByteView bytes);
  [[nodiscard]] Status load_journal();
  [[nodiscard]] bool replay(base::ByteView record, std::uint64_t offset);
  [[nodiscard]] std::optional<std::size_t> index_of(Txid txid) const;
  void apply(const CapturePoint& point, std::span<const PageChange> changes);
  void forget();
  void remove_strangers() const;

  [[nodiscard]] Status append(std::uint32_t kind, base::ByteView payload);
  [[nodiscard]] Result<std::vector<PageChange>> read_changes(const Stored& stored) const;
  enum class Syncing { now, later };
  [[nodiscard]] Status rotate(Syncing syncing);
  [[nodiscard]] Status write_base(const CapturePoint& point, std::uint64_t id, bool acknowledged,
                                  const std::vector<std::pair<PageNo, std::uint64_t>>& overlay,
                                  Syncing syncing);
  [[nodiscard]] Status sync_base();
  [[nodiscard]] Status start_journal(std::uint64_t id);

  std::filesystem::path directory_;
  base::FileDescriptor lock_;
  std::vector<std::uint64_t> table_;
  std::deque<Stored> points_;  // from the last acknowledged (or the base) to the last captured
  std::optional<Txid> acknowledged_;
  base::BootId boot_{};
  bool confirmed_ = false;
  bool base_unsynced_ = false;
  std::uint64_t id_ = 0;
  base::FileDescriptor journal_;
  std::uint64_t journal_size_ = 0;
  std::uint64_t journal_crc_ = 0;
  std::uint64_t journal_size_min_ = 4ULL << 20U;
};

}  // namespace litecluster::db
