// Big-endian reading and writing of bytes from outside. A reader cannot overrun: past the end every read
// yields nothing and the reader stays failed, so that a parser may check once after a group of fields.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace litecluster::base {

using Bytes = std::vector<std::byte>;
using ByteView = std::span<const std::byte>;

[[nodiscard]] inline ByteView as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
[[nodiscard]] inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The big-endian number in `bytes`, which has at least sizeof(Value) bytes (the caller checked).
template <std::unsigned_integral Value>
[[nodiscard]] constexpr Value load_big_endian(const std::byte* bytes) {
  Value value = 0;
  for (std::size_t index = 0; index < sizeof(Value); ++index) {
    value = static_cast<Value>((value << 8U) | std::to_integer<Value>(bytes[index]));
  }
  return value;
}

template <std::unsigned_integral Value>
[[nodiscard]] constexpr Value load_little_endian(const std::byte* bytes) {
  Value value = 0;
  for (std::size_t index = sizeof(Value); index-- > 0;) {
    value = static_cast<Value>((value << 8U) | std::to_integer<Value>(bytes[index]));
  }
  return value;
}

/// Writes sizeof(Value) bytes at `destination`, which has room for them (the caller checked).
template <std::unsigned_integral Value>
constexpr void store_big_endian(std::byte* destination, Value value) {
  for (std::size_t index = sizeof(Value); index-- > 0;) {
    destination[index] = static_cast<std::byte>(value & 0xFFU);
    value = static_cast<Value>(value >> 8U);
  }
}

/// Appends sizeof(Value) bytes to `destination`.
template <std::unsigned_integral Value>
void append_big_endian(Bytes& destination, Value value) {
  const std::size_t offset = destination.size();
  destination.resize(offset + sizeof(Value));
  store_big_endian(destination.data() + offset, value);
}

inline void append_bytes(Bytes& destination, ByteView bytes) {
  destination.insert(destination.end(), bytes.begin(), bytes.end());
}

/// Walks over bytes that it does not own; they must outlive it. Not thread-safe.
class ByteReader {
 public:
  explicit ByteReader(ByteView bytes) : bytes_(bytes) {}

  /// The next big-endian number, or nothing when fewer bytes are left (the reader is then failed).
  template <std::unsigned_integral Value>
  [[nodiscard]] std::optional<Value> read_big_endian() {
    const auto bytes = take(sizeof(Value));
    if (!bytes) return std::nullopt;
    return load_big_endian<Value>(bytes->data());
  }

  /// The next `count` bytes, or nothing when fewer are left (the reader is then failed).
  [[nodiscard]] std::optional<ByteView> take(std::size_t count) {
    if (failed_ || count > bytes_.size() - offset_) {
      failed_ = true;
      return std::nullopt;
    }
    const ByteView taken = bytes_.subspan(offset_, count);
    offset_ += count;
    return taken;
  }

  [[nodiscard]] std::size_t offset() const { return offset_; }
  [[nodiscard]] std::size_t remaining() const { return failed_ ? 0 : bytes_.size() - offset_; }
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  ByteView bytes_;
  std::size_t offset_ = 0;
  bool failed_ = false;
};

}  // namespace litecluster::base
