#include "db/wal_writer_transaction.hpp"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/fault_point.hpp"
#include "base/random.hpp"

namespace litecluster::db {

namespace {

constexpr std::size_t buffer_limit = 1U << 20U;
constexpr std::chrono::microseconds retry_interval{50};
constexpr int reader_lock_count = static_cast<int>(wal_index_read_mark_count) - 1;

}  // namespace

WalTransaction::WalTransaction(WalWriter& writer, const WalIndexHeader& header)
    : writer_(&writer), header_(header) {
  builder_ = WalFrameBuilder(header.checksum_order, header.salts, header.frame_checksum);
  writer.buffer_.clear();
}

WalTransaction::WalTransaction(WalTransaction&& other) noexcept
    : writer_(std::exchange(other.writer_, nullptr)),
      header_(other.header_),
      builder_(other.builder_),
      pages_(std::move(other.pages_)),
      written_(other.written_),
      held_(std::move(other.held_)),
      page_count_(other.page_count_) {}

WalTransaction::~WalTransaction() {
  if (writer_ != nullptr) writer_->unlock(wal_write_lock, 1);
}

bool WalTransaction::restart(std::chrono::microseconds patience) {
  if (header_.frame_max == 0 || !pages_.empty()) return false;
  const auto give_up = std::chrono::steady_clock::now() + patience;
  while (!try_restart()) {
    if (std::chrono::steady_clock::now() >= give_up) return false;
    std::this_thread::sleep_for(retry_interval);
  }
  LITECLUSTER_FAULT_POINT("replica.wal.restarted");
  return true;
}

bool WalTransaction::try_restart() {
  if (writer_->backfilled() != header_.frame_max) return false;
  if (!writer_->lock(wal_checkpoint_lock, 1)) return false;
  bool restarted = false;
  // While these are held nobody reads from the WAL, and nobody can begin to.
  if (writer_->lock(wal_read_lock(1), reader_lock_count)) {
    header_.frame_max = 0;
    header_.frame_checksum = {};
    header_.salts = {header_.salts.first + 1, static_cast<std::uint32_t>(base::random_u64())};
    writer_->publish(header_);
    std::byte* const memory = writer_->blocks_.front();
    store_shared_word(memory + wal_index_backfill_offset, 0);
    store_shared_word(memory + wal_index_backfill_attempted_offset, 0);
    store_shared_word(memory + wal_index_read_mark_offset + 4, 0);
    for (std::uint32_t mark = 2; mark < wal_index_read_mark_count; ++mark) {
      store_shared_word(memory + wal_index_read_mark_offset + std::size_t{mark} * 4,
                        wal_index_read_mark_unused);
    }
    writer_->barrier();
    writer_->unlock(wal_read_lock(1), reader_lock_count);
    restarted = true;
  }
  writer_->unlock(wal_checkpoint_lock, 1);
  return restarted;
}

void WalTransaction::discard_leftovers() {
  const auto size = file_handle_size(writer_->wal_file_, writer_->connection_.path());
  if (!size) return;
  const base::Bytes zeros(wal_file_header_size);
  if (header_.frame_max == 0) {
    if (*size > 0) static_cast<void>(writer_->write_wal(zeros, 0));
    return;
  }
  const std::uint64_t next = wal_frame_offset(header_.frame_max + 1, writer_->page_size_);
  if (*size > next) {
    static_cast<void>(writer_->write_wal(base::ByteView(zeros).first(wal_frame_header_size), next));
  }
}

// The first frame of a WAL is about to be written: give it its header. Salts are always fresh, so that no
// frame still in the file from earlier can be valid behind this header.
Status WalTransaction::start_log() {
  sqlite3_file* const file = writer_->wal_file_;
  const auto& path = writer_->connection_.path();
  std::uint32_t checkpoint_number = 0;
  base::Bytes old(wal_file_header_size);
  const auto size = file_handle_size(file, path);
  if (!size) return std::unexpected(size.error());
  if (*size >= wal_file_header_size && read_file_handle(file, old, 0, path)) {
    checkpoint_number = base::load_big_endian<std::uint32_t>(old.data() + 12) + 1;
  }
  // The header in shared memory already says that no frame counts, so the file may go.
  if (*size > writer_->options_.size_limit) {
    if (const int result = file->pMethods->xTruncate(file, 0); result != SQLITE_OK) {
      return std::unexpected(sqlite_error(result, "truncate WAL", path.string()));
    }
  }
  const WalFileHeader fresh{
      .checksum_order = native_checksum_order(),
      .page_size = writer_->page_size_,
      .checkpoint_number = checkpoint_number,
      .salts = {header_.salts.first + 1, static_cast<std::uint32_t>(base::random_u64())}};
  const EncodedWalFileHeader encoded = encode_wal_file_header(fresh);
  if (auto written = writer_->write_wal(encoded.bytes, 0); !written) return written;
  if (writer_->options_.sync_header) {
    if (const int result = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL); result != SQLITE_OK) {
      return std::unexpected(sqlite_error(result, "fsync WAL", path.string()));
    }
  }
  header_.checksum_order = fresh.checksum_order;
  header_.salts = fresh.salts;
  builder_ = WalFrameBuilder(fresh.checksum_order, fresh.salts, encoded.checksum);
  LITECLUSTER_FAULT_POINT("replica.wal.header");
  return {};
}

Status WalTransaction::append(PageNo number, base::ByteView page) {
  if (pages_.empty()) {
    if (header_.frame_max == 0) {
      if (auto started = start_log(); !started) return started;
    }
  } else if (auto encoded = encode_held(0); !encoded) {
    return encoded;
  }
  // Everything that can fail for want of space comes before the commit.
  const auto frame = static_cast<std::uint64_t>(header_.frame_max) + pages_.size() + 1;
  if (frame > 0xFFFF'FFF0U) {
    return failure(ErrorCode::too_large, "append to WAL", writer_->connection_.path().string(),
                   "the WAL has no frame numbers left; a reader has kept it from being restarted");
  }
  if (auto mapped = writer_->map_blocks(static_cast<std::uint32_t>(frame)); !mapped) return mapped;
  held_.assign(page.begin(), page.end());
  pages_.push_back(number);
  return {};
}

Status WalTransaction::encode_held(std::uint32_t commit_page_count) {
  builder_.append(writer_->buffer_, pages_.back(), held_, commit_page_count);
  if (commit_page_count == 0 && writer_->buffer_.size() >= buffer_limit) return flush();
  return {};
}

Status WalTransaction::flush() {
  base::Bytes& buffer = writer_->buffer_;
  const std::size_t frame_size = writer_->page_size_ + wal_frame_header_size;
  const std::uint64_t offset = wal_frame_offset(header_.frame_max + written_ + 1, writer_->page_size_);
  if (LITECLUSTER_FAULT_REQUESTED("replica.wal.torn_write")) {
    static_cast<void>(writer_->write_wal(base::ByteView(buffer).first(buffer.size() / 2), offset));
    return failure(ErrorCode::resource_exhausted, "write WAL", writer_->connection_.path().string(),
                   "simulated: no space left on device");
  }
  if (auto written = writer_->write_wal(buffer, offset); !written) return written;
  written_ += static_cast<std::uint32_t>(buffer.size() / frame_size);
  buffer.clear();
  return {};
}

Result<WalEnd> WalTransaction::prepare(std::uint32_t page_count) {
  if (pages_.empty() || page_count == 0) {
    return failure(ErrorCode::invalid_argument, "prepare WAL transaction",
                   writer_->connection_.path().string(), "a transaction needs at least one page");
  }
  if (auto encoded = encode_held(page_count); !encoded) return std::unexpected(encoded.error());
  page_count_ = page_count;
  return WalEnd{builder_.salts(), header_.frame_max + static_cast<std::uint32_t>(pages_.size()),
                builder_.checksum()};
}

Status WalTransaction::commit() {
  if (auto written = flush(); !written) return written;
  LITECLUSTER_FAULT_POINT("replica.wal.frames");
  std::uint32_t frame = header_.frame_max;
  for (const PageNo page : pages_) {
    ++frame;
    auto block = writer_->block(wal_index_block_of(frame));
    if (!block) return std::unexpected(block.error());
    if (!block->append(frame, page)) {
      return failure(ErrorCode::corrupt, "update wal-index", writer_->connection_.path().string(),
                     "a hash table is full: another program damaged the -shm file");
    }
    LITECLUSTER_FAULT_POINT("replica.wal.index");
  }
  header_.frame_max = frame;
  header_.frame_checksum = builder_.checksum();
  header_.page_count = page_count_;
  header_.page_size = writer_->page_size_;
  ++header_.change_counter;
  writer_->publish(header_);
  LITECLUSTER_FAULT_POINT("replica.wal.published");
  return {};
}

}  // namespace litecluster::db
