#include "db/wal_connection.hpp"

#include <thread>

namespace litecluster::db {

namespace {

constexpr int header_tries = 1000;
constexpr int pin_tries = 1000;
// Reads the database without needing its schema, which may use functions that only the application has.
constexpr std::string_view touch = "PRAGMA schema_version";

}  // namespace

Result<WalConnection> WalConnection::open(const std::filesystem::path& path,
                                          std::chrono::milliseconds busy_timeout) {
  auto opened = Connection::open(path);
  if (!opened) return std::unexpected(opened.error());
  WalConnection connection(std::move(*opened));
  Connection& sqlite = connection.connection_;
  // What we find is left as it is: no checkpoint when we close, no automatic one, no -wal removed.
  ::sqlite3_db_config(sqlite.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite.set_busy_timeout(busy_timeout);
  // No mapping of the file: it would show pages change that a checkpoint is copying back.
  if (auto set = sqlite.execute("PRAGMA wal_autocheckpoint = 0; PRAGMA mmap_size = 0; PRAGMA cache_size = 8");
      !set) {
    return std::unexpected(set.error());
  }
  if (auto read = sqlite.query_integer(touch); !read) return std::unexpected(read.error());
  sqlite3_file* file = sqlite.database_file();
  sqlite3_file* wal = sqlite.journal_file();
  if (file == nullptr || file->pMethods == nullptr || file->pMethods->iVersion < 2 ||
      file->pMethods->xShmMap == nullptr || wal == nullptr || wal->pMethods == nullptr) {
    return failure(ErrorCode::unsupported, "open WAL", path.string(),
                   "the database is not in WAL mode, or its file system has no shared memory");
  }
  void volatile* memory = nullptr;
  const int result = file->pMethods->xShmMap(file, 0, wal_index_block_size, 1, &memory);
  if (result != SQLITE_OK || memory == nullptr) {
    return std::unexpected(
        sqlite_error(result == SQLITE_OK ? SQLITE_IOERR : result, "map wal-index", path.string()));
  }
  connection.file_ = file;
  connection.wal_file_ = wal;
  connection.index_ = static_cast<const std::byte*>(const_cast<const void*>(memory));
  return connection;
}

std::optional<WalIndexHeader> WalConnection::try_header() const {
  WalIndexHeaderBytes first;
  WalIndexHeaderBytes second;
  load_shared_words(first.data(), index_, first.size());
  file_->pMethods->xShmBarrier(file_);
  load_shared_words(second.data(), index_ + wal_index_header_size, second.size());
  if (first != second) return std::nullopt;
  return decode_wal_index_header(first);
}

Result<WalIndexHeader> WalConnection::header() {
  for (int attempt = 0; attempt < header_tries; ++attempt) {
    if (const auto header = try_header()) return *header;
    std::this_thread::yield();
  }
  // Somebody died while changing it. Any read makes SQLite rebuild the wal-index out of the WAL.
  if (is_reading()) {
    return failure(ErrorCode::busy, "read wal-index", path().string(), "its header is being changed");
  }
  if (auto read = connection_.query_integer(touch); !read) return std::unexpected(read.error());
  if (const auto header = try_header()) return *header;
  return failure(ErrorCode::busy, "read wal-index", path().string(), "its header is being changed");
}

std::uint32_t WalConnection::copied_frames() const {
  return load_shared_word(index_ + wal_index_backfill_offset);
}

Status WalConnection::begin_read() {
  if (auto begun = connection_.execute("BEGIN"); !begun) return begun;
  if (auto read = connection_.query_integer(touch); !read) {
    end_read();
    return std::unexpected(read.error());
  }
  return {};
}

void WalConnection::end_read() {
  if (is_reading()) static_cast<void>(connection_.execute("ROLLBACK"));
}

// The header is the same before and after, so it is the one that the transaction began with: it never returns
// to an earlier value, because each commit and each restart changes it. The number of copied frames is read
// between two looks at the same header, since a restart in between would reset it.
Result<PinnedState> WalConnection::pin() {
  for (int attempt = 0; attempt < pin_tries; ++attempt) {
    const auto before = header();
    if (!before) return std::unexpected(before.error());
    if (auto begun = begin_read(); !begun) return std::unexpected(begun.error());
    const auto after = try_header();
    const std::uint32_t copied = copied_frames();
    const auto again = try_header();
    if (after && again && *after == *before && *again == *before) {
      return PinnedState{.header = *before, .all_in_file = copied == before->frame_max};
    }
    end_read();
  }
  return failure(ErrorCode::busy, "pin WAL", path().string(),
                 "commits came so fast that no state could be held fast");
}

Status WalConnection::begin_barrier() {
  return connection_.execute("BEGIN IMMEDIATE");
}

Result<WalConnection::Copied> WalConnection::copy_back() {
  int frames = 0;
  int copied = 0;
  const int result =
      ::sqlite3_wal_checkpoint_v2(connection_.handle(), "main", SQLITE_CHECKPOINT_PASSIVE, &frames, &copied);
  if (result != SQLITE_OK) return std::unexpected(connection_.error(result, "checkpoint"));
  if (frames < 0 || copied < 0) {
    return failure(ErrorCode::failed_precondition, "checkpoint", path().string(),
                   "the database is not in WAL mode any more");
  }
  return Copied{.frames = static_cast<std::uint32_t>(frames), .copied = static_cast<std::uint32_t>(copied)};
}

Result<std::size_t> WalConnection::read_wal(std::uint64_t offset, std::span<std::byte> destination) const {
  return read_file_handle(wal_file_, destination, offset, path());
}

Status WalConnection::read_database(std::uint64_t offset, std::span<std::byte> destination) const {
  const auto count = read_file_handle(file_, destination, offset, path());
  if (!count) return std::unexpected(count.error());
  std::fill(destination.begin() + static_cast<std::ptrdiff_t>(*count), destination.end(), std::byte{0});
  return {};
}

}  // namespace litecluster::db
