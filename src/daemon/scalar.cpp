#include "daemon/scalar.hpp"

#include <array>
#include <charconv>
#include <limits>
#include <string>
#include <utility>

namespace litecluster::daemon {

namespace {

// Takes the digits at the front of `text` off it.
std::optional<std::uint64_t> take_digits(std::string_view& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

// value * unit, or nothing when that does not fit below `max`.
std::optional<std::uint64_t> scaled(std::uint64_t value, std::uint64_t unit, std::uint64_t max) {
  if (value > max / unit) return std::nullopt;
  return value * unit;
}

constexpr std::array<std::pair<std::string_view, std::uint64_t>, 5> duration_units{
    {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};

constexpr std::array<std::pair<std::string_view, std::uint64_t>, 11> size_units{
    {{"", 1},
     {"B", 1},
     {"kB", 1000},
     {"KB", 1000},
     {"MB", 1000ULL * 1000},
     {"GB", 1000ULL * 1000 * 1000},
     {"TB", 1000ULL * 1000 * 1000 * 1000},
     {"KiB", 1ULL << 10U},
     {"MiB", 1ULL << 20U},
     {"GiB", 1ULL << 30U},
     {"TiB", 1ULL << 40U}}};

}  // namespace

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  if (text == "0") return std::chrono::milliseconds(0);
  if (text.empty()) return std::nullopt;
  // Ten thousand years: no sum of two such overflows what chrono computes with.
  constexpr std::uint64_t max = 86'400'000ULL * 366 * 10'000;
  std::uint64_t total = 0;
  while (!text.empty()) {
    const auto value = take_digits(text);
    if (!value) return std::nullopt;
    const std::size_t length = std::min(text.find_first_of("0123456789"), text.size());
    std::optional<std::uint64_t> part;
    for (const auto& [name, unit] : duration_units) {
      if (text.substr(0, length) == name) part = scaled(*value, unit, max);
    }
    if (!part) return std::nullopt;
    total += *part;
    if (total > max) return std::nullopt;
    text.remove_prefix(length);
  }
  return std::chrono::milliseconds(static_cast<std::chrono::milliseconds::rep>(total));
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  const auto value = take_digits(text);
  if (!value) return std::nullopt;
  for (const auto& [name, unit] : size_units) {
    if (text == name) return scaled(*value, unit, std::numeric_limits<std::int64_t>::max());
  }
  return std::nullopt;
}

std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t max) {
  const auto value = take_digits(text);
  if (!value || !text.empty() || *value > max) return std::nullopt;
  return value;
}

std::optional<bool> parse_switch(std::string_view text) {
  for (const std::string_view yes : {"true", "yes", "on", "1"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"false", "no", "off", "0"}) {
    if (text == no) return false;
  }
  return std::nullopt;
}

}  // namespace litecluster::daemon
