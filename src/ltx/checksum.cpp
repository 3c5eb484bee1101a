#include "ltx/checksum.hpp"

#include <array>

#include "ltx/crc64.hpp"

namespace litecluster::ltx {

Checksum page_checksum(PageNo number, base::ByteView page) {
  std::array<std::byte, 4> prefix;
  base::store_big_endian(prefix.data(), number.value());
  return Checksum(crc64(page, crc64(prefix)));
}

}  // namespace litecluster::ltx
