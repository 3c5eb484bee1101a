#include "db/wal_index_layout.hpp"

#include <atomic>
#include <bit>
#include <cstring>

namespace litecluster::db {

namespace {

constexpr std::uint32_t slot_count = 2 * wal_index_frames_per_block;
constexpr std::size_t block_header_size =
    (wal_index_frames_per_block - wal_index_frames_first_block) * sizeof(std::uint32_t);
constexpr wal::ChecksumOrder native_order = std::endian::native == std::endian::little
                                                ? wal::ChecksumOrder::little_endian
                                                : wal::ChecksumOrder::big_endian;
constexpr std::size_t header_checksum_offset = 40;

std::uint32_t slot_of(PageNo page) {
  return (page.value() * 383U) & (slot_count - 1);
}

std::uint16_t load_slot(const std::byte* slots, std::uint32_t slot) {
  auto* word = reinterpret_cast<std::uint16_t*>(const_cast<std::byte*>(slots)) + slot;
  return std::atomic_ref(*word).load(std::memory_order_acquire);
}

// Release: whoever sees the slot sees the page number behind it.
void store_slot(std::byte* slots, std::uint32_t slot, std::uint16_t value) {
  auto* word = reinterpret_cast<std::uint16_t*>(slots) + slot;
  std::atomic_ref(*word).store(value, std::memory_order_release);
}

template <typename Value>
void put(WalIndexHeaderBytes& bytes, std::size_t offset, Value value) {
  std::memcpy(bytes.data() + offset, &value, sizeof value);
}

template <typename Value>
Value get(base::ByteView bytes, std::size_t offset) {
  Value value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

}  // namespace

void store_shared_word(std::byte* shared, std::uint32_t value) {
  std::atomic_ref(*reinterpret_cast<std::uint32_t*>(shared)).store(value, std::memory_order_relaxed);
}

std::uint32_t load_shared_word(const std::byte* shared) {
  auto* word = reinterpret_cast<std::uint32_t*>(const_cast<std::byte*>(shared));
  return std::atomic_ref(*word).load(std::memory_order_relaxed);
}

void store_shared_words(std::byte* shared, const std::byte* plain, std::size_t size) {
  for (std::size_t offset = 0; offset < size; offset += 4) {
    std::uint32_t value = 0;
    std::memcpy(&value, plain + offset, sizeof value);
    store_shared_word(shared + offset, value);
  }
}

void load_shared_words(std::byte* plain, const std::byte* shared, std::size_t size) {
  for (std::size_t offset = 0; offset < size; offset += 4) {
    const std::uint32_t value = load_shared_word(shared + offset);
    std::memcpy(plain + offset, &value, sizeof value);
  }
}

WalIndexHeaderBytes encode_wal_index_header(const WalIndexHeader& header) {
  WalIndexHeaderBytes bytes{};
  put(bytes, 0, header.version);
  put(bytes, 8, header.change_counter);
  put(bytes, 12, std::uint8_t{1});
  put(bytes, 13, static_cast<std::uint8_t>(header.checksum_order == wal::ChecksumOrder::big_endian));
  // 65536 does not fit into 16 bits and is written as 1.
  put(bytes, 14, static_cast<std::uint16_t>((header.page_size & 0xFF00U) | (header.page_size >> 16U)));
  put(bytes, 16, header.frame_max);
  put(bytes, 20, header.page_count);
  put(bytes, 24, header.frame_checksum.first);
  put(bytes, 28, header.frame_checksum.second);
  // The salts are the bytes of the WAL header, which is big-endian.
  base::store_big_endian(bytes.data() + 32, header.salts.first);
  base::store_big_endian(bytes.data() + 36, header.salts.second);
  const auto sum =
      wal::continue_checksum({}, base::ByteView(bytes).first(header_checksum_offset), native_order);
  put(bytes, header_checksum_offset, sum.first);
  put(bytes, header_checksum_offset + 4, sum.second);
  return bytes;
}

std::optional<WalIndexHeader> decode_wal_index_header(base::ByteView bytes) {
  if (bytes.size() < wal_index_header_size || get<std::uint8_t>(bytes, 12) == 0) return std::nullopt;
  const auto sum = wal::continue_checksum({}, bytes.first(header_checksum_offset), native_order);
  if (sum.first != get<std::uint32_t>(bytes, header_checksum_offset) ||
      sum.second != get<std::uint32_t>(bytes, header_checksum_offset + 4)) {
    return std::nullopt;
  }
  const std::uint32_t coded_page_size = get<std::uint16_t>(bytes, 14);
  WalIndexHeader header;
  header.version = get<std::uint32_t>(bytes, 0);
  header.change_counter = get<std::uint32_t>(bytes, 8);
  header.checksum_order =
      get<std::uint8_t>(bytes, 13) != 0 ? wal::ChecksumOrder::big_endian : wal::ChecksumOrder::little_endian;
  header.page_size = (coded_page_size & 0xFE00U) + ((coded_page_size & 1U) << 16U);
  header.frame_max = get<std::uint32_t>(bytes, 16);
  header.page_count = get<std::uint32_t>(bytes, 20);
  header.frame_checksum = {get<std::uint32_t>(bytes, 24), get<std::uint32_t>(bytes, 28)};
  header.salts = {base::load_big_endian<std::uint32_t>(bytes.data() + 32),
                  base::load_big_endian<std::uint32_t>(bytes.data() + 36)};
  return header;
}

WalIndexBlock::WalIndexBlock(std::byte* memory, std::uint32_t number)
    : pages_(number == 0 ? memory + block_header_size : memory),
      slots_(memory + wal_index_frames_per_block * sizeof(std::uint32_t)),
      frame_first_(
          number == 0 ? 1 : wal_index_frames_first_block + (number - 1) * wal_index_frames_per_block + 1),
      capacity_(number == 0 ? wal_index_frames_first_block : wal_index_frames_per_block) {}

void WalIndexBlock::clear_after(std::uint32_t frame) {
  const std::uint32_t keep = frame < frame_first_ ? 0 : frame - frame_first_ + 1;
  if (keep >= capacity_) return;
  // Readers may search meanwhile. Entries that they may use were made before the stale ones, so no chain of
  // theirs leads through a slot that is emptied here.
  for (std::uint32_t slot = 0; slot < slot_count; ++slot) {
    if (load_slot(slots_, slot) > keep) store_slot(slots_, slot, 0);
  }
  for (std::uint32_t position = keep + 1; position <= capacity_; ++position) {
    store_shared_word(page_word(position), 0);
  }
}

bool WalIndexBlock::append(std::uint32_t frame, PageNo page) {
  const std::uint32_t position = frame - frame_first_ + 1;
  // The first entry of a block finds what an earlier filling of the WAL left there, or the rests of a dead
  // writer; any other entry finds an occupied place only after a dead writer.
  if (position == 1) {
    clear_after(0);
  } else if (load_shared_word(page_word(position)) != 0) {
    clear_after(frame - 1);
  }
  std::uint32_t slot = slot_of(page);
  for (std::uint32_t tries = 0; load_slot(slots_, slot) != 0; ++tries) {
    if (tries == slot_count) return false;
    slot = (slot + 1) & (slot_count - 1);
  }
  store_shared_word(page_word(position), page.value());
  store_slot(slots_, slot, static_cast<std::uint16_t>(position));
  return true;
}

std::uint32_t WalIndexBlock::find(PageNo page, std::uint32_t limit) const {
  if (limit < frame_first_) return 0;
  const std::uint32_t position_limit = limit - frame_first_ + 1;
  std::uint32_t found = 0;
  std::uint32_t slot = slot_of(page);
  for (std::uint32_t tries = 0; tries < slot_count; ++tries) {
    const std::uint32_t position = load_slot(slots_, slot);
    if (position == 0) break;
    if (position <= position_limit && position <= capacity_ &&
        load_shared_word(page_word(position)) == page.value() && position > found) {
      found = position;
    }
    slot = (slot + 1) & (slot_count - 1);
  }
  return found == 0 ? 0 : frame_first_ + found - 1;
}

PageNo WalIndexBlock::page_of(std::uint32_t frame) const {
  return PageNo(load_shared_word(page_word(frame - frame_first_ + 1)));
}

}  // namespace litecluster::db
