// The checksum of SQLite's write-ahead log: two 32-bit sums over pairs of 32-bit words, chained from the WAL
// header through every frame, so that a frame is only valid as the continuation of all before it
// (https://www.sqlite.org/fileformat2.html, "Checksum Algorithm").
#pragma once

#include <cstdint>

#include "base/bytes.hpp"

namespace litecluster::wal {

/// The running sums; {0, 0} before the WAL header.
struct Checksum {
  std::uint32_t first = 0;
  std::uint32_t second = 0;

  friend constexpr bool operator==(const Checksum&, const Checksum&) = default;
};

/// How the words under the checksum are read: the WAL's magic number says it. Stored fields are big-endian
/// either way.
enum class ChecksumOrder { little_endian, big_endian };

/// Continues `running` over `bytes`, whose size is a multiple of 8 (the caller checked).
[[nodiscard]] Checksum continue_checksum(Checksum running, base::ByteView bytes, ChecksumOrder order);

}  // namespace litecluster::wal
