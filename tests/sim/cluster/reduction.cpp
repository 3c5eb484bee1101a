#include "sim/cluster/reduction.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace litecluster::test::cluster {

namespace {

constexpr std::uint32_t range_max = 1'000'000;

std::string to_string(const Numbers& numbers) {
  std::string text;
  for (std::size_t first = 0; first < numbers.size();) {
    std::size_t last = first;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    if (!text.empty()) text += ',';
    text += last == first ? fmt::format("{}", numbers[first])
                          : fmt::format("{}-{}", numbers[first], numbers[last]);
    first = last + 1;
  }
  return text;
}

std::optional<std::uint32_t> parse_number(std::string_view text) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// What comes before the first `separator`, which is taken off with it.
std::string_view take(std::string_view& text, char separator) {
  const std::size_t size = std::min(text.find(separator), text.size());
  const std::string_view part = text.substr(0, size);
  text.remove_prefix(std::min(size + 1, text.size()));
  return part;
}

std::optional<Numbers> parse_numbers(std::string_view text) {
  Numbers numbers;
  while (!text.empty()) {
    std::string_view part = take(text, ',');
    const bool range = part.find('-') != std::string_view::npos;
    const auto first = parse_number(take(part, '-'));
    const auto last = range ? parse_number(part) : first;
    if (!first || !last || *last < *first || *last - *first > range_max) return std::nullopt;
    for (std::uint32_t number = *first; number <= *last; ++number) numbers.push_back(number);
  }
  std::ranges::sort(numbers);
  return numbers;
}

}  // namespace

std::string to_string(const Reduction& reduction) {
  std::string text;
  if (reduction.faults) text += " faults=" + to_string(*reduction.faults);
  if (reduction.troubles) text += " troubles=" + to_string(*reduction.troubles);
  if (reduction.nodes) text += fmt::format(" nodes={}", *reduction.nodes);
  if (reduction.heal_ms) text += fmt::format(" heal={}", *reduction.heal_ms);
  if (reduction.variation != 0) text += fmt::format(" variation={}", reduction.variation);
  return text.empty() ? text : text.substr(1);
}

std::optional<Reduction> parse_reduction(std::string_view text) {
  Reduction reduction;
  while (!text.empty()) {
    std::string_view value = take(text, ' ');
    const std::string_view key = take(value, '=');
    if (key == "faults" || key == "troubles") {
      const auto numbers = parse_numbers(value);
      if (!numbers) return std::nullopt;
      (key == "faults" ? reduction.faults : reduction.troubles) = numbers;
      continue;
    }
    const auto number = parse_number(value);
    if (!number) return std::nullopt;
    if (key == "nodes") {
      reduction.nodes = number;
    } else if (key == "heal") {
      reduction.heal_ms = number;
    } else if (key == "variation") {
      reduction.variation = *number;
    } else {
      return std::nullopt;
    }
  }
  return reduction;
}

bool contains(const std::optional<Numbers>& numbers, std::uint32_t number) {
  return !numbers || std::ranges::binary_search(*numbers, number);
}

}  // namespace litecluster::test::cluster
