// Reads committed transactions out of a WAL, from its start or from where an earlier scan ended.
//
// A frame counts when its salts are those of the WAL's header, its checksum continues the chain, and a frame
// with a commit mark follows or is itself. The first frame that fails ends the scan: what lies behind it
// belongs to a transaction in progress, to one that was rolled back, or to an earlier filling of the WAL.
// Frames that are being written at this moment break the chain and are seen by the next scan.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <litecluster/error.hpp>

#include "base/bytes.hpp"
#include "wal/format.hpp"

namespace litecluster::wal {

/// Where the WAL's bytes come from.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Fills `destination` from `offset`; returns fewer bytes only at the end of the file.
  [[nodiscard]] virtual Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> destination) = 0;
};

/// A place between two frames of one filling of the WAL.
struct Position {
  /// Bytes before it; 0: before the header, of a WAL of which nothing is known.
  std::uint64_t offset = 0;
  Salts salts;
  /// The chain of checksums up to here.
  Checksum checksum;

  friend constexpr bool operator==(const Position&, const Position&) = default;
};

/// The place before the first frame.
[[nodiscard]] constexpr Position first_position(const Header& header) {
  return {.offset = header_size, .salts = header.salts, .checksum = header.checksum};
}

struct ScanLimits {
  /// Frames beyond this one are not looked at.
  std::uint32_t frame_max = std::numeric_limits<std::uint32_t>::max();
  /// The scan ends at the first commit at or above so many bytes of frames. One transaction is never cut.
  std::uint64_t bytes_max = std::numeric_limits<std::uint64_t>::max();
};

/// The newest frame of a page.
struct PageFrame {
  PageNo page;
  std::uint32_t frame = 0;

  friend constexpr auto operator<=>(const PageFrame&, const PageFrame&) = default;
};

enum class ScanEnd {
  no_header,      ///< the file is too short or its header is not valid: an empty WAL
  restarted,      ///< the header has other salts than the position: the WAL was started anew
  end_of_frames,  ///< no further valid frame
  limit,          ///< frame_max or bytes_max
};

struct ScanResult {
  ScanEnd end = ScanEnd::no_header;
  /// As read; meaningless when end is no_header.
  Header header;
  /// After the last commit; the start position when there was none.
  Position position;
  /// Frames up to the last commit, counted from the start position.
  std::uint32_t frame_count = 0;
  /// Commits among them. (SQLite may repeat the last frame of a commit to fill a sector; each counts.)
  std::uint32_t commit_count = 0;
  /// Pages of the database after the last commit; 0 when there was none.
  std::uint32_t commit = 0;
  /// Newest frame of each page written by these commits, ascending by page, none beyond `commit`.
  std::vector<PageFrame> pages;
  /// The same with pages beyond `commit`: they say nothing about the database as it is now, but a frame of
  /// theirs comes back to life when the database grows again without writing the page.
  std::vector<PageFrame> dropped_pages;
};

/// Scans from `start` (offset 0: from the beginning, whatever the salts). When `frames` is given, the raw
/// frames up to the last commit are left there, frame_size bytes each; otherwise memory is a fixed buffer
/// and 8 bytes a page. Errors are those of the source.
[[nodiscard]] Result<ScanResult> scan(ByteSource& source, const Position& start, const ScanLimits& limits,
                                      base::Bytes* frames = nullptr);

}  // namespace litecluster::wal
