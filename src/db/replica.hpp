// A standby's database file: SQLite readers of any kind may open it at any time while transactions are
// applied.
//
// An apply is one genuine WAL transaction (db/wal_writer_transaction.hpp). So readers see the state before it
// or after it, never between, and hold their snapshot as long as they like: nobody waits for anybody. What a
// long reader costs is disk: the WAL cannot be started anew while it reads.
//
// Position. Beside the database lies `<path>-position` (db/replica_record.hpp). Before the frames of an apply
// are written, a record goes there that names the position before and after, and where the WAL ends before
// and after. After kill -9 the end of the WAL thus says which of the two the data are at, so the position is
// never ahead of the data and never lost. When that is not conclusive (the WAL was checkpointed and
// removed by the last reader while we were down, the machine lost power, somebody wrote), the whole content
// is read, and its checksum decides: one of the recorded positions, or quarantine.
//
// Durability. An apply does no fsync: after kill -9 nothing is lost, because the page cache survives. A
// checkpoint syncs position file, WAL and database in this order. After a power failure the newest applies
// may be missing; the content is then compared with the last 1024 positions and following goes on from the
// first one that has its checksum. Should it be another one, what is applied next leads to wrong checksums,
// and the replica has to be seeded.
//
// Checksums. The checksum after an apply is computed from the pages it replaces and the pages it brings,
// before anything is written, so an object that does not lead to the expected checksum never touches the
// database. Checksums of pages are remembered in memory (8 bytes a page, only for pages that were met).
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "db/handover.hpp"

namespace litecluster::db {

/// What a replica has applied. txid 0: nothing.
struct ReplicaPosition {
  Txid txid;
  Checksum checksum;
  Epoch epoch;
  /// File checksum of the LTX file of this TXID alone, when it was one that led here and said so.
  std::optional<Checksum> file{};

  friend constexpr bool operator==(const ReplicaPosition&, const ReplicaPosition&) = default;
};

enum class ReplicaState {
  empty,        ///< there is no database: seed() it
  ready,        ///< position and content are known to agree
  quarantined,  ///< they are not: verify() or seed() before anything else; readers see what is there
};

struct ReplicaOptions {
  std::filesystem::path path;
  /// Default: position_path_of(path).
  std::filesystem::path position_path;
  /// A checkpoint is tried each time that so many frames were added to the WAL. 0: only checkpoint() does.
  std::uint32_t checkpoint_frames = 1000;
  /// Checkpoints run in a thread of their own, so that an apply does not wait for their fsync. apply() itself
  /// checkpoints only when the WAL has grown to four times checkpoint_frames.
  bool background_checkpoints = true;
  /// fsync at checkpoints. Without it a power failure will probably cost a re-seed.
  bool sync = true;
  /// How long a checkpoint of a WAL beyond four times checkpoint_frames waits for readers that are about to
  /// end, so that the WAL can be started anew; up to four times as long when it has become larger still. When
  /// that was in vain it is not done again before the WAL has grown by a quarter and by four times
  /// checkpoint_frames. Without it, short readers that follow
  /// one another closely would make the WAL grow for ever.
  std::chrono::microseconds restart_patience{5000};
  /// The WAL file is cut back to nothing when it is started anew and is larger than this many bytes.
  std::uint64_t wal_size_limit = 64ULL << 20U;
  /// How long an apply tries for the write lock, which nobody else should hold.
  std::chrono::milliseconds lock_timeout{1000};
};

struct ReplicaPage {
  PageNo number;
  base::ByteView bytes;
};

/// One LTX file, decoded and verified by its own checksums: the pages that take the database from any
/// position in [txid_first - 1, txid_last - 1] to txid_last.
struct ReplicaChange {
  Txid txid_first;
  Txid txid_last;
  /// nullopt: written by something that knows no epochs (Litestream); the epoch stays as it is.
  std::optional<Epoch> epoch;
  /// Goes into the position.
  std::optional<Checksum> file{};
  std::uint32_t page_size = 0;
  /// Pages of the database afterwards.
  std::uint32_t page_count = 0;
  /// Ascending by number, without the lock page; all that are new to the database must be there.
  std::span<const ReplicaPage> pages;
  /// Checksum of the database afterwards, when known.
  std::optional<Checksum> checksum;
};

/// A complete database as of one position.
struct ReplicaSeed {
  Txid txid;
  Epoch epoch;
  std::optional<Checksum> file{};
  std::uint32_t page_size = 0;
  std::uint32_t page_count = 0;
  std::optional<Checksum> checksum;
};

/// Fills a page. Called for 1, 2 .. page_count in order, without the lock page.
using ReplicaPageSource = std::move_only_function<Status(PageNo, std::span<std::byte>)>;

struct ReplicaStatistics {
  std::uint64_t applies = 0;
  std::uint64_t pages = 0;
  std::uint64_t checkpoints = 0;
  std::uint64_t wal_restarts = 0;
  /// Frames in the WAL now; those not yet copied into the database file.
  std::uint32_t wal_frames = 0;
  std::uint32_t wal_frames_pending = 0;
  /// The last checkpoint's failure, if it failed (disk full and the like). Applying goes on meanwhile.
  std::optional<Error> checkpoint_error;
};

/// Owns the database file of a standby. One process at a time (a lock on the position file sees to it); not
/// thread-safe. Calls block for file I/O only.
class Replica {
 public:
  /// Takes the replica as it lies there, or none. Decides the position as told above; that may read the whole
  /// database. busy: another process has it. A replica that cannot be trusted opens as quarantined.
  [[nodiscard]] static Result<Replica> open(ReplicaOptions options);

  Replica(Replica&&) noexcept;
  Replica& operator=(Replica&&) noexcept;
  /// As close(), without a report.
  ~Replica();

  [[nodiscard]] ReplicaState state() const;
  /// Why it is quarantined; empty otherwise.
  [[nodiscard]] const std::string& quarantine_reason() const;
  /// The last position known. Meaningful when ready; txid 0 when empty.
  [[nodiscard]] ReplicaPosition position() const;
  /// 0 when empty.
  [[nodiscard]] std::uint32_t page_size() const;
  [[nodiscard]] std::uint32_t page_count() const;
  [[nodiscard]] ReplicaStatistics statistics() const;
  /// Where the position is kept.
  [[nodiscard]] const std::filesystem::path& position_path() const;

  /// Applies a change, all or nothing. Errors leave content and position as they were:
  ///   already_exists  txid_last is not beyond the position
  ///   gap             txid_first is beyond the next TXID
  ///   deposed         the epoch is lower than the position's
  ///   corrupt         malformed pages; or the checksum would not be the expected one (then quarantined)
  ///   failed_precondition  not ready; the file was replaced, deleted or written by somebody (then
  ///   quarantined) resource_exhausted, io, busy  try again later
  [[nodiscard]] Status apply(const ReplicaChange& change);

  /// Replaces the whole content. Over a readable replica of the same page size this is one WAL transaction of
  /// the pages that differ, so open readers go on and then see it. Otherwise a new file is built beside,
  /// synced and renamed over the path: readers that have the old one open keep reading the old one until they
  /// open again. On an error, also of the source or by a wrong checksum, the old content stays.
  [[nodiscard]] Status seed(const ReplicaSeed& seed, ReplicaPageSource source);

  /// Declares that the database lying at the path is at this position, after a full check against
  /// `position.checksum`. For a former primary that becomes a replica. The file must be in WAL mode.
  /// `doubtful_to`: see position_is_doubtful(); 0: the position is known.
  [[nodiscard]] Status adopt(const ReplicaPosition& position, Txid doubtful_to = Txid(0));
  /// The position was found by the content's checksum alone, as after a power failure. Others have the same
  /// one now and then (ltx/checksum.hpp), so what does not fit says nothing about the log. Ends with a seed,
  /// or when the last of the positions is passed that it could be: what was applied by then has replaced
  /// whatever differed. hand_over() refuses it.
  [[nodiscard]] bool position_is_doubtful() const;
  /// Where the log ends, when it is first known after open(): no content can be newer.
  void note_log_end(Txid end);
  /// Begins a quarantine that only seed() ends, also after the next open(), since no checksum says what the
  /// content is.
  void distrust(const std::string& reason);

  /// Reads the whole database and compares its checksum with the position's. Ends a quarantine when they
  /// agree and begins one when they do not (error corrupt). After a write by another program, or distrust(),
  /// it is no proof that they agree: corrupt without reading.
  [[nodiscard]] Status verify();
  /// One page of the content as of the position. Error: invalid_argument beyond page_count().
  [[nodiscard]] Result<base::Bytes> read_page(PageNo number);
  /// Checksum of the content as it is, whatever the state.
  [[nodiscard]] Result<Checksum> scan();

  /// Reads up to `pages_max` pages whose checksum is not remembered yet; false when there are none left. Once
  /// all are, their sum has to be the position's checksum: error corrupt, and quarantined, when it is not. So
  /// a replica whose pages rot unseen is found out, and hand_over() has all checksums. Call it when idle.
  [[nodiscard]] Result<bool> scrub(std::uint32_t pages_max);

  /// The same once more, after scrub() has returned false: reads up to `pages_max` pages and compares each
  /// with what is remembered of it; false when it was the last one, and the next call starts with page 1
  /// again.
  [[nodiscard]] Result<bool> scrub_again(std::uint32_t pages_max);

  /// Copies what can be copied from the WAL into the database file, without waiting for readers (but see
  /// restart_patience). Call it when idle; apply() sees to it when the WAL has grown by checkpoint_frames.
  [[nodiscard]] Status checkpoint();

  /// Checks the file (all of it when `full_scan`, else only that it is the one we wrote), checkpoints,
  /// waiting up to `patience` for readers in the way, syncs, lets go of the file. On success the object is
  /// closed. When the result says that frames are left in the WAL (a reader held on), the -wal file is part
  /// of the database and has to move with it; move_database() does so in any case.
  [[nodiscard]] Result<Handover> hand_over(bool full_scan, std::chrono::milliseconds patience);

  /// Lets go of the file, and leaves a record that spares the next open() a scan. The object is unusable
  /// afterwards.
  Status close();

 private:
  class Implementation;
  explicit Replica(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

/// Where a replica keeps its position unless told otherwise: the path with "-position" behind it.
[[nodiscard]] std::filesystem::path position_path_of(std::filesystem::path replica);

/// Renames the database at `from`, which nobody in this process has open, to `to` (same file system) together
/// with its -wal and -shm files, so that at every instant either name is a whole database, and readers that
/// have it open stay coherent with those who open it under the new name. There is no database at `to`; a
/// stray -wal or -shm there is removed. Durable when it returns.
[[nodiscard]] Status move_database(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace litecluster::db
