// Builds the bytes of a SQLite WAL: its header and its frames.
//
//   header (32 bytes, all big-endian): magic 0x377f0682, or ..83 when checksums read words as big-endian |
//       version 3007000 | page size | checkpoint number | salt 1 | salt 2 | checksum of the 24 bytes before
//   frame: page number | pages of the database after this commit, 0 in all but the last frame of a
//       transaction | salt 1 | salt 2 | checksum, then the page
//
// The checksum runs on from the header through every frame's first 8 bytes and its page, so a frame is valid
// only behind the very frames that it was written behind. A transaction exists when its last frame is valid.
// Source: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "db/wal_index_layout.hpp"
#include "wal/checksum.hpp"

namespace litecluster::db {

inline constexpr std::size_t wal_file_header_size = 32;
inline constexpr std::size_t wal_frame_header_size = 24;

/// Offset in the WAL file of `frame` (1-based).
[[nodiscard]] constexpr std::uint64_t wal_frame_offset(std::uint32_t frame, std::uint32_t page_size) {
  return wal_file_header_size + std::uint64_t{frame - 1} * (page_size + wal_frame_header_size);
}

struct WalFileHeader {
  wal::ChecksumOrder checksum_order = wal::ChecksumOrder::little_endian;
  std::uint32_t page_size = 0;
  std::uint32_t checkpoint_number = 0;
  WalSalts salts;
};

/// The header's bytes, and the checksum that the first frame goes on from.
struct EncodedWalFileHeader {
  std::array<std::byte, wal_file_header_size> bytes;
  wal::Checksum checksum;
};

[[nodiscard]] EncodedWalFileHeader encode_wal_file_header(const WalFileHeader& header);

/// The byte order of this machine, which makes checksums cheapest.
[[nodiscard]] wal::ChecksumOrder native_checksum_order();

/// Appends frames to a buffer, one behind the other. A value: copy it to go back.
class WalFrameBuilder {
 public:
  WalFrameBuilder() = default;
  /// Goes on from `checksum`: that of the header or of the frame before.
  WalFrameBuilder(wal::ChecksumOrder order, WalSalts salts, wal::Checksum checksum)
      : order_(order), salts_(salts), checksum_(checksum) {}

  /// Appends one frame with `page`. `commit_page_count` is 0 but in the last frame of a transaction.
  void append(base::Bytes& destination, PageNo number, base::ByteView page, std::uint32_t commit_page_count);

  [[nodiscard]] wal::Checksum checksum() const { return checksum_; }
  [[nodiscard]] WalSalts salts() const { return salts_; }

 private:
  wal::ChecksumOrder order_ = wal::ChecksumOrder::little_endian;
  WalSalts salts_;
  wal::Checksum checksum_;
};

}  // namespace litecluster::db
