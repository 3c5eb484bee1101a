// The bytes of db/capture_state.hpp's files. Numbers are big-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/bytes.hpp"
#include "db/capture_state.hpp"

namespace litecluster::db {

inline constexpr std::size_t point_size = 72;
inline constexpr std::size_t base_header_size = 8 + 8 + 8 + point_size;
inline constexpr std::size_t record_header_size = 8;
inline constexpr std::uint32_t record_captured = 1;
inline constexpr std::uint32_t record_acknowledged = 2;
inline constexpr std::uint32_t record_file = 3;

struct BaseHeader {
  /// Names the journal that follows this base.
  std::uint64_t id = 0;
  bool acknowledged = false;
  CapturePoint point;
};

struct CapturedRecord {
  CapturePoint point;
  std::vector<PageChange> changes;
};

[[nodiscard]] base::Bytes encode_base_header(const BaseHeader& header);
[[nodiscard]] std::optional<BaseHeader> decode_base_header(base::ByteView bytes);

[[nodiscard]] base::Bytes encode_captured(const CapturePoint& point, std::span<const PageChange> changes);
[[nodiscard]] std::optional<CapturedRecord> decode_captured(base::ByteView payload);

[[nodiscard]] base::Bytes encode_acknowledged(Txid txid, Epoch epoch);
[[nodiscard]] std::optional<std::pair<Txid, Epoch>> decode_acknowledged(base::ByteView payload);

[[nodiscard]] base::Bytes encode_file(Txid txid, Checksum file_checksum);
[[nodiscard]] std::optional<std::pair<Txid, Checksum>> decode_file(base::ByteView payload);

}  // namespace litecluster::db
