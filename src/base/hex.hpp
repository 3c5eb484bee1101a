// Fixed-width and free-width hexadecimal text of unsigned numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace litecluster::base {

/// 16 lower-case digits.
[[nodiscard]] std::string to_hex16(std::uint64_t value);

/// 1 to 16 digits, either case, nothing else; nullopt otherwise.
[[nodiscard]] std::optional<std::uint64_t> parse_hex(std::string_view text);

}  // namespace litecluster::base
