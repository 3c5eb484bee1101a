#include "ltx/lz4_frame.hpp"

#include <fmt/format.h>
#include <lz4.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>

namespace litecluster::ltx {
namespace {

constexpr std::uint32_t frame_magic = 0x184D'2204;
constexpr std::uint32_t stored_flag = 0x8000'0000;  // block size: the block is not compressed

constexpr unsigned version_mask = 0xC0;
constexpr unsigned version_1 = 0x40;
constexpr unsigned block_checksum_flag = 0x10;
constexpr unsigned content_size_flag = 0x08;
constexpr unsigned content_checksum_flag = 0x04;
constexpr unsigned reserved_flag = 0x02;
constexpr unsigned dictionary_flag = 0x01;

void store_little_endian(std::byte* destination, std::uint32_t value) {
  for (unsigned index = 0; index < 4; ++index) {
    destination[index] = static_cast<std::byte>((value >> (8 * index)) & 0xFFU);
  }
}

std::uint32_t checksum_of(base::ByteView bytes) {
  return XXH32(bytes.data(), bytes.size(), 0);
}

/// Walks over one frame. Every step returns false when it stored an error.
class FrameReader {
 public:
  FrameReader(base::ByteView bytes, std::span<std::byte> content) : bytes_(bytes), content_(content) {}

  std::expected<std::size_t, PackingError> read() {
    if (!read_descriptor()) return std::unexpected(std::move(error_));
    bool more = true;
    while (more) {
      if (!read_block(more)) return std::unexpected(std::move(error_));
    }
    if (!check_content()) return std::unexpected(std::move(error_));
    return offset_;
  }

 private:
  bool fail(std::size_t offset, std::string reason) {
    error_ = {offset, std::move(reason)};
    return false;
  }

  bool need(std::size_t count) {
    if (bytes_.size() - offset_ >= count) return true;
    return fail(bytes_.size(), "truncated LZ4 frame");
  }

  std::uint32_t take_u32() {
    const auto value = base::load_little_endian<std::uint32_t>(bytes_.data() + offset_);
    offset_ += 4;
    return value;
  }

  bool read_descriptor() {
    if (!need(7)) return false;
    if (take_u32() != frame_magic) return fail(0, "no LZ4 frame where one has to be");
    flags_ = std::to_integer<unsigned>(bytes_[4]);
    if ((flags_ & version_mask) != version_1 || (flags_ & (reserved_flag | dictionary_flag)) != 0 ||
        (flags_ & content_checksum_flag) == 0) {
      return fail(4, fmt::format("unsupported LZ4 frame flags {:#04x}", flags_));
    }
    const std::size_t descriptor_size = (flags_ & content_size_flag) != 0 ? 10 : 2;
    if (!need(3 + descriptor_size - 2)) return false;
    const base::ByteView descriptor = bytes_.subspan(4, descriptor_size);
    const auto stated = std::to_integer<unsigned>(bytes_[4 + descriptor_size]);
    if (((checksum_of(descriptor) >> 8U) & 0xFFU) != stated) {
      return fail(4 + descriptor_size, "LZ4 frame header checksum mismatch");
    }
    if (descriptor_size == 10 &&
        base::load_little_endian<std::uint64_t>(descriptor.data() + 2) != content_.size()) {
      return fail(6, "LZ4 frame content size is not the page size");
    }
    offset_ = 4 + descriptor_size + 1;
    return true;
  }

  /// Sets `more` to false at the end mark.
  bool read_block(bool& more) {
    if (!need(4)) return false;
    const std::size_t at = offset_;
    const std::uint32_t word = take_u32();
    more = word != 0;
    if (!more) return true;
    const std::size_t size = word & ~stored_flag;
    // A block with no bytes does not occur and would let a short frame keep a reader busy.
    if (size == 0 || size > static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(content_.size())))) {
      return fail(at, fmt::format("LZ4 block of {} bytes in a page of {}", size, content_.size()));
    }
    if (!need(size)) return false;
    const base::ByteView block = bytes_.subspan(offset_, size);
    offset_ += size;
    if (!unpack_block(block, (word & stored_flag) != 0, at)) return false;
    if ((flags_ & block_checksum_flag) == 0) return true;
    if (!need(4)) return false;
    return take_u32() == checksum_of(block) || fail(at, "LZ4 block checksum mismatch");
  }

  bool unpack_block(base::ByteView block, bool stored, std::size_t at) {
    const std::size_t room = content_.size() - filled_;
    if (stored) {
      if (block.size() > room) return fail(at, "LZ4 frame content exceeds the page size");
      std::memcpy(content_.data() + filled_, block.data(), block.size());
      filled_ += block.size();
      return true;
    }
    // What was unpacked before serves as the dictionary of linked blocks; independent ones do not refer to
    // it.
    char* destination = reinterpret_cast<char*>(content_.data());
    const int written = LZ4_decompress_safe_usingDict(
        reinterpret_cast<const char*>(block.data()), destination + filled_, static_cast<int>(block.size()),
        static_cast<int>(room), destination, static_cast<int>(filled_));
    if (written < 0) return fail(at, "damaged LZ4 block, or LZ4 frame content exceeds the page size");
    filled_ += static_cast<std::size_t>(written);
    return true;
  }

  bool check_content() {
    if (filled_ != content_.size()) {
      return fail(0, fmt::format("page unpacks to {} bytes instead of {}", filled_, content_.size()));
    }
    if (!need(4)) return false;
    const std::size_t at = offset_;
    return take_u32() == checksum_of(content_) || fail(at, "LZ4 frame content checksum mismatch");
  }

  base::ByteView bytes_;
  std::span<std::byte> content_;
  std::size_t offset_ = 0;
  std::size_t filled_ = 0;
  unsigned flags_ = 0;
  PackingError error_{0, {}};
};

}  // namespace

std::size_t write_lz4_frame(base::ByteView content, std::span<std::byte> destination) {
  std::byte* at = destination.data();
  store_little_endian(at, frame_magic);
  at[4] = std::byte{0x64};  // version 1, independent blocks, content checksum
  at[5] = std::byte{0x40};  // blocks of at most 64 KiB
  at[6] = std::byte{0xA7};  // checksum of the two
  const auto size = static_cast<int>(content.size());
  const int packed = LZ4_compress_default(reinterpret_cast<const char*>(content.data()),
                                          reinterpret_cast<char*>(at + 11), size, size - 1);
  std::size_t block_size = 0;
  if (packed > 0) {
    block_size = static_cast<std::size_t>(packed);
    store_little_endian(at + 7, static_cast<std::uint32_t>(packed));
  } else {  // does not get smaller
    block_size = content.size();
    store_little_endian(at + 7, static_cast<std::uint32_t>(block_size) | stored_flag);
    std::memcpy(at + 11, content.data(), block_size);
  }
  store_little_endian(at + 11 + block_size, 0);
  store_little_endian(at + 15 + block_size, checksum_of(content));
  return block_size + lz4_frame_overhead;
}

std::expected<std::size_t, PackingError> read_lz4_frame(base::ByteView bytes, std::span<std::byte> content) {
  return FrameReader(bytes, content).read();
}

}  // namespace litecluster::ltx
