// LZ4 frames (https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md), as far as one page needs them.
// Written by hand so that a frame from outside cannot make us allocate anything or read past its end.
#pragma once

#include <cstddef>
#include <expected>
#include <span>
#include <string>

#include "base/bytes.hpp"

namespace litecluster::ltx {

/// What is wrong with packed bytes, and where, counted from their start.
struct PackingError {
  std::size_t offset;
  std::string reason;
};

/// Bytes around the block: magic 4, descriptor 3, block size 4, end mark 4, content checksum 4.
inline constexpr std::size_t lz4_frame_overhead = 19;

/// Writes one frame in the form that LTX library 0.5.0 wrote: one independent block, content checksum.
/// `destination` has room for content.size() + lz4_frame_overhead; `content` has 1 to 65536 bytes.
[[nodiscard]] std::size_t write_lz4_frame(base::ByteView content, std::span<std::byte> destination);

/// Unpacks the frame at the front of `bytes`, whatever its flags and number of blocks, if its content fills
/// `content` exactly and carries its checksum (readers of the LTX library need that to find the frame's end).
/// Returns the length of the frame.
[[nodiscard]] std::expected<std::size_t, PackingError> read_lz4_frame(base::ByteView bytes,
                                                                      std::span<std::byte> content);

}  // namespace litecluster::ltx
