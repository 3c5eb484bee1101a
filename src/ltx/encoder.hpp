// Writes LTX files, page by page.
//
//   Encoder encoder;                       // keep it: its buffers serve the next file too
//   encoder.begin(header, sink);
//   encoder.add_page(PageNo(1), page);     // ascending
//   encoder.finish();                      // index, trailer
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <litecluster/error.hpp>

#include "base/bytes.hpp"
#include "ltx/format.hpp"
#include "ltx/header.hpp"
#include "ltx/page_order.hpp"
#include "ltx/stream.hpp"

namespace litecluster::ltx {

/// Refuses (invalid_argument) whatever a reader would have to refuse: an invalid header, pages out of order,
/// of the wrong length, beyond the commit, the lock page, a gap in a snapshot, a snapshot that ends before
/// its commit, checksums where none are allowed or missing where they are needed. After any error the file is
/// lost: every call fails with it until the next begin(). Holds one page frame and the page index (about 12
/// bytes a page) in memory. Not thread-safe.
class Encoder {
 public:
  explicit Encoder(PageEncoding encoding = PageEncoding::block) : encoding_(encoding) {}

  /// Starts a file and writes its header. Whatever was begun before is abandoned. `sink` outlives the file.
  [[nodiscard]] Status begin(const Header& header, Sink& sink);
  /// `page` has header.page_size bytes; it is not kept.
  [[nodiscard]] Status add_page(PageNo number, base::ByteView page);
  /// Writes index and trailer. `post_apply` is required unless header.no_checksum, and forbidden with it; for
  /// a snapshot it is compared with the pages that were added.
  [[nodiscard]] Result<FileInfo> finish(std::optional<Checksum> post_apply = std::nullopt);

 private:
  [[nodiscard]] Status usable();
  [[nodiscard]] Status check_post_apply(std::optional<Checksum> post_apply);
  [[nodiscard]] Status emit(base::ByteView bytes);
  [[nodiscard]] std::unexpected<Error> refuse(std::string reason);
  [[nodiscard]] std::unexpected<Error> fail(Error error);

  PageEncoding encoding_;
  Header header_;
  Sink* sink_ = nullptr;          // null: no file in progress
  std::optional<Error> failure_;  // why the file in progress is lost
  std::string name_;
  std::uint64_t crc_ = 0;
  std::uint64_t offset_ = 0;
  std::uint64_t page_count_ = 0;
  PageOrder order_;
  Checksum rolling_;  // of the pages of a snapshot with checksums
  base::Bytes frame_;
  base::Bytes index_;
};

}  // namespace litecluster::ltx
