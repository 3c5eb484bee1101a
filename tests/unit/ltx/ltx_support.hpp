// Small databases, files made of them, and surgery on files, for the tests of the LTX codec.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.hpp"
#include "base/file.hpp"
#include "base/hex.hpp"
#include "ltx/checksum.hpp"
#include "ltx/compactor.hpp"
#include "ltx/crc64.hpp"
#include "ltx/decoder.hpp"
#include "ltx/encoder.hpp"
#include "ltx/header.hpp"
#include "ltx/stream.hpp"

namespace litecluster::ltx::test {

using base::Bytes;
using base::ByteView;

/// The pages that a file holds.
using Pages = std::map<std::uint32_t, Bytes>;

inline Bytes filled(std::size_t size, unsigned value) {
  return Bytes(size, static_cast<std::byte>(value));
}

inline Bytes filled(std::size_t size, char value) {
  return filled(size, static_cast<unsigned>(static_cast<unsigned char>(value)));
}

inline Bytes from_hex(std::string_view text) {
  Bytes bytes;
  std::string digits;
  for (const char character : text) {
    if (character == ' ' || character == '\n') continue;
    digits += character;
    if (digits.size() < 2) continue;
    bytes.push_back(static_cast<std::byte>(base::parse_hex(digits).value_or(0)));
    digits.clear();
  }
  return bytes;
}

inline std::filesystem::path sample_path(const std::string& name) {
  return std::filesystem::path(LITECLUSTER_TEST_DATA) / "ltx" / name;
}

inline Bytes sample(const std::string& name) {
  auto bytes = base::read_file(sample_path(name), 1U << 20U);
  EXPECT_TRUE(bytes) << bytes.error().message();
  return bytes ? *bytes : Bytes{};
}

inline Header make_header(std::uint64_t min_txid, std::uint64_t max_txid, std::uint32_t commit,
                          std::uint32_t page_size = 512) {
  Header header;
  header.page_size = page_size;
  header.commit = commit;
  header.min_txid = Txid(min_txid);
  header.max_txid = Txid(max_txid);
  return header;
}

inline Result<Bytes> try_encode(const Header& header, const Pages& pages,
                                PageEncoding encoding = PageEncoding::block,
                                std::optional<Checksum> post_apply = std::nullopt) {
  Bytes bytes;
  BytesSink sink(bytes);
  Encoder encoder(encoding);
  if (auto begun = encoder.begin(header, sink); !begun) return std::unexpected(begun.error());
  for (const auto& [number, page] : pages) {
    if (auto added = encoder.add_page(PageNo(number), page); !added) return std::unexpected(added.error());
  }
  if (auto info = encoder.finish(post_apply); !info) return std::unexpected(info.error());
  return bytes;
}

inline Bytes encode(const Header& header, const Pages& pages, PageEncoding encoding = PageEncoding::block,
                    std::optional<Checksum> post_apply = std::nullopt) {
  auto bytes = try_encode(header, pages, encoding, post_apply);
  EXPECT_TRUE(bytes) << bytes.error().message();
  return bytes ? *bytes : Bytes{};
}

struct Decoded {
  FileInfo info;
  Pages pages;
};

inline Result<Decoded> decode(Source& source) {
  Decoder decoder(source);
  Decoded decoded;
  while (true) {
    const auto page = decoder.next_page();
    if (!page) return std::unexpected(page.error());
    if (!*page) break;
    decoded.pages.emplace((*page)->number.value(), Bytes((*page)->bytes.begin(), (*page)->bytes.end()));
  }
  decoded.info = decoder.info();
  return decoded;
}

inline Result<Decoded> decode(ByteView bytes) {
  MemorySource source(bytes, "test.ltx");
  return decode(source);
}

/// The reason why a file is refused; empty when it is not.
inline std::string refusal(ByteView bytes) {
  const auto decoded = decode(bytes);
  if (decoded) return {};
  EXPECT_EQ(decoded.error().code(), ErrorCode::corrupt);
  EXPECT_EQ(decoded.error().subject(), "test.ltx");
  return decoded.error().reason();
}

inline Result<Bytes> try_compact(const std::vector<Bytes>& files, const CompactionOptions& options = {}) {
  std::vector<MemorySource> sources;
  sources.reserve(files.size());
  for (const Bytes& file : files) sources.emplace_back(file, "input-" + std::to_string(sources.size()));
  std::vector<Source*> inputs;
  inputs.reserve(sources.size());
  for (MemorySource& source : sources) inputs.push_back(&source);
  Bytes output;
  BytesSink sink(output);
  if (auto info = compact(inputs, sink, options); !info) return std::unexpected(info.error());
  return output;
}

/// Delivers at most `step` bytes at a time, like a slow connection.
class TricklingSource final : public BufferedSource {
 public:
  TricklingSource(ByteView bytes, std::size_t step) : bytes_(bytes), step_(step) {}
  [[nodiscard]] std::string_view name() const override { return "test.ltx"; }

 protected:
  [[nodiscard]] Result<std::size_t> read(std::span<std::byte> destination) override {
    const std::size_t count = std::min({step_, destination.size(), bytes_.size()});
    std::copy_n(bytes_.begin(), count, destination.begin());
    bytes_ = bytes_.subspan(count);
    return count;
  }

 private:
  ByteView bytes_;
  std::size_t step_;
};

inline Checksum checksum_of(const Pages& pages) {
  Checksum checksum;
  for (const auto& [number, page] : pages) checksum = checksum.toggled(page_checksum(PageNo(number), page));
  return checksum;
}

}  // namespace litecluster::ltx::test
