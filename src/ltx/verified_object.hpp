// An LTX object in memory, known to be good before its first page is looked at.
#pragma once

#include <optional>
#include <string>

#include <litecluster/error.hpp>

#include "base/bytes.hpp"
#include "ltx/header.hpp"
#include "ltx/page.hpp"

namespace litecluster::ltx {

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
  VerifiedObject(base::ByteView bytes, std::string name, const FileInfo& info)
      : bytes_(bytes), name_(std::move(name)), info_(info) {}
  base::ByteView bytes_;
  std::string name_;
  FileInfo info_;
  std::size_t offset_ = header_size;
  base::Bytes page_;
};

}  // namespace litecluster::ltx
