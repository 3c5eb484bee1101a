// The part of WalWriter that talks to SQLite's file handles: locks, shared memory, reads and writes.
#include <algorithm>
#include <thread>
#include <unordered_map>

#include "base/fault_point.hpp"
#include "db/wal_writer_transaction.hpp"

namespace litecluster::db {

WalWriter::WalWriter(Connection& connection, std::uint32_t page_size, WalWriterOptions options)
    : connection_(connection),
      database_file_(connection.database_file()),
      wal_file_(connection.journal_file()),
      page_size_(page_size),
      options_(options) {}

Result<std::unique_ptr<WalWriter>> WalWriter::attach(Connection& connection, std::uint32_t page_size,
                                                     WalWriterOptions options) {
  const std::string path = connection.path().string();
  auto mode = connection.query_text("PRAGMA journal_mode");
  if (!mode) return std::unexpected(mode.error());
  auto writer = std::unique_ptr<WalWriter>(new WalWriter(connection, page_size, options));
  const bool shares_memory = writer->database_file_ != nullptr &&
                             writer->database_file_->pMethods != nullptr &&
                             writer->database_file_->pMethods->iVersion >= 2;
  if (*mode != "wal" || writer->wal_file_ == nullptr || writer->wal_file_->pMethods == nullptr ||
      !shares_memory) {
    return failure(ErrorCode::unsupported, "open WAL", path,
                   "the database is not in WAL mode, or its file system has no shared memory");
  }
  if (auto mapped = writer->map_blocks(1); !mapped) return std::unexpected(mapped.error());
  return writer;
}

Status WalWriter::lock(int offset, int count) const {
  const int result = database_file_->pMethods->xShmLock(database_file_, offset, count,
                                                        SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE);
  if (result == SQLITE_OK) return {};
  return std::unexpected(sqlite_error(result, "lock WAL", connection_.path().string()));
}

void WalWriter::unlock(int offset, int count) const {
  database_file_->pMethods->xShmLock(database_file_, offset, count, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
}

// Readers take the write lock for a moment when they meet a header in the middle of a change or repair one.
Status WalWriter::lock_for_writing() const {
  const auto give_up = std::chrono::steady_clock::now() + options_.lock_timeout;
  std::chrono::microseconds pause{20};
  for (;;) {
    auto locked = lock(wal_write_lock, 1);
    if (locked || locked.error().code() != ErrorCode::busy) return locked;
    if (std::chrono::steady_clock::now() >= give_up) {
      return failure(ErrorCode::busy, "lock WAL", connection_.path().string(),
                     "another program holds the write lock of this replica; nobody but litecluster may write "
                     "to it");
    }
    std::this_thread::sleep_for(pause);
    pause = std::min<std::chrono::microseconds>(pause * 2, std::chrono::milliseconds(2));
  }
}

void WalWriter::barrier() const {
  database_file_->pMethods->xShmBarrier(database_file_);
}

Status WalWriter::map_blocks(std::uint32_t frame) {
  const std::uint32_t needed = wal_index_block_of(frame) + 1;
  while (blocks_.size() < needed) {
    void volatile* memory = nullptr;
    const int result = database_file_->pMethods->xShmMap(database_file_, static_cast<int>(blocks_.size()),
                                                         wal_index_block_size, 1, &memory);
    if (result != SQLITE_OK || memory == nullptr) {
      return std::unexpected(sqlite_error(result == SQLITE_OK ? SQLITE_IOERR : result, "map wal-index",
                                          connection_.path().string()));
    }
    blocks_.push_back(static_cast<std::byte*>(const_cast<void*>(memory)));
  }
  return {};
}

Result<WalIndexBlock> WalWriter::block(std::uint32_t number) {
  if (number >= blocks_.size()) {
    const std::uint32_t frame =
        number == 0 ? 1 : wal_index_frames_first_block + (number - 1) * wal_index_frames_per_block + 1;
    if (auto mapped = map_blocks(frame); !mapped) return std::unexpected(mapped.error());
  }
  return WalIndexBlock(blocks_[number], number);
}

std::optional<WalIndexHeader> WalWriter::live_header() const {
  WalIndexHeaderBytes first;
  WalIndexHeaderBytes second;
  load_shared_words(first.data(), blocks_.front(), first.size());
  barrier();
  load_shared_words(second.data(), blocks_.front() + wal_index_header_size, second.size());
  if (first != second) return std::nullopt;
  return decode_wal_index_header(first);
}

void WalWriter::publish(const WalIndexHeader& header) const {
  const WalIndexHeaderBytes bytes = encode_wal_index_header(header);
  barrier();
  store_shared_words(blocks_.front() + wal_index_header_size, bytes.data(), bytes.size());
  barrier();
  LITECLUSTER_FAULT_POINT("replica.wal.publish_half");
  store_shared_words(blocks_.front(), bytes.data(), bytes.size());
  barrier();
}

Result<WalTransaction> WalWriter::begin() {
  const std::string path = connection_.path().string();
  for (int attempt = 0; attempt < 3; ++attempt) {
    if (auto locked = lock_for_writing(); !locked) return std::unexpected(locked.error());
    if (const auto header = live_header()) {
      WalTransaction transaction(*this, *header);
      if (header->version != WalIndexHeader{}.version) {
        return failure(ErrorCode::unsupported, "write WAL", path, "wal-index of an unknown version");
      }
      if (header->frame_max != 0 && header->page_size != page_size_) {
        return failure(ErrorCode::corrupt, "write WAL", path, "the WAL has another page size");
      }
      if (auto mapped = map_blocks(std::max(header->frame_max, 1U)); !mapped) {
        return std::unexpected(mapped.error());
      }
      return transaction;
    }
    unlock(wal_write_lock, 1);
    // Somebody died while changing the header. Any read makes SQLite rebuild the wal-index out of the WAL.
    if (auto read = connection_.query_integer("PRAGMA schema_version"); !read) {
      return std::unexpected(read.error().within("recover WAL", path));
    }
  }
  return failure(ErrorCode::corrupt, "write WAL", path, "the wal-index stays unreadable after a recovery");
}

std::uint32_t WalWriter::backfilled() const {
  return load_shared_word(blocks_.front() + wal_index_backfill_offset);
}

Status WalWriter::write_wal(base::ByteView bytes, std::uint64_t offset) const {
  // The unix VFS takes only the low 17 bits of a size: https://sqlite.org/src/file/src/os_unix.c
  constexpr std::size_t at_once = 65536;
  while (!bytes.empty()) {
    const base::ByteView part = bytes.first(std::min(bytes.size(), at_once));
    const int result = wal_file_->pMethods->xWrite(wal_file_, part.data(), static_cast<int>(part.size()),
                                                   static_cast<sqlite3_int64>(offset));
    if (result != SQLITE_OK) {
      return std::unexpected(sqlite_error(result, "write WAL", connection_.path().string()));
    }
    bytes = bytes.subspan(part.size());
    offset += part.size();
  }
  return {};
}

Result<std::uint32_t> WalWriter::find_frame(PageNo number, std::uint32_t frame_max) {
  if (frame_max == 0) return 0U;
  for (std::uint32_t next = wal_index_block_of(frame_max) + 1; next-- > 0;) {
    const auto searched = block(next);
    if (!searched) return std::unexpected(searched.error());
    if (const std::uint32_t frame = searched->find(number, frame_max); frame != 0) return frame;
  }
  return 0U;
}

Status WalWriter::read_frame(std::uint32_t frame, std::span<std::byte> destination) {
  const auto count =
      read_file_handle(wal_file_, destination, wal_frame_offset(frame, page_size_) + wal_frame_header_size,
                       connection_.path());
  if (!count) return std::unexpected(count.error());
  if (*count < destination.size()) {
    return failure(ErrorCode::corrupt, "read WAL", connection_.path().string(),
                   "the file ends before a frame that the wal-index names: it was truncated by somebody");
  }
  return {};
}

Status WalWriter::read_page(PageNo number, std::uint32_t frame_max, std::span<std::byte> destination) {
  const auto frame = find_frame(number, frame_max);
  if (!frame) return std::unexpected(frame.error());
  if (*frame != 0) return read_frame(*frame, destination);
  const auto count = read_file_handle(database_file_, destination,
                                      std::uint64_t{number.value() - 1} * page_size_, connection_.path());
  if (!count) return std::unexpected(count.error());
  return {};
}

Result<std::vector<std::pair<PageNo, std::uint32_t>>> WalWriter::pages_in_wal(std::uint32_t frame_max) {
  std::unordered_map<std::uint32_t, std::uint32_t> last;
  for (std::uint32_t frame = 1; frame <= frame_max; ++frame) {
    const auto holder = block(wal_index_block_of(frame));
    if (!holder) return std::unexpected(holder.error());
    last[holder->page_of(frame).value()] = frame;
  }
  std::vector<std::pair<PageNo, std::uint32_t>> pages;
  pages.reserve(last.size());
  for (const auto& [page, frame] : last) pages.emplace_back(PageNo(page), frame);
  std::sort(pages.begin(), pages.end());
  return pages;
}

}  // namespace litecluster::db
