// Text of configuration values: durations, sizes, numbers, switches.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace litecluster::daemon {

/// "250ms", "10s", "5m", "1h", "7d", or several joined: "1h30m". A bare "0" is zero; nothing negative.
[[nodiscard]] std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

/// "4096", "64KiB", "10MiB", "2GiB", "1TiB", or with decimal units "64kB", "10MB", "2GB".
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);

/// Decimal digits only, within [0, max].
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t max);

/// true, yes, on, 1; false, no, off, 0.
[[nodiscard]] std::optional<bool> parse_switch(std::string_view text);

}  // namespace litecluster::daemon
