#include "db/wal_writer_frames.hpp"

#include <bit>

namespace litecluster::db {

namespace {
constexpr std::uint32_t magic_little_endian = 0x377F'0682;
constexpr std::uint32_t wal_version = 3'007'000;
}  // namespace

wal::ChecksumOrder native_checksum_order() {
  return std::endian::native == std::endian::little ? wal::ChecksumOrder::little_endian
                                                    : wal::ChecksumOrder::big_endian;
}

EncodedWalFileHeader encode_wal_file_header(const WalFileHeader& header) {
  const bool big = header.checksum_order == wal::ChecksumOrder::big_endian;
  EncodedWalFileHeader encoded{};
  std::byte* bytes = encoded.bytes.data();
  base::store_big_endian(bytes, magic_little_endian | static_cast<std::uint32_t>(big));
  base::store_big_endian(bytes + 4, wal_version);
  base::store_big_endian(bytes + 8, header.page_size);
  base::store_big_endian(bytes + 12, header.checkpoint_number);
  base::store_big_endian(bytes + 16, header.salts.first);
  base::store_big_endian(bytes + 20, header.salts.second);
  encoded.checksum =
      wal::continue_checksum({}, base::ByteView(encoded.bytes).first(24), header.checksum_order);
  base::store_big_endian(bytes + 24, encoded.checksum.first);
  base::store_big_endian(bytes + 28, encoded.checksum.second);
  return encoded;
}

void WalFrameBuilder::append(base::Bytes& destination, PageNo number, base::ByteView page,
                             std::uint32_t commit_page_count) {
  std::array<std::byte, wal_frame_header_size> header;
  base::store_big_endian(header.data(), number.value());
  base::store_big_endian(header.data() + 4, commit_page_count);
  base::store_big_endian(header.data() + 8, salts_.first);
  base::store_big_endian(header.data() + 12, salts_.second);
  checksum_ = wal::continue_checksum(checksum_, base::ByteView(header).first(8), order_);
  checksum_ = wal::continue_checksum(checksum_, page, order_);
  base::store_big_endian(header.data() + 16, checksum_.first);
  base::store_big_endian(header.data() + 20, checksum_.second);
  base::append_bytes(destination, header);
  base::append_bytes(destination, page);
}

}  // namespace litecluster::db
