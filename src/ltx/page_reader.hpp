// Random access to the pages of an LTX file by its index.
#pragma once

#include <span>
#include <vector>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "ltx/header.hpp"
#include "ltx/page_codec.hpp"
#include "ltx/page_index.hpp"
#include "ltx/stream.hpp"

namespace litecluster::ltx {

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
  /// Number and flags as the frame itself states them. Error: not_found, or corrupt.
  [[nodiscard]] Result<PageHeader> read_page_header(PageNo number);
  /// The page's bytes, valid until the next call. Error: not_found, or corrupt.
  [[nodiscard]] Result<base::ByteView> read_page(PageNo number);

 private:
  PageReader(RandomAccess& file, const Header& header, const Trailer& trailer,
             std::vector<IndexEntry> entries);
  [[nodiscard]] Result<IndexEntry> find(PageNo number) const;
  [[nodiscard]] Result<PageHeader> check_frame(const IndexEntry& entry) const;

  RandomAccess* file_;
  Header header_;
  Trailer trailer_;
  std::vector<IndexEntry> entries_;
  base::Bytes frame_;
  base::Bytes page_;
};

}  // namespace litecluster::ltx
