#include <litecluster/types.hpp>

#include "base/hex.hpp"

namespace litecluster {

std::string to_string(Txid txid) {
  return base::to_hex16(txid.value());
}

std::optional<Txid> parse_txid(std::string_view text) {
  const auto value = base::parse_hex(text);
  if (!value) return std::nullopt;
  return Txid(*value);
}

std::string to_string(Checksum checksum) {
  return base::to_hex16(checksum.value());
}

std::optional<Checksum> parse_checksum(std::string_view text) {
  if (text.size() != 16) return std::nullopt;
  const auto value = base::parse_hex(text);
  if (!value || (*value & Checksum::flag) == 0) return std::nullopt;
  return Checksum(*value);
}

std::string to_string(const Position& position) {
  return to_string(position.txid) + "/" + to_string(position.checksum);
}

}  // namespace litecluster
