#include "ltx/verified_object.hpp"

#include <fmt/format.h>

#include "ltx/decoder.hpp"
#include "ltx/page_codec.hpp"
#include "ltx/stream.hpp"

namespace litecluster::ltx {

Result<VerifiedObject> VerifiedObject::verify(base::ByteView bytes, std::string name) {
  MemorySource source(bytes, name);
  auto info = ltx::verify(source);
  if (!info) return std::unexpected(info.error());
  return VerifiedObject(bytes, std::move(name), *info);
}

Result<std::optional<Page>> VerifiedObject::next_page() {
  const auto changed = [this](std::string_view reason) {
    return failure(ErrorCode::corrupt, "read LTX object", name_,
                   fmt::format("offset {}: {} (it was good when it was verified)", offset_, reason));
  };
  const base::ByteView rest = bytes_.subspan(offset_);
  if (rest.size() < page_header_size) return changed("truncated page header");
  const PageHeader header = load_page_header(rest);
  if (header.is_end()) return std::nullopt;
  page_.resize(info_.header.page_size);
  const auto size = unpack_page(header.flags, rest.subspan(page_header_size), page_);
  if (!size) return changed(size.error().reason);
  offset_ += page_header_size + *size;
  return Page{header.number, page_};
}

}  // namespace litecluster::ltx
