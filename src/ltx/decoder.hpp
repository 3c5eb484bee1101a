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
#include <functional>
#include <optional>
#include <string>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "ltx/header.hpp"
#include "ltx/stream.hpp"

namespace litecluster::ltx {

/// One page of a file. `bytes` belongs to whoever handed it out and says how long it lasts.
struct Page {
  PageNo number;
  base::ByteView bytes;
};

/// Every error that concerns the file itself is `corrupt`, names the source and the byte offset. Errors of
/// the source are handed through. After an error every call returns it again. Memory: one page, whatever the
/// size of the file. Not thread-safe.
class Decoder {
 public:
  /// `source` outlives the decoder and is read by nobody else meanwhile.
  explicit Decoder(Source& source) : source_(source) {}

  /// Call it first, once.
  [[nodiscard]] Result<Header> read_header();
  /// The next page, whose bytes last until the next call; nothing when the file ended and proved good.
  [[nodiscard]] Result<std::optional<Page>> next_page();
  /// Reads on to the end without handing out pages.
  [[nodiscard]] Status skip_to_end();

  /// Valid after read_header().
  [[nodiscard]] const Header& header() const { return info_.header; }
  /// Complete once next_page() returned nothing.
  [[nodiscard]] const FileInfo& info() const { return info_; }
  /// Bytes consumed so far.
  [[nodiscard]] std::uint64_t offset() const { return offset_; }

 private:
  enum class State { start, pages, finished, failed };

  [[nodiscard]] Result<base::ByteView> need(std::size_t count, const char* what);
  void consume(std::size_t count);
  [[nodiscard]] Result<std::optional<Page>> read_page();
  [[nodiscard]] Status read_payload(std::uint16_t flags);
  [[nodiscard]] Status check_order(PageNo number) const;
  [[nodiscard]] Status check_complete() const;
  [[nodiscard]] Status read_end();
  [[nodiscard]] Status read_index();
  [[nodiscard]] Result<std::uint64_t> read_varint(base::Bytes& seen);
  [[nodiscard]] Status read_trailer();
  [[nodiscard]] std::unexpected<Error> corrupt(std::uint64_t offset, std::string reason) const;

  Source& source_;
  State state_ = State::start;
  std::optional<Error> failure_;
  FileInfo info_;
  std::uint64_t offset_ = 0;
  std::uint64_t crc_ = 0;
  std::uint64_t index_crc_ = 0;  // over (page, offset, size) of the frames, to compare the index with
  PageNo last_;
  Checksum rolling_;
  base::Bytes page_;
};

/// Reads all of a source and says what it is. Error: as Decoder's.
[[nodiscard]] Result<FileInfo> verify(Source& source);

/// An LTX object in memory that was verified from header to trailer; its pages may then be applied one by one
/// without a chance that a later one turns out bad. Decompresses twice (once to verify, once to hand out),
/// and so needs one page of memory however well the pages compressed. Not thread-safe.
class VerifiedObject {
 public:
  /// `bytes` outlives the object. `name` is for errors.
  [[nodiscard]] static Result<VerifiedObject> verify(base::ByteView bytes, std::string name);

  [[nodiscard]] const Header& header() const { return info_.header; }
  [[nodiscard]] const FileInfo& info() const { return info_; }
  /// The next page in ascending order, its bytes valid until the next call; nothing after the last.
  /// Fails only if the bytes were changed since verify().
  [[nodiscard]] Result<std::optional<Page>> next_page();
  /// Starts again at the first page.
  void rewind() { offset_ = header_size; }

 private:
  VerifiedObject(base::ByteView bytes, std::string name, FileInfo info)
      : bytes_(bytes), name_(std::move(name)), info_(std::move(info)) {}
  base::ByteView bytes_;
  std::string name_;
  FileInfo info_;
  std::size_t offset_ = header_size;
  base::Bytes page_;
};

}  // namespace litecluster::ltx
