#include "log/object_name.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/hex.hpp"

namespace litecluster::log {
namespace {

constexpr std::string_view prefix = "ltx/";
constexpr std::string_view suffix = ".ltx";
constexpr std::size_t txid_digits = 16;
// "ltx/" level "/" min "-" max ".ltx"
constexpr std::size_t key_length = prefix.size() + 1 + 1 + txid_digits + 1 + txid_digits + suffix.size();

std::optional<Txid> parse_digits(std::string_view digits) {
  const auto is_lower_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (!std::ranges::all_of(digits, is_lower_hex)) return std::nullopt;
  const auto value = base::parse_hex(digits);
  if (!value) return std::nullopt;
  return Txid(*value);
}

}  // namespace

std::string to_string(const ObjectName& name) {
  return fmt::format("ltx/{}/{:016x}-{:016x}.ltx", name.level, name.min.value(), name.max.value());
}

std::optional<ObjectName> parse_object_name(std::string_view key) {
  if (key.size() != key_length || !key.starts_with(prefix) || !key.ends_with(suffix)) return std::nullopt;
  key.remove_prefix(prefix.size());
  const char level = key[0];
  if (level < '0' || level > '9' || key[1] != '/' || key[2 + txid_digits] != '-') return std::nullopt;
  const auto min = parse_digits(key.substr(2, txid_digits));
  const auto max = parse_digits(key.substr(2 + txid_digits + 1, txid_digits));
  if (!min || !max || min->is_zero() || *max < *min) return std::nullopt;
  return ObjectName{level - '0', *min, *max};
}

}  // namespace litecluster::log
