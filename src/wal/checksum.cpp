#include "wal/checksum.hpp"

#include <bit>
#include <cassert>
#include <cstring>

namespace litecluster::wal {

namespace {

template <bool Swapped>
Checksum add(Checksum running, const std::byte* next, std::size_t pairs) {
  std::uint32_t first = running.first;
  std::uint32_t second = running.second;
  for (; pairs > 0; --pairs, next += 8) {
    std::uint32_t words[2];
    std::memcpy(words, next, sizeof words);
    if constexpr (Swapped) {
      words[0] = __builtin_bswap32(words[0]);
      words[1] = __builtin_bswap32(words[1]);
    }
    first += words[0] + second;
    second += words[1] + first;
  }
  return {first, second};
}

}  // namespace

Checksum continue_checksum(Checksum running, base::ByteView bytes, ChecksumOrder order) {
  assert(bytes.size() % 8 == 0);
  const bool little = std::endian::native == std::endian::little;
  const bool native = (order == ChecksumOrder::little_endian) == little;
  const std::size_t pairs = bytes.size() / 8;
  return native ? add<false>(running, bytes.data(), pairs) : add<true>(running, bytes.data(), pairs);
}

}  // namespace litecluster::wal
