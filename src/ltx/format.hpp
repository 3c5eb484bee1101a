// Constants and small rules of the LTX file format (docs/formats.md).
//
//   file  := header(100) page_frame* end_marker(6 zero bytes) page_index trailer(16)
//   frame := page number u32 | flags u16 | payload
//            flags 1: payload is a size u32 and that many bytes of one raw LZ4 block   ("block")
//            flags 0: payload is one complete LZ4 frame                                ("frame", legacy)
//
// All fixed-width numbers are big-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <litecluster/types.hpp>

namespace litecluster::ltx {

/// How the pages of a file are packed. Readers accept both, also mixed within one file.
enum class PageEncoding {
  block,  ///< what Litestream 0.5.16 and later writes; Litestream <= 0.5.15 cannot read it
  frame,  ///< what Litestream 0.5.0 to 0.5.15 writes; every 0.5 reads it; 15 bytes a page larger
};

[[nodiscard]] constexpr std::string_view to_string(PageEncoding encoding) {
  return encoding == PageEncoding::block ? "block" : "frame";
}

inline constexpr std::size_t header_size = 100;
inline constexpr std::size_t page_header_size = 6;
inline constexpr std::size_t trailer_size = 16;
/// Bytes of the number behind the page index that says how long the index is.
inline constexpr std::size_t index_size_size = 8;
inline constexpr std::uint32_t page_size_min = 512;
inline constexpr std::uint32_t page_size_max = 65536;
/// SQLite's own limit.
inline constexpr std::uint32_t page_count_max = 0xFFFF'FFFE;
/// The smallest possible file: no pages.
inline constexpr std::size_t file_size_min =
    header_size + page_header_size + 1 + index_size_size + trailer_size;
/// Bytes of the -wal file's own header; the WAL offset of a file that no WAL stands behind should be this,
/// because stock Litestream stumbles over 0 when it takes over.
inline constexpr std::int64_t wal_offset_first = 32;

/// True for 512, 1024 .. 65536.
[[nodiscard]] constexpr bool is_page_size(std::uint32_t page_size) {
  return page_size >= page_size_min && page_size <= page_size_max && (page_size & (page_size - 1)) == 0;
}

/// The page that SQLite keeps its locks in (it contains byte 0x40000000). It is never stored in an LTX file,
/// is no part of the database checksum, and reads as zeros. `page_size` is a legal one.
[[nodiscard]] constexpr PageNo lock_page(std::uint32_t page_size) {
  return PageNo(0x4000'0000U / page_size + 1);
}

}  // namespace litecluster::ltx
