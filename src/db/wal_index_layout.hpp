// The layout of SQLite's wal-index (the -shm file), on plain memory.
//
// The wal-index says, for a page number and a frame limit, which frame of the WAL holds the page. It is cut
// into blocks of 32 KiB. Each block covers 4096 frames (the first 4062, because the header takes 136 bytes of
// it) with two arrays: the page number of each of its frames, and a hash table of 8192 16-bit slots that hold
// the 1-based position of a frame within the block, 0 for an empty slot. Collisions go to the next slot.
// Because entries are only ever added in order of frames, a reader that stops at frame M sees in the same
// table what it would see if later frames did not exist.
//
// Header, all in the byte order of the machine:
//
//     0  first copy of the 48-byte header      48  second copy
//    96  frames copied back into the database ("backfill")
//   100  five read marks: the frame that readers holding that mark's lock do not go beyond
//   120  eight lock bytes (write, checkpoint, recover, five read marks), locked but never read or written
//   128  frames that a checkpoint set out to copy
//
// A header is good when both copies are equal and its checksum fits; a writer writes the second copy, then a
// barrier, then the first, and a reader reads them the other way round.
//
// Sources: https://www.sqlite.org/walformat.html and the comment at the head of SQLite's wal.c.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "wal/checksum.hpp"

namespace litecluster::db {

inline constexpr std::size_t wal_index_block_size = 32768;
inline constexpr std::uint32_t wal_index_frames_per_block = 4096;
inline constexpr std::uint32_t wal_index_frames_first_block = 4062;
inline constexpr std::size_t wal_index_header_size = 48;
inline constexpr std::size_t wal_index_backfill_offset = 96;
inline constexpr std::size_t wal_index_read_mark_offset = 100;
inline constexpr std::size_t wal_index_backfill_attempted_offset = 128;
inline constexpr std::uint32_t wal_index_read_mark_count = 5;
inline constexpr std::uint32_t wal_index_read_mark_unused = 0xFFFF'FFFF;

/// Lock numbers for xShmLock.
inline constexpr int wal_write_lock = 0;
inline constexpr int wal_checkpoint_lock = 1;
/// The lock of read mark `mark`, 0 to 4.
[[nodiscard]] constexpr int wal_read_lock(int mark) {
  return 3 + mark;
}

/// Two random numbers that tell one filling of the WAL from the next.
struct WalSalts {
  std::uint32_t first = 0;
  std::uint32_t second = 0;

  friend constexpr bool operator==(const WalSalts&, const WalSalts&) = default;
};

/// The header of the wal-index, decoded.
struct WalIndexHeader {
  std::uint32_t version = 3'007'000;
  /// Grows by one with each commit; 0 after a recovery. A restart of the WAL leaves it alone.
  std::uint32_t change_counter = 0;
  wal::ChecksumOrder checksum_order = wal::ChecksumOrder::little_endian;
  /// Bytes; 0 while nothing was ever written to this WAL.
  std::uint32_t page_size = 0;
  /// Last frame of the last commit; 0: the WAL is empty.
  std::uint32_t frame_max = 0;
  /// Pages of the database after the last commit; may be 0 when the WAL is empty.
  std::uint32_t page_count = 0;
  /// Running checksum after frame_max.
  wal::Checksum frame_checksum;
  WalSalts salts;

  friend bool operator==(const WalIndexHeader&, const WalIndexHeader&) = default;
};

using WalIndexHeaderBytes = std::array<std::byte, wal_index_header_size>;

/// One copy of the header with its checksum.
[[nodiscard]] WalIndexHeaderBytes encode_wal_index_header(const WalIndexHeader& header);
/// nullopt when the header is not initialised or its checksum is wrong. `bytes` has 48 bytes.
[[nodiscard]] std::optional<WalIndexHeader> decode_wal_index_header(base::ByteView bytes);

/// Copies between plain and shared memory word by word (relaxed atomic 32-bit accesses, so that a word is
/// never torn). Both are aligned to 4, `size` is a multiple of 4.
void store_shared_words(std::byte* shared, const std::byte* plain, std::size_t size);
void load_shared_words(std::byte* plain, const std::byte* shared, std::size_t size);
void store_shared_word(std::byte* shared, std::uint32_t value);
[[nodiscard]] std::uint32_t load_shared_word(const std::byte* shared);

/// Block that covers `frame` (1-based).
[[nodiscard]] constexpr std::uint32_t wal_index_block_of(std::uint32_t frame) {
  return (frame + wal_index_frames_per_block - wal_index_frames_first_block - 1) / wal_index_frames_per_block;
}

/// One block over 32 KiB of memory that outlives this view. Changes need the WAL's write lock; others may
/// read at the same time.
class WalIndexBlock {
 public:
  /// `memory` is aligned to 4 and has wal_index_block_size bytes.
  WalIndexBlock(std::byte* memory, std::uint32_t number);

  [[nodiscard]] std::uint32_t frame_first() const { return frame_first_; }
  [[nodiscard]] std::uint32_t frame_last() const { return frame_first_ + capacity_ - 1; }

  /// Enters `frame` of this block. Frames come in ascending order; what the block holds for this frame or
  /// later ones is left over from a writer that died or from an earlier filling of the WAL, and is cleared
  /// first. False when the table is full, which no well-formed table ever is.
  [[nodiscard]] bool append(std::uint32_t frame, PageNo page);
  /// Removes all entries for frames beyond `frame`, which may lie before this block.
  void clear_after(std::uint32_t frame);
  /// The last frame of this block that holds `page` and is at most `limit`; 0 for none.
  [[nodiscard]] std::uint32_t find(PageNo page, std::uint32_t limit) const;
  /// The page entered for `frame` of this block; 0 when there is none.
  [[nodiscard]] PageNo page_of(std::uint32_t frame) const;

 private:
  [[nodiscard]] std::byte* page_word(std::uint32_t position) const { return pages_ + (position - 1) * 4; }

  std::byte* pages_;
  std::byte* slots_;
  std::uint32_t frame_first_;
  std::uint32_t capacity_;
};

}  // namespace litecluster::db
