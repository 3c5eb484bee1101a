// Names of LTX objects in a bucket: `ltx/<level>/<min TXID>-<max TXID>.ltx`, exactly as Litestream 0.5 writes
// them: the level in plain decimal, TXIDs as 16 lower-case hexadecimal digits, no prefix, one database per
// bucket. Level 0 is the raw log, 1 to 8 are compactions, 9 holds snapshots.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

#include <litecluster/types.hpp>

namespace litecluster::log {

inline constexpr int raw_level = 0;
inline constexpr int compaction_level_max = 8;
inline constexpr int snapshot_level = 9;
inline constexpr int level_count = 10;

/// Orders by level, then by min TXID, then by max TXID.
struct ObjectName {
  int level = 0;
  Txid min;
  Txid max;

  [[nodiscard]] static ObjectName raw(Txid txid) { return {raw_level, txid, txid}; }
  [[nodiscard]] static ObjectName snapshot(Txid txid) { return {snapshot_level, Txid(1), txid}; }

  [[nodiscard]] bool contains(Txid txid) const { return min <= txid && txid <= max; }

  friend constexpr auto operator<=>(const ObjectName&, const ObjectName&) = default;
};

/// The object's key in the bucket.
[[nodiscard]] std::string to_string(const ObjectName& name);

/// Nothing for any name that to_string() could not have made of a level of 0 to 9 and TXIDs with
/// 1 <= min <= max: such objects are not ours and are left alone.
[[nodiscard]] std::optional<ObjectName> parse_object_name(std::string_view key);

}  // namespace litecluster::log
