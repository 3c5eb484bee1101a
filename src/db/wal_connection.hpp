// A connection of ours to a WAL-mode database that other programs use: it reads and locks, and never writes.
//
// Through its file handles come the bytes of the database and the WAL (no descriptor of our own, see
// db/sqlite.hpp), and the wal-index in shared memory, whose header says which commits exist. A frame in the
// WAL file is no commit before that header says so: the writer may be in the middle of its fsync, or may have
// died, and then the next writer writes over it.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "db/sqlite.hpp"
#include "db/wal_index_layout.hpp"
#include "wal/scanner.hpp"

namespace litecluster::db {

[[nodiscard]] constexpr wal::Salts salts_of(const WalIndexHeader& header) {
  return {.first = header.salts.first, .second = header.salts.second};
}

/// A state of the database that a read transaction holds fast.
struct PinnedState {
  WalIndexHeader header;
  /// Every frame up to header.frame_max had been copied back: the file alone is the database, and the frames
  /// may be overwritten although the transaction stands. Otherwise no frame is overwritten while it stands.
  bool all_in_file = false;
};

/// One thread at a time, except for header() and copied_frames().
class WalConnection {
 public:
  /// Opens the database and its WAL. Fails as SQLite does: corrupt, busy, ...; unsupported when it is not in
  /// WAL mode or has no shared memory.
  [[nodiscard]] static Result<WalConnection> open(const std::filesystem::path& path,
                                                  std::chrono::milliseconds busy_timeout);

  [[nodiscard]] Connection& connection() { return connection_; }
  [[nodiscard]] const std::filesystem::path& path() const { return connection_.path(); }

  /// The wal-index header as it is now; nothing when it is being changed at this moment, or is broken.
  /// Thread-safe; no system call.
  [[nodiscard]] std::optional<WalIndexHeader> try_header() const;
  /// The same, trying again for a while, and at last making SQLite repair it.
  [[nodiscard]] Result<WalIndexHeader> header();
  /// Frames copied back into the database file. Thread-safe; no system call.
  [[nodiscard]] std::uint32_t copied_frames() const;

  /// Starts a read transaction and says which state it holds.
  [[nodiscard]] Result<PinnedState> pin();
  /// Starts a read transaction without looking. For callers that hold the write barrier.
  [[nodiscard]] Status begin_read();
  /// Ends it; nothing happens without one.
  void end_read();
  [[nodiscard]] bool is_reading() const { return connection_.in_transaction(); }

  /// BEGIN IMMEDIATE: nobody can commit until end_read(). busy: not got within the busy timeout.
  [[nodiscard]] Status begin_barrier();

  struct Copied {
    std::uint32_t frames = 0;  // in the WAL
    std::uint32_t copied = 0;  // of these, in the database file
  };
  /// A PASSIVE checkpoint: waits for nobody. busy: another checkpoint is running.
  [[nodiscard]] Result<Copied> copy_back();

  [[nodiscard]] Result<std::size_t> read_wal(std::uint64_t offset, std::span<std::byte> destination) const;
  /// Zeros beyond the end of the file, as SQLite reads them.
  [[nodiscard]] Status read_database(std::uint64_t offset, std::span<std::byte> destination) const;

 private:
  explicit WalConnection(Connection connection) : connection_(std::move(connection)) {}

  Connection connection_;
  sqlite3_file* file_ = nullptr;  // the connection's own handles; they stay where they are while it lives
  sqlite3_file* wal_file_ = nullptr;
  const std::byte* index_ = nullptr;  // the first block of the wal-index; mapped while the connection lives
};

/// The WAL of a connection, for wal::scan(). The connection outlives it.
class WalFileSource final : public wal::ByteSource {
 public:
  explicit WalFileSource(const WalConnection& connection) : connection_(connection) {}
  [[nodiscard]] Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> destination) override {
    return connection_.read_wal(offset, destination);
  }

 private:
  const WalConnection& connection_;
};

}  // namespace litecluster::db
