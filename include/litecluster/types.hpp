// Strong types of the domain. Mixing up a TXID, an epoch, a page number and a revision does not compile.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace litecluster {

/// An unsigned number that only compares and converts with its own kind.
template <typename Tag, typename Value>
class StrongNumber {
 public:
  using value_type = Value;

  constexpr StrongNumber() = default;
  constexpr explicit StrongNumber(Value value) : value_(value) {}

  [[nodiscard]] constexpr Value value() const { return value_; }
  /// The following number. The caller guarantees that the range is not exhausted.
  [[nodiscard]] constexpr StrongNumber next() const { return StrongNumber(value_ + 1); }
  /// The number before. The caller guarantees that this one is not 0.
  [[nodiscard]] constexpr StrongNumber previous() const { return StrongNumber(value_ - 1); }
  [[nodiscard]] constexpr bool is_zero() const { return value_ == 0; }

  friend constexpr auto operator<=>(StrongNumber, StrongNumber) = default;

 private:
  Value value_ = 0;
};

/// Number of one replicated transaction group: 1, 2, 3 ... without a gap, over all epochs. 0: none yet.
using Txid = StrongNumber<struct TxidTag, std::uint64_t>;
/// Number of a term of leadership; grows with each term, never repeats. 0: none yet.
using Epoch = StrongNumber<struct EpochTag, std::uint64_t>;
/// 1-based SQLite page number. 0 names no page.
using PageNo = StrongNumber<struct PageNoTag, std::uint32_t>;
/// JetStream sequence of the last change of a key. 0: the key does not exist.
using Revision = StrongNumber<struct RevisionTag, std::uint64_t>;
/// Grows with each holder of a lock; a resource rejects a smaller one than it has seen.
using FencingToken = StrongNumber<struct FencingTokenTag, std::uint64_t>;

/// `%016x`, the text form that Litestream uses in object names.
[[nodiscard]] std::string to_string(Txid txid);
/// Parses 1 to 16 hexadecimal digits; nothing else around them.
[[nodiscard]] std::optional<Txid> parse_txid(std::string_view text);

/// Rolling checksum of a whole database or of one page: CRC-64/GO-ISO with bit 63 set (LTX format).
/// The default value is that of a database without pages.
class Checksum {
 public:
  static constexpr std::uint64_t flag = 0x8000'0000'0000'0000ULL;

  constexpr Checksum() = default;
  /// Takes the value as stored; bit 63 is forced on.
  constexpr explicit Checksum(std::uint64_t value) : value_(value | flag) {}

  [[nodiscard]] constexpr std::uint64_t value() const { return value_; }
  /// Adds a page's checksum, or takes it out again: the operation is its own inverse.
  [[nodiscard]] constexpr Checksum toggled(Checksum page) const { return Checksum(value_ ^ page.value_); }

  friend constexpr auto operator<=>(Checksum, Checksum) = default;

 private:
  std::uint64_t value_ = flag;
};

/// 16 lower-case hexadecimal digits.
[[nodiscard]] std::string to_string(Checksum checksum);
/// Parses exactly 16 hexadecimal digits with bit 63 set.
[[nodiscard]] std::optional<Checksum> parse_checksum(std::string_view text);

/// Names one exact state of the database.
struct Position {
  Txid txid;
  Checksum checksum;

  friend constexpr bool operator==(const Position&, const Position&) = default;
};

/// "txid/checksum", 33 characters.
[[nodiscard]] std::string to_string(const Position& position);

}  // namespace litecluster

template <typename Tag, typename Value>
struct std::hash<litecluster::StrongNumber<Tag, Value>> {
  std::size_t operator()(litecluster::StrongNumber<Tag, Value> number) const noexcept {
    return std::hash<Value>{}(number.value());
  }
};
