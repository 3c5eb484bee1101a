#include "base/boot_id.hpp"

#include <fcntl.h>

#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "base/file.hpp"
#include "base/hex.hpp"

namespace litecluster::base {

Result<BootId> read_boot_id() {
  const std::filesystem::path path = "/proc/sys/kernel/random/boot_id";
  const auto descriptor = open_file(path, O_RDONLY);
  if (!descriptor) return std::unexpected(descriptor.error());
  Bytes text(64);
  const auto count = read_at(descriptor->get(), text, 0, path);
  if (!count) return std::unexpected(count.error());
  std::string digits;
  for (const char character : as_text(ByteView(text).first(*count))) {
    if (character != '-' && character != '\n') digits += character;
  }
  const auto high = parse_hex(std::string_view(digits).substr(0, 16));
  const auto low = parse_hex(digits.size() == 32 ? std::string_view(digits).substr(16) : "");
  if (!high || !low) return failure(ErrorCode::internal, "read", path.string(), "not a boot id");
  BootId boot;
  store_big_endian(boot.data(), *high);
  store_big_endian(boot.data() + 8, *low);
  return boot;
}

}  // namespace litecluster::base
