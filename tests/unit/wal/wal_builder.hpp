// Makes WALs by hand, frame by frame.
#pragma once

#include <algorithm>

#include "wal/scanner.hpp"

namespace litecluster::wal {

class WalBuilder {
 public:
  explicit WalBuilder(std::uint32_t page_size, ChecksumOrder order = ChecksumOrder::little_endian,
                      Salts salts = {.first = 7, .second = 11}) {
    header_ = {
        .order = order, .page_size = page_size, .checkpoint_sequence = 3, .salts = salts, .checksum = {}};
    const auto bytes = serialize(header_);
    base::append_bytes(bytes_, bytes);
    header_ = *parse_header(bytes_);
    running_ = header_.checksum;
  }
  /// A page filled with `fill`; `commit` 0: no commit mark.
  WalBuilder& frame(std::uint32_t page, std::uint32_t commit, int fill = 1) {
    base::Bytes head;
    base::append_big_endian(head, page);
    base::append_big_endian(head, commit);
    base::append_big_endian(head, header_.salts.first);
    base::append_big_endian(head, header_.salts.second);
    const base::Bytes content(header_.page_size, std::byte(fill));
    running_ = frame_checksum(running_, head, content, header_.order);
    base::append_big_endian(head, running_.first);
    base::append_big_endian(head, running_.second);
    base::append_bytes(bytes_, head);
    base::append_bytes(bytes_, content);
    return *this;
  }
  [[nodiscard]] const base::Bytes& bytes() const { return bytes_; }
  [[nodiscard]] base::Bytes& bytes() { return bytes_; }
  [[nodiscard]] const Header& header() const { return header_; }

 private:
  Header header_;
  Checksum running_;
  base::Bytes bytes_;
};

class MemoryWal final : public ByteSource {
 public:
  explicit MemoryWal(base::ByteView bytes) : bytes_(bytes) {}
  [[nodiscard]] Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> destination) override {
    if (offset >= bytes_.size()) return std::size_t{0};
    const auto part =
        bytes_.subspan(offset, std::min<std::size_t>(destination.size(), bytes_.size() - offset));
    std::copy(part.begin(), part.end(), destination.begin());
    return part.size();
  }

 private:
  base::ByteView bytes_;
};

inline ScanResult scan_all(base::ByteView bytes, const Position& start = {}, const ScanLimits& limits = {},
                           base::Bytes* frames = nullptr) {
  MemoryWal source(bytes);
  return *scan(source, start, limits, frames);
}

}  // namespace litecluster::wal
