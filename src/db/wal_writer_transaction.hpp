// Appends transactions to the WAL of a live SQLite database, page by page, beside SQLite's own readers.
//
// A commit is what SQLite's own writer does (the comment at the head of wal.c, walformat.html):
//
//   1. take the write lock (xShmLock); the live header of the wal-index says where the WAL ends;
//   2. when all frames are backfilled and no reader uses the WAL, start it anew: new salts, frame 1;
//   3. write the frames behind the last one, the last with the commit mark, through the connection's own
//      handle of the WAL file;
//   4. enter the frames into the hash tables of the wal-index; no reader looks beyond the header's limit yet;
//   5. write the header of the wal-index (second copy, barrier, first copy): now readers see the transaction;
//   6. let the lock go.
//
// A writer killed before 5 leaves bytes that nobody looks at, and the next writer goes over them; one killed
// in 5 leaves a header whose copies differ, and the next reader recovers the wal-index out of the WAL file.
//
// Starting the WAL anew takes the checkpoint lock as well, which SQLite's writer does not: so a checkpointer
// in another process can never hold a view of the WAL from before (the WAL-reset race of SQLite 3.7.0
// to 3.51.2). No lock is ever waited for but the write lock, and that only for a reader that repairs the
// wal-index.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "db/sqlite.hpp"
#include "db/wal_end.hpp"
#include "db/wal_index_layout.hpp"
#include "db/wal_writer_frames.hpp"

namespace litecluster::db {

struct WalWriterOptions {
  /// How long begin() tries for the write lock before it fails with busy.
  std::chrono::milliseconds lock_timeout{1000};
  /// fsync the header of a WAL that is started anew, so that a power failure cannot leave old frames behind a
  /// new header or the other way round.
  bool sync_header = true;
  /// A WAL file larger than this many bytes is truncated when it is started anew.
  std::uint64_t size_limit = 64ULL << 20U;
};

class WalTransaction;

/// Writes to the WAL of one connection, which outlives it and has no transaction open while one of these is.
/// Not thread-safe.
class WalWriter {
 public:
  /// `connection` has read from the database, so that its WAL is open; unsupported when that is not in WAL
  /// mode. `page_size` is the database's.
  [[nodiscard]] static Result<std::unique_ptr<WalWriter>> attach(Connection& connection,
                                                                 std::uint32_t page_size,
                                                                 WalWriterOptions options);

  /// Takes the write lock. busy: somebody else kept it for all of the lock timeout.
  [[nodiscard]] Result<WalTransaction> begin();

  /// Frames that a checkpoint has copied into the database file.
  [[nodiscard]] std::uint32_t backfilled() const;

  /// The page as of frame `frame_max`. Zeros when it lies beyond the end of the database file.
  [[nodiscard]] Status read_page(PageNo number, std::uint32_t frame_max, std::span<std::byte> destination);
  /// Last frame of each page in frames 1 to `frame_max`, as pairs sorted by page.
  [[nodiscard]] Result<std::vector<std::pair<PageNo, std::uint32_t>>> pages_in_wal(std::uint32_t frame_max);
  [[nodiscard]] Status read_frame(std::uint32_t frame, std::span<std::byte> destination);

  [[nodiscard]] std::uint32_t page_size() const { return page_size_; }
  [[nodiscard]] Connection& connection() const { return connection_; }

 private:
  friend class WalTransaction;
  WalWriter(Connection& connection, std::uint32_t page_size, WalWriterOptions options);

  [[nodiscard]] Status lock(int offset, int count) const;
  void unlock(int offset, int count) const;
  [[nodiscard]] Status lock_for_writing() const;
  void barrier() const;
  [[nodiscard]] Result<WalIndexBlock> block(std::uint32_t number);
  [[nodiscard]] Status map_blocks(std::uint32_t frame);
  [[nodiscard]] std::optional<WalIndexHeader> live_header() const;
  void publish(const WalIndexHeader& header) const;
  [[nodiscard]] Status write_wal(base::ByteView bytes, std::uint64_t offset) const;
  [[nodiscard]] Result<std::uint32_t> find_frame(PageNo number, std::uint32_t frame_max);

  Connection& connection_;
  sqlite3_file* database_file_;
  sqlite3_file* wal_file_;
  std::uint32_t page_size_;
  WalWriterOptions options_;
  std::vector<std::byte*> blocks_;
  base::Bytes buffer_;
};

/// The write lock, and one transaction to be. Destroyed without commit(), it leaves the database as it was.
/// Must not outlive its writer.
class WalTransaction {
 public:
  WalTransaction(WalTransaction&& other) noexcept;
  WalTransaction& operator=(WalTransaction&&) = delete;
  WalTransaction(const WalTransaction&) = delete;
  WalTransaction& operator=(const WalTransaction&) = delete;
  ~WalTransaction();

  /// The live header when the lock was taken, or after restart().
  [[nodiscard]] const WalIndexHeader& header() const { return header_; }

  /// Starts the WAL anew if all is backfilled and no reader uses it; tries again until `patience` has passed.
  /// True when it was done. Call it before the first append().
  bool restart(std::chrono::microseconds patience = {});

  /// Destroys what a writer killed before its commit left behind the last frame, so that no later recovery
  /// can take it for a commit. Best effort.
  void discard_leftovers();

  /// Adds a page (copied). Pages may be given in any order, each at most once.
  [[nodiscard]] Status append(PageNo number, base::ByteView page);
  /// Completes the frames, the last with `page_count` as its commit mark; at least one page was added.
  /// Returns where the WAL ends once commit() is done. Nothing is visible yet.
  [[nodiscard]] Result<WalEnd> prepare(std::uint32_t page_count);
  /// Makes the prepared transaction visible. After an error the database is as before.
  [[nodiscard]] Status commit();

  [[nodiscard]] std::size_t appended() const { return pages_.size(); }

 private:
  friend class WalWriter;
  WalTransaction(WalWriter& writer, const WalIndexHeader& header);

  [[nodiscard]] Status start_log();
  [[nodiscard]] Status encode_held(std::uint32_t commit_page_count);
  [[nodiscard]] Status flush();
  bool try_restart();

  WalWriter* writer_;
  WalIndexHeader header_;
  WalFrameBuilder builder_;
  std::vector<PageNo> pages_;
  std::uint32_t written_ = 0;  ///< frames of ours that are in the file
  base::Bytes held_;           ///< the newest page: only prepare() knows whether it carries the commit mark
  std::uint32_t page_count_ = 0;
};

}  // namespace litecluster::db
