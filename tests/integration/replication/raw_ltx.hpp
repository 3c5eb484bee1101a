// LTX files put together by hand, so that every field can be wrong while all checksums around it are right.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "ltx/crc64.hpp"
#include "ltx/header.hpp"
#include "ltx/page_codec.hpp"
#include "ltx/page_index.hpp"
#include "support/replica_source.hpp"

namespace litecluster::replication::test {

/// A page frame, and what its page unpacks to (which is what the file's checksum covers).
struct RawPage {
  std::uint32_t number = 0;
  base::Bytes content;
  base::Bytes frame;

  RawPage(std::uint32_t page_number, base::Bytes page) : number(page_number), content(std::move(page)) {
    pack();
  }
  void pack() {
    frame.resize(ltx::page_frame_size_max(content.size()));
    frame.resize(ltx::pack_page(ltx::PageEncoding::block, PageNo(number), content, frame));
    base::store_big_endian(frame.data(), number);
  }
};

struct RawFile {
  base::Bytes header;
  std::vector<RawPage> pages;
  base::Bytes end_marker = base::Bytes(ltx::page_header_size);
  std::uint64_t post_apply = 0;
  std::uint64_t index_size_added = 0;
  bool index_lies = false;
  std::uint64_t checksum_toggle = 0;
  base::Bytes trailing;

  /// The file as it has to be.
  explicit RawFile(const litecluster::test::SourceChange& change) {
    ltx::Header good;
    good.page_size = change.page_size;
    good.commit = change.page_count;
    good.min_txid = good.max_txid = change.txid;
    good.timestamp = base::WallTime(std::chrono::milliseconds(1'700'000'000'000));
    good.wal_offset = ltx::wal_offset_first;
    const auto bytes = ltx::serialize(good);
    header.assign(bytes.begin(), bytes.end());
    for (const auto& [number, page] : change.pages) pages.emplace_back(number.value(), page);
  }

  /// With database checksums, as other writers of LTX make them.
  void use_checksums(Checksum before, Checksum after) {
    set(4, std::uint32_t{0});
    set(40, before.value());
    post_apply = after.value();
  }

  template <typename Value>
  void set(std::size_t offset, Value value) {
    base::store_big_endian(header.data() + offset, value);
  }

  [[nodiscard]] base::Bytes build() const {
    base::Bytes file = header;
    base::Bytes index;
    std::uint64_t crc = ltx::crc64(header);
    for (const RawPage& page : pages) {
      const std::uint16_t flags = base::load_big_endian<std::uint16_t>(page.frame.data() + 4);
      const std::size_t prefix = std::min(ltx::hashed_prefix_size(flags), page.frame.size());
      crc = ltx::crc64(page.content, ltx::crc64(base::ByteView(page.frame).first(prefix), crc));
      const std::uint64_t offset = index_lies ? file.size() + 1 : file.size();
      ltx::append_index_entry(index, {PageNo(page.number), offset, page.frame.size()});
      base::append_bytes(file, page.frame);
    }
    crc = ltx::crc64(end_marker, crc);
    base::append_bytes(file, end_marker);
    ltx::append_varint(index, 0);
    base::append_big_endian(index, std::uint64_t{index.size()} + index_size_added);
    base::append_big_endian(index, post_apply);
    crc = ltx::crc64(index, crc);
    base::append_big_endian(index, Checksum(crc).value() ^ checksum_toggle);
    base::append_bytes(file, index);
    base::append_bytes(file, trailing);
    return file;
  }
};

}  // namespace litecluster::replication::test
