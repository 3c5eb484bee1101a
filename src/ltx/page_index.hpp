// The page index of an LTX file.
//
//   index := { uvarint page number, uvarint offset of the frame, uvarint size of the frame }* uvarint 0 |
//   size u64
//
// Varints are unsigned LEB128 of at most 10 bytes. The size counts the varints with the terminating 0.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "ltx/format.hpp"

namespace litecluster::ltx {

struct IndexEntry {
  PageNo number;
  /// Bytes from the start of the file to the frame's page header.
  std::uint64_t offset = 0;
  /// Bytes of the whole frame, page header included.
  std::uint64_t size = 0;

  friend bool operator==(const IndexEntry&, const IndexEntry&) = default;
};

inline constexpr std::size_t varint_size_max = 10;
/// No frame is longer: a page of 64 KiB that does not compress, with room to spare.
inline constexpr std::uint64_t frame_size_limit = 128 * 1024;

void append_varint(base::Bytes& destination, std::uint64_t value);
void append_index_entry(base::Bytes& destination, const IndexEntry& entry);

struct Varint {
  std::uint64_t value;
  std::size_t size;
};
/// The number at the front of `bytes` and how many bytes it took; nothing when it is cut off or exceeds 64
/// bits.
[[nodiscard]] std::optional<Varint> parse_varint(base::ByteView bytes);

/// An entry and how many bytes it took. Page number 0: it is the end of the index.
struct ParsedIndexEntry {
  IndexEntry entry;
  std::size_t size;
};
/// The entry at the front of `bytes`, or what is wrong with it.
[[nodiscard]] std::expected<ParsedIndexEntry, std::string> parse_index_entry(base::ByteView bytes);

/// The rule that entries follow: page numbers ascend, and frames lie one behind the other from the end of the
/// header on.
class IndexOrder {
 public:
  /// Takes the next entry, or says what is wrong with it.
  [[nodiscard]] std::optional<std::string> accept(const IndexEntry& entry);
  /// Offset behind the last frame.
  [[nodiscard]] std::uint64_t end() const { return end_; }

 private:
  PageNo last_;
  std::uint64_t end_ = header_size;
};

/// Parses the varints of an index, terminating 0 included and nothing behind it. Requires ascending page
/// numbers and frames that follow each other without a gap from the end of the header. `base_offset` is where
/// `bytes` begin in the file, for errors. Error: corrupt.
[[nodiscard]] Result<std::vector<IndexEntry>> parse_index(base::ByteView bytes, std::uint64_t base_offset,
                                                          std::string_view name);

}  // namespace litecluster::ltx
