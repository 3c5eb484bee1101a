// What the bucket holds under the name of a lock: one JSON object, written by compare-and-swap only and never
// deleted, so that the token in it can only grow.
//
//   {"version":1, "state":"held"|"released", "token":7, "node":"node-1", "hold":"9f…", "lease_ms":10000,
//   "renewals":3}
//
// `hold` is random for each acquisition: by it a client recognises its own write when the reply got lost.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

namespace litecluster::locks {

inline constexpr std::chrono::milliseconds lease_min{300};
inline constexpr std::chrono::milliseconds lease_max{3'600'000};

struct LockRecord {
  bool held = false;
  FencingToken token;
  std::string node;
  std::string hold;
  std::chrono::milliseconds lease{};
  std::uint64_t renewals = 0;

  friend bool operator==(const LockRecord&, const LockRecord&) = default;
};

[[nodiscard]] std::string encode(const LockRecord& record);
/// `corrupt` when `text` is not such an object or a field is out of range. Unknown fields are ignored.
[[nodiscard]] Result<LockRecord> parse_lock_record(std::string_view text);

}  // namespace litecluster::locks
