// The leader record: the one value under the key `leader` of the coordination bucket. It is never deleted;
// every change is a compare-and-swap on its KV revision (docs/election.md tells the protocol).
//
// Its text is one JSON object:
//   {"node":"a","incarnation":"00c0ffee00c0ffee.1","epoch":7,"state":"held","lease_ttl_ms":10000,
//    "heartbeat_ms":3000,"sequence":42,"txid":"0000000000000010","checksum":"8000000000000000","successor":"b"}
// `txid` and `checksum` are the position at release; `successor` is there only when one was named. Unknown
// fields are ignored, so that a later version may add some.
#pragma once

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

namespace litecluster::election {

/// Names one start of one agent. All agents that one guard starts share a family and are numbered 1, 2, 3
/// ...; the guard starts number n only after it has seen number n - 1 dead and its backend killed, so an
/// agent knows that every smaller number of its own family is dead.
struct Incarnation {
  std::uint64_t family = 0;
  std::uint32_t number = 0;

  /// A family of its own with number 1, for a process without a guard.
  [[nodiscard]] static Incarnation random();
  [[nodiscard]] constexpr bool knows_dead(const Incarnation& other) const {
    return other.family == family && other.number < number;
  }
  friend constexpr auto operator<=>(const Incarnation&, const Incarnation&) = default;
};

/// "<16 hexadecimal digits>.<decimal number>".
[[nodiscard]] std::string to_string(const Incarnation& incarnation);
[[nodiscard]] std::optional<Incarnation> parse_incarnation(std::string_view text);

enum class LeaseState { held, released };

struct LeaderRecord {
  std::string node;  ///< 1 to node_name_size_max bytes
  Incarnation incarnation;
  Epoch epoch;
  LeaseState state = LeaseState::held;
  std::chrono::milliseconds lease_ttl{0};  ///< the writer's own; 1 ms to 24 h
  std::chrono::milliseconds heartbeat{0};  ///< the writer's own; 0 ms to 24 h
  /// Counts the writes that this incarnation tried. It tells the writer which of its attempts a record stems
  /// from when the answer to one was lost.
  std::uint64_t sequence = 0;
  Position position;      ///< of the database at release; zero while held
  std::string successor;  ///< the node that shall follow; empty when any may

  friend bool operator==(const LeaderRecord&, const LeaderRecord&) = default;
};

inline constexpr std::size_t node_name_size_max = 128;
inline constexpr std::size_t record_size_max = 4096;

[[nodiscard]] std::string encode_record(const LeaderRecord& record);
/// `corrupt` with the reason for anything that encode_record() could not have written.
[[nodiscard]] Result<LeaderRecord> decode_record(std::string_view text);

}  // namespace litecluster::election
