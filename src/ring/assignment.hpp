// The assignment of partitions to nodes: the record `ring.assignment` in the coordination bucket, and how a
// new one is computed. Pure.
//
// Each partition has a *holder* and a *target*. The holder alone may own it. A partition moves in two steps:
// first its target changes, and when the holder has let go of it (or its life is certainly over) the target
// becomes the holder. Every change is a new version of the whole record, written by compare-and-swap, so all
// versions form one line, and in each there is at most one holder of a partition.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <litecluster/error.hpp>
#include <litecluster/member.hpp>
#include <litecluster/ring.hpp>

namespace litecluster::ring {

constexpr std::uint32_t partitions_max = 4096;
constexpr std::size_t members_max = 4096;
constexpr std::size_t assignment_bytes_max = 1U << 20U;
/// Index of a member that is nobody.
constexpr std::uint16_t nobody = 0xFFFF;

struct Slot {
  std::uint16_t holder = nobody;
  std::uint16_t target = nobody;
  /// While holder and target differ: the version that first wanted the holder to let go. The holder has done
  /// so when it says that it released this version or a later one.
  RingVersion leaving_since;

  friend bool operator==(const Slot&, const Slot&) = default;
};

struct Assignment {
  RingVersion version;
  /// Who wrote it, and is expected to write the next one.
  MemberId coordinator;
  /// Sorted by node name; slots refer to it by index.
  std::vector<MemberId> members;
  std::vector<Slot> slots;

  /// nullptr for nobody.
  [[nodiscard]] const MemberId* member(std::uint16_t index) const {
    return index < members.size() ? &members[index] : nullptr;
  }
  /// Index of this life, or nobody.
  [[nodiscard]] std::uint16_t index_of(const MemberId& life) const;

  friend bool operator==(const Assignment&, const Assignment&) = default;
};

[[nodiscard]] std::string encode(const Assignment& assignment);
/// Refuses with `corrupt` what is not one of ours.
[[nodiscard]] Result<Assignment> decode(std::string_view text);

/// Gives each partition one of `nodes` nodes (0 to nodes - 1), so that the numbers of partitions of two nodes
/// differ by at most one, and as few partitions as possible get another node than in `current` (`nobody`
/// there counts as moved anyway). Deterministic. With no nodes, everything is nobody's.
[[nodiscard]] std::vector<std::uint16_t> spread(const std::vector<std::uint16_t>& current, std::size_t nodes);

/// XXH64 with seed 0, modulo `partitions`, which is not 0.
[[nodiscard]] std::uint32_t partition_of(std::string_view key, std::uint32_t partitions);

/// invalid_argument unless 1 to partitions_max.
[[nodiscard]] Status check_partitions(std::uint32_t partitions);

}  // namespace litecluster::ring
