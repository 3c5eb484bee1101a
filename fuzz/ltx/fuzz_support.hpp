// Shared by the fuzz targets of the LTX codec.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/hex.hpp"
#include "ltx/decoder.hpp"
#include "ltx/encoder.hpp"
#include "ltx/stream.hpp"

namespace litecluster::ltx::fuzz {

using base::Bytes;
using base::ByteView;
using Pages = std::map<PageNo, Bytes>;

/// A property that has to hold whatever the input.
inline void require(bool holds) {
  if (!holds) std::abort();
}

struct Decoded {
  FileInfo info;
  Pages pages;
};

inline Result<Decoded> decode(Source& source) {
  Decoder decoder(source);
  Decoded decoded;
  while (true) {
    auto page = decoder.next_page();
    if (!page) return std::unexpected(page.error());
    if (!*page) break;
    decoded.pages.emplace((*page)->number, Bytes((*page)->bytes.begin(), (*page)->bytes.end()));
  }
  decoded.info = decoder.info();
  return decoded;
}

inline Result<Decoded> decode(ByteView bytes) {
  MemorySource source(bytes, "fuzz");
  return decode(source);
}

/// A fuzzer cannot guess a CRC. Where a file is refused for a wrong checksum alone, puts in the right one,
/// which the error names, so that what lies behind the checksum is reached too.
inline void repair_checksums(Bytes& file) {
  for (int attempt = 0; attempt < 2; ++attempt) {
    const auto decoded = decode(file);
    if (decoded) return;
    const std::string& reason = decoded.error().reason();
    const bool of_file = reason.find("file checksum mismatch") != std::string::npos;
    const std::size_t at = reason.find("computed ");
    if (at == std::string::npos) return;
    const auto value = base::parse_hex(std::string_view(reason).substr(at + 9, 16));
    require(value.has_value());
    base::store_big_endian(file.data() + file.size() - (of_file ? 8 : 16), *value);
  }
}

inline Bytes encode(const Decoded& decoded, PageEncoding encoding) {
  Bytes bytes;
  BytesSink sink(bytes);
  Encoder encoder(encoding);
  require(encoder.begin(decoded.info.header, sink).has_value());
  for (const auto& [number, page] : decoded.pages) require(encoder.add_page(number, page).has_value());
  require(encoder.finish(decoded.info.trailer.post_apply).has_value());
  return bytes;
}

}  // namespace litecluster::ltx::fuzz
