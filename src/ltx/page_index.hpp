// The page index of an LTX file and random access by it.
//
//   index := { uvarint page number, uvarint offset of the frame, uvarint size of the frame }* uvarint 0 |
//   size u64
//
// Varints are unsigned LEB128 of at most 10 bytes. The size counts the varints with the terminating 0.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "ltx/header.hpp"
#include "ltx/stream.hpp"

namespace litecluster::ltx {

struct IndexEntry {
  PageNo number;
  /// Bytes from the start of the file to the frame's page header.
  std::uint64_t offset = 0;
  /// Bytes of the whole frame, page header included.
  std::uint64_t size = 0;

  friend bool operator==(const IndexEntry&, const IndexEntry&) = default;
};

void append_varint(base::Bytes& destination, std::uint64_t value);
void append_index_entry(base::Bytes& destination, const IndexEntry& entry);

/// The number at the front of `bytes` and how many bytes it took; nothing when it is cut off or exceeds 64
/// bits.
struct Varint {
  std::uint64_t value;
  std::size_t size;
};
[[nodiscard]] std::optional<Varint> parse_varint(base::ByteView bytes);

/// Parses the varints of an index, terminating 0 included and nothing behind it. Requires ascending page
/// numbers and frames that follow each other without a gap from the end of the header. `base_offset` is where
/// `bytes` begin in the file, for errors. Error: corrupt.
[[nodiscard]] Result<std::vector<IndexEntry>> parse_index(base::ByteView bytes, std::uint64_t base_offset,
                                                          std::string_view name);

/// Reads single pages of a file by its index, without reading the rest. What is read this way is only checked
/// as far as one page can be: the file's checksum covers the whole. Not thread-safe.
class PageReader {
 public:
  /// Reads header, index and trailer. `file` outlives the reader. Error: corrupt; errors of `file` go
  /// through.
  [[nodiscard]] static Result<PageReader> open(RandomAccess& file);

  [[nodiscard]] const Header& header() const { return header_; }
  [[nodiscard]] const Trailer& trailer() const { return trailer_; }
  /// Ascending by page number.
  [[nodiscard]] std::span<const IndexEntry> entries() const { return entries_; }
  [[nodiscard]] bool contains(PageNo number) const;
  /// The page's bytes, valid until the next call. Error: not_found, or corrupt.
  [[nodiscard]] Result<base::ByteView> read_page(PageNo number);

 private:
  PageReader(RandomAccess& file, Header header, Trailer trailer, std::vector<IndexEntry> entries);
  [[nodiscard]] const IndexEntry* find(PageNo number) const;

  RandomAccess* file_;
  Header header_;
  Trailer trailer_;
  std::vector<IndexEntry> entries_;
  base::Bytes frame_;
  base::Bytes page_;
};

}  // namespace litecluster::ltx
