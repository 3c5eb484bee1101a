// The write-ahead log of SQLite, as bytes (https://www.sqlite.org/fileformat2.html, "The Write-Ahead Log").
//
//   WAL   := header(32) frame*
//   frame := header(24) page(page size)
//
// All fields are big-endian. The header's salts are repeated in each frame that belongs to this filling of
// the WAL; frames of an earlier filling may lie behind them. Frames of a transaction are valid once one with
// a commit mark (the size of the database in pages) follows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "wal/checksum.hpp"

namespace litecluster::wal {

inline constexpr std::size_t header_size = 32;
inline constexpr std::size_t frame_header_size = 24;
inline constexpr std::uint32_t magic_little_endian = 0x377F'0682;
inline constexpr std::uint32_t magic_big_endian = 0x377F'0683;
inline constexpr std::uint32_t format_version = 3'007'000;

/// Two numbers that tell one filling of the WAL from the next.
struct Salts {
  std::uint32_t first = 0;
  std::uint32_t second = 0;

  friend constexpr bool operator==(const Salts&, const Salts&) = default;
};

struct Header {
  /// How the words under the checksums are read; fields are big-endian either way.
  ChecksumOrder order = ChecksumOrder::little_endian;
  /// Bytes: 512, 1024 .. 65536.
  std::uint32_t page_size = 0;
  /// Counts the fillings of this WAL.
  std::uint32_t checkpoint_sequence = 0;
  Salts salts;
  /// Of the header itself: where the chain of the frames' checksums starts.
  Checksum checksum;

  friend constexpr bool operator==(const Header&, const Header&) = default;
};

struct FrameHeader {
  PageNo page;
  /// Pages of the database after the commit that this frame ends; 0 when it ends none.
  std::uint32_t commit = 0;
  Salts salts;
  Checksum checksum;
};

/// The header, or nothing when the bytes are too few, are no WAL header or are damaged: SQLite takes such a
/// WAL for an empty one.
[[nodiscard]] std::optional<Header> parse_header(base::ByteView bytes);
/// `header.checksum` is ignored and computed anew.
[[nodiscard]] std::array<std::byte, header_size> serialize(const Header& header);

/// `bytes` has at least frame_header_size bytes (the caller checked). Nothing is judged here.
[[nodiscard]] FrameHeader parse_frame_header(base::ByteView bytes);
/// Checksum after a frame, given that before it. `header` are its first 8 bytes or more.
[[nodiscard]] Checksum frame_checksum(Checksum before, base::ByteView header, base::ByteView page,
                                      ChecksumOrder order);

/// Bytes of one frame.
[[nodiscard]] constexpr std::uint64_t frame_size(std::uint32_t page_size) {
  return frame_header_size + std::uint64_t{page_size};
}
/// Offset of a frame's header. Frames count from 1.
[[nodiscard]] constexpr std::uint64_t frame_offset(std::uint32_t frame, std::uint32_t page_size) {
  return header_size + (std::uint64_t{frame} - 1) * frame_size(page_size);
}
/// Frames before `offset`, which is a frame boundary.
[[nodiscard]] constexpr std::uint32_t frames_before(std::uint64_t offset, std::uint32_t page_size) {
  return offset <= header_size ? 0
                               : static_cast<std::uint32_t>((offset - header_size) / frame_size(page_size));
}

}  // namespace litecluster::wal
