#include "base/base64.hpp"

#include <array>
#include <cstdint>

namespace litecluster::base {

namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::uint8_t not_a_digit = 0xFF;

constexpr std::array<std::uint8_t, 256> make_digit_values() {
  std::array<std::uint8_t, 256> values{};
  values.fill(not_a_digit);
  for (std::size_t index = 0; index < alphabet.size(); ++index) {
    values[static_cast<unsigned char>(alphabet[index])] = static_cast<std::uint8_t>(index);
  }
  return values;
}

constexpr auto digit_values = make_digit_values();

}  // namespace

std::string to_base64url(ByteView bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t offset = 0; offset < bytes.size(); offset += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - offset);
    std::uint32_t group = 0;
    for (std::size_t index = 0; index < 3; ++index) {
      group = (group << 8U) | (index < count ? std::to_integer<std::uint32_t>(bytes[offset + index]) : 0U);
    }
    for (std::size_t index = 0; index < 4; ++index) {
      const std::uint32_t digit = (group >> (18U - 6U * index)) & 0x3FU;
      text += index <= count ? alphabet[digit] : '=';
    }
  }
  return text;
}

std::optional<Bytes> parse_base64url(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  Bytes bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (std::size_t offset = 0; offset < text.size(); offset += 4) {
    const std::size_t absent = offset + 4 == text.size() ? padding : 0;
    std::uint32_t group = 0;
    for (std::size_t index = 0; index < 4; ++index) {
      std::uint8_t digit = 0;
      if (index < 4 - absent) {
        digit = digit_values[static_cast<unsigned char>(text[offset + index])];
        if (digit == not_a_digit) return std::nullopt;
      }
      group = (group << 6U) | digit;
    }
    // The bits that padding cuts off have to be zero, or two texts would name the same bytes.
    if (absent > 0 && (group & ((1U << (8U * absent)) - 1U)) != 0) return std::nullopt;
    for (std::size_t index = 0; index < 3 - absent; ++index) {
      bytes.push_back(static_cast<std::byte>((group >> (16U - 8U * index)) & 0xFFU));
    }
  }
  return bytes;
}

}  // namespace litecluster::base
