// The record `members.<node>` in the coordination bucket: one JSON object of at most record_bytes_max bytes.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <litecluster/error.hpp>
#include <litecluster/member.hpp>
#include <litecluster/ring.hpp>

namespace litecluster::membership {

constexpr std::size_t record_bytes_max = 65'536;
constexpr std::size_t name_bytes_max = 64;
constexpr std::size_t labels_max = 64;
constexpr std::size_t addresses_max = 64;
/// Of a label's key or value, an address, a version.
constexpr std::size_t text_bytes_max = 256;
/// A longer health reason is cut by encode().
constexpr std::size_t reason_bytes_max = 1024;
constexpr std::chrono::milliseconds lease_max = std::chrono::hours(1);

enum class RecordState {
  alive,
  left,      ///< said goodbye: owns nothing any more
  expelled,  ///< declared over by somebody else after its lease had run out
};

/// What a member of a ring adds.
struct RingPart {
  /// 0: not in a ring.
  std::uint32_t partitions = 0;
  /// The highest version of the assignment for which this node has let go of all that the version wants to
  /// take from it.
  RingVersion released;

  friend bool operator==(const RingPart&, const RingPart&) = default;
};

struct Record {
  /// `member.id.joined` is 0 in the first record of a life: its own revision is meant.
  Member member;
  RecordState state = RecordState::alive;
  std::chrono::milliseconds heartbeat{3000};
  /// Silence of this length ends the life of a member, see session.hpp. Three heartbeats.
  std::chrono::milliseconds lease{9000};
  /// Of the process, so that a successor on the same machine can find out that it is dead. May be empty.
  std::string process;
  RingPart ring;

  friend bool operator==(const Record&, const Record&) = default;
};

/// The life that a record at `revision` belongs to, with `joined` filled in.
[[nodiscard]] MemberId life_of(const Record& record, Revision revision);

/// 1 to 64 of letters, digits, `-` and `_`.
[[nodiscard]] bool valid_node_name(std::string_view name);

/// invalid_argument or too_large when a name, label or address is outside of the limits above.
[[nodiscard]] Result<std::string> encode(const Record& record);
/// Refuses with `corrupt` what is not one of ours; unknown fields are ignored, for newer versions.
[[nodiscard]] Result<Record> decode(std::string_view text);

}  // namespace litecluster::membership
