#include "ltx/page_codec.hpp"

#include <fmt/format.h>
#include <lz4.h>

namespace litecluster::ltx {
namespace {

std::unexpected<PackingError> packing_error(std::size_t offset, std::string reason) {
  return std::unexpected(PackingError{offset, std::move(reason)});
}

std::expected<std::size_t, PackingError> unpack_block(base::ByteView payload, std::span<std::byte> page) {
  if (payload.size() < block_size_size) return packing_error(payload.size(), "truncated page size field");
  const std::size_t size = base::load_big_endian<std::uint32_t>(payload.data());
  if (size > block_size_max(page.size())) {
    return packing_error(0, fmt::format("packed page of {} bytes, the most that a page of {} needs is {}",
                                        size, page.size(), block_size_max(page.size())));
  }
  if (payload.size() - block_size_size < size) {
    return packing_error(payload.size(), fmt::format("truncated page data: {} of {} bytes",
                                                     payload.size() - block_size_size, size));
  }
  const int unpacked = LZ4_decompress_safe(reinterpret_cast<const char*>(payload.data() + block_size_size),
                                           reinterpret_cast<char*>(page.data()), static_cast<int>(size),
                                           static_cast<int>(page.size()));
  if (unpacked < 0) return packing_error(block_size_size, "damaged LZ4 block");
  if (static_cast<std::size_t>(unpacked) != page.size()) {
    return packing_error(block_size_size,
                         fmt::format("page unpacks to {} bytes instead of {}", unpacked, page.size()));
  }
  return block_size_size + size;
}

}  // namespace

PageHeader load_page_header(base::ByteView bytes) {
  return {PageNo(base::load_big_endian<std::uint32_t>(bytes.data())),
          base::load_big_endian<std::uint16_t>(bytes.data() + 4)};
}

std::optional<std::string> check_page_header(const PageHeader& header) {
  if ((header.flags & ~page_flag_size) != 0) return fmt::format("unknown page flags {:#06x}", header.flags);
  if (header.number.is_zero()) return "page number required";
  return std::nullopt;
}

std::size_t pack_page(PageEncoding encoding, PageNo number, base::ByteView page,
                      std::span<std::byte> destination) {
  base::store_big_endian(destination.data(), number.value());
  if (encoding == PageEncoding::frame) {
    base::store_big_endian(destination.data() + 4, std::uint16_t{0});
    return page_header_size + write_lz4_frame(page, destination.subspan(page_header_size));
  }
  base::store_big_endian(destination.data() + 4, page_flag_size);
  constexpr std::size_t prefix = page_header_size + block_size_size;
  const int packed = LZ4_compress_default(
      reinterpret_cast<const char*>(page.data()), reinterpret_cast<char*>(destination.data() + prefix),
      static_cast<int>(page.size()), static_cast<int>(block_size_max(page.size())));
  if (packed <= 0) return 0;
  base::store_big_endian(destination.data() + page_header_size, static_cast<std::uint32_t>(packed));
  return prefix + static_cast<std::size_t>(packed);
}

std::expected<std::size_t, PackingError> unpack_page(std::uint16_t flags, base::ByteView payload,
                                                     std::span<std::byte> page) {
  if ((flags & page_flag_size) != 0) return unpack_block(payload, page);
  return read_lz4_frame(payload, page);
}

}  // namespace litecluster::ltx
