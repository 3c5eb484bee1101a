// One page frame: page header and packed page (see format.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>

#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "ltx/format.hpp"
#include "ltx/lz4_frame.hpp"

namespace litecluster::ltx {

inline constexpr std::uint16_t page_flag_size = 0x0001;  ///< size and LZ4 block follow
inline constexpr std::size_t block_size_size = 4;

/// The longest LZ4 block that a page can become, and the longest that a reader accepts.
[[nodiscard]] constexpr std::size_t block_size_max(std::size_t page_size) {
  return page_size + page_size / 255 + 16;
}

/// Bytes that are enough for any page frame of this page size, header included.
[[nodiscard]] constexpr std::size_t page_frame_size_max(std::size_t page_size) {
  return page_header_size + block_size_max(page_size) + 64;
}

struct PageHeader {
  PageNo number;
  std::uint16_t flags = 0;

  /// The end of the page block.
  [[nodiscard]] bool is_end() const { return number.is_zero() && flags == 0; }
};

/// `bytes` has at least page_header_size bytes.
[[nodiscard]] PageHeader load_page_header(base::ByteView bytes);

/// What is wrong with a page header by itself, if anything.
[[nodiscard]] std::optional<std::string> check_page_header(const PageHeader& header);

/// How many bytes at the front of a frame count for the file's checksum as they are; the unpacked page
/// follows.
[[nodiscard]] constexpr std::size_t hashed_prefix_size(std::uint16_t flags) {
  return (flags & page_flag_size) != 0 ? page_header_size + block_size_size : page_header_size;
}

/// Writes the frame of a page to `destination`, which has room for page_frame_size_max(); returns its size,
/// or 0 when LZ4 refused, which it must not.
[[nodiscard]] std::size_t pack_page(PageEncoding encoding, PageNo number, base::ByteView page,
                                    std::span<std::byte> destination);

/// Unpacks what follows a page header with these flags at the front of `payload` into `page`, which it has to
/// fill exactly. Returns how many bytes the payload took. Reads nothing past the end of `payload`.
[[nodiscard]] std::expected<std::size_t, PackingError> unpack_page(std::uint16_t flags,
                                                                   base::ByteView payload,
                                                                   std::span<std::byte> page);

}  // namespace litecluster::ltx
