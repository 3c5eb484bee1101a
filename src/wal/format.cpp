#include "wal/format.hpp"

namespace litecluster::wal {

namespace {

constexpr std::size_t checksummed_size = 24;

constexpr bool is_page_size(std::uint32_t size) {
  return size >= 512 && size <= 65536 && (size & (size - 1)) == 0;
}

std::uint32_t word(base::ByteView bytes, std::size_t offset) {
  return base::load_big_endian<std::uint32_t>(bytes.data() + offset);
}

}  // namespace

std::optional<Header> parse_header(base::ByteView bytes) {
  if (bytes.size() < header_size) return std::nullopt;
  const std::uint32_t magic = word(bytes, 0);
  if (magic != magic_little_endian && magic != magic_big_endian) return std::nullopt;
  Header header;
  header.order = magic == magic_big_endian ? ChecksumOrder::big_endian : ChecksumOrder::little_endian;
  header.page_size = word(bytes, 8);
  header.checkpoint_sequence = word(bytes, 12);
  header.salts = {word(bytes, 16), word(bytes, 20)};
  header.checksum = {word(bytes, 24), word(bytes, 28)};
  if (word(bytes, 4) != format_version || !is_page_size(header.page_size)) return std::nullopt;
  if (continue_checksum({}, bytes.first(checksummed_size), header.order) != header.checksum) {
    return std::nullopt;
  }
  return header;
}

std::array<std::byte, header_size> serialize(const Header& header) {
  std::array<std::byte, header_size> bytes{};
  const auto put = [&bytes](std::size_t offset, std::uint32_t value) {
    base::store_big_endian(bytes.data() + offset, value);
  };
  put(0, header.order == ChecksumOrder::big_endian ? magic_big_endian : magic_little_endian);
  put(4, format_version);
  put(8, header.page_size);
  put(12, header.checkpoint_sequence);
  put(16, header.salts.first);
  put(20, header.salts.second);
  const Checksum checksum =
      continue_checksum({}, base::ByteView(bytes).first(checksummed_size), header.order);
  put(24, checksum.first);
  put(28, checksum.second);
  return bytes;
}

FrameHeader parse_frame_header(base::ByteView bytes) {
  return {.page = PageNo(word(bytes, 0)),
          .commit = word(bytes, 4),
          .salts = {word(bytes, 8), word(bytes, 12)},
          .checksum = {word(bytes, 16), word(bytes, 20)}};
}

Checksum frame_checksum(Checksum before, base::ByteView header, base::ByteView page, ChecksumOrder order) {
  return continue_checksum(continue_checksum(before, header.first(8), order), page, order);
}

}  // namespace litecluster::wal
