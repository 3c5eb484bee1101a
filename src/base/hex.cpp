#include "base/hex.hpp"

#include <charconv>

namespace litecluster::base {

std::string to_hex16(std::uint64_t value) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text(16, '0');
  for (auto position = text.rbegin(); position != text.rend(); ++position) {
    *position = digits[value & 0xF];
    value >>= 4;
  }
  return text;
}

std::optional<std::uint64_t> parse_hex(std::string_view text) {
  if (text.empty() || text.size() > 16) return std::nullopt;
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace litecluster::base
