#include "log/timestamp.hpp"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <span>

namespace litecluster::log {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

/// Walks over the text; every step yields nothing when the text is not what it has to be.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::optional<int> digits(std::size_t count) {
    if (text_.size() < count) return std::nullopt;
    int value = 0;
    for (const char c : text_.substr(0, count)) {
      if (c < '0' || c > '9') return std::nullopt;
      value = value * 10 + (c - '0');
    }
    text_.remove_prefix(count);
    return value;
  }

  bool skip(char wanted) {
    if (!text_.starts_with(wanted)) return false;
    text_.remove_prefix(1);
    return true;
  }

  /// `count` numbers of two digits with `separator` between them.
  bool pairs(std::span<int> values, char separator) {
    for (std::size_t index = 0; index < values.size(); ++index) {
      if (index > 0 && !skip(separator)) return false;
      const auto value = digits(2);
      if (!value) return false;
      values[index] = *value;
    }
    return true;
  }

  /// The fraction after its point, in milliseconds.
  std::optional<milliseconds> fraction() {
    int value = 0;
    std::size_t count = 0;
    for (; count < text_.size() && text_[count] >= '0' && text_[count] <= '9'; ++count) {
      if (count < 3) value = value * 10 + (text_[count] - '0');
    }
    if (count == 0) return std::nullopt;
    for (std::size_t digit = count; digit < 3; ++digit) value *= 10;
    text_.remove_prefix(count);
    return milliseconds(value);
  }

  [[nodiscard]] bool at_end() const { return text_.empty(); }

 private:
  std::string_view text_;
};

std::optional<minutes> parse_offset(Scanner& scanner) {
  if (scanner.skip('Z')) return minutes(0);
  const bool negative = scanner.skip('-');
  if (!negative && !scanner.skip('+')) return std::nullopt;
  std::array<int, 2> offset{};
  if (!scanner.pairs(offset, ':') || offset[0] > 23 || offset[1] > 59) return std::nullopt;
  const minutes total = hours(offset[0]) + minutes(offset[1]);
  return negative ? -total : total;
}

}  // namespace

std::string format_timestamp(base::WallTime time) {
  const auto day = std::chrono::floor<days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  std::string text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                                 static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                                 clock.hours().count(), clock.minutes().count(), clock.seconds().count());
  if (const auto fraction = clock.subseconds().count(); fraction != 0) {
    text += fmt::format(".{:03}", fraction);
    text.erase(text.find_last_not_of('0') + 1);
  }
  return text + 'Z';
}

std::optional<base::WallTime> parse_timestamp(std::string_view text) {
  Scanner scanner(text);
  const auto year = scanner.digits(4);
  std::array<int, 2> date{};
  std::array<int, 3> clock{};
  if (!year || !scanner.skip('-') || !scanner.pairs(date, '-') || !scanner.skip('T') ||
      !scanner.pairs(clock, ':')) {
    return std::nullopt;
  }
  milliseconds fraction{0};
  if (scanner.skip('.')) {
    const auto parsed = scanner.fraction();
    if (!parsed) return std::nullopt;
    fraction = *parsed;
  }
  const auto offset = parse_offset(scanner);
  if (!offset || !scanner.at_end()) return std::nullopt;
  const std::chrono::year_month_day day(std::chrono::year(*year),
                                        std::chrono::month(static_cast<unsigned>(date[0])),
                                        std::chrono::day(static_cast<unsigned>(date[1])));
  if (!day.ok() || clock[0] > 23 || clock[1] > 59 || clock[2] > 59) return std::nullopt;
  return base::WallTime(std::chrono::sys_days(day)) + hours(clock[0]) + minutes(clock[1]) +
         seconds(clock[2]) + fraction - *offset;
}

}  // namespace litecluster::log
