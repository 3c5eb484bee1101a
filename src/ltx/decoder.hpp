// Reads LTX files from start to end and verifies all there is to verify.
//
//   Decoder decoder(source);
//   auto header = decoder.read_header();
//   while (auto page = *decoder.next_page()) { ... }   // (error handling left out)
//   decoder.info();                                    // now the whole file is known to be good
//
// Nothing of a file is trustworthy before next_page() has returned "no more pages": the checksum of the file
// stands at its end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "ltx/header.hpp"
#include "ltx/page.hpp"
#include "ltx/page_order.hpp"
#include "ltx/stream.hpp"

namespace litecluster::ltx {

/// Which files a Decoder takes.
enum class Acceptance {
  any,         ///< everything that the format allows
  litestream,  ///< only what stock Litestream can restore: no database checksums
};

/// Every error that concerns the file itself is `corrupt`, names the source and the byte offset. Errors of
/// the source are handed through. After an error every call returns it again. Memory: one page, whatever the
/// size of the file. Not thread-safe.
class Decoder {
 public:
  /// `source` outlives the decoder and is read by nobody else meanwhile.
  explicit Decoder(Source& source, Acceptance acceptance = Acceptance::any)
      : source_(source), acceptance_(acceptance) {}

  /// May be called before the first next_page(), which otherwise does so itself.
  [[nodiscard]] Result<Header> read_header();
  /// The next page, whose bytes last until the next call; nothing when the file ended and proved good.
  [[nodiscard]] Result<std::optional<Page>> next_page();
  /// Reads on to the end without handing out pages.
  [[nodiscard]] Status skip_to_end();

  /// Valid after read_header().
  [[nodiscard]] const Header& header() const { return info_.header; }
  /// Complete once next_page() returned nothing.
  [[nodiscard]] const FileInfo& info() const { return info_; }

 private:
  enum class State { start, pages, finished, failed };

  /// At least `count` bytes of the source, or an Error that says what was cut off.
  [[nodiscard]] Result<base::ByteView> need(std::size_t count, std::string_view what);
  void consume(std::size_t count);
  [[nodiscard]] Result<std::optional<Page>> read_page();
  [[nodiscard]] Status read_end();
  [[nodiscard]] Status read_index();
  [[nodiscard]] Status read_trailer();
  [[nodiscard]] std::unexpected<Error> corrupt(std::uint64_t offset, std::string_view reason) const;
  [[nodiscard]] std::unexpected<Error> fail(Error error);

  Source& source_;
  Acceptance acceptance_;
  State state_ = State::start;
  std::optional<Error> failure_;
  FileInfo info_;
  std::uint64_t offset_ = 0;
  std::uint64_t crc_ = 0;
  std::uint64_t frames_crc_ = 0;  // over (page, offset, size) of each frame, to compare the index with
  PageOrder order_;
  Checksum rolling_;  // of the pages of a snapshot with checksums
  base::Bytes page_;
};

/// Reads all of a source and says what it is. Error: as Decoder's.
[[nodiscard]] Result<FileInfo> verify(Source& source, Acceptance acceptance = Acceptance::any);

}  // namespace litecluster::ltx
