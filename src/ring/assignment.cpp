#include "ring/assignment.hpp"

#include <algorithm>
#include <numeric>

#include <xxhash.h>

namespace litecluster::ring {

std::uint16_t Assignment::index_of(const MemberId& life) const {
  for (std::size_t index = 0; index < members.size(); ++index) {
    if (members[index] == life) return static_cast<std::uint16_t>(index);
  }
  return nobody;
}

std::vector<std::uint16_t> spread(const std::vector<std::uint16_t>& current, std::size_t nodes) {
  std::vector<std::uint16_t> owners(current.size(), nobody);
  if (nodes == 0) return owners;
  std::vector<std::size_t> count(nodes, 0);
  for (const std::uint16_t owner : current) {
    if (owner < nodes) ++count[owner];
  }
  // Each node may keep `share`, and `extra` of them one more: those that have most now, because each of them
  // keeps one partition more by it. That is all the freedom there is, so no assignment moves fewer.
  const std::size_t share = current.size() / nodes;
  const std::size_t extra = current.size() % nodes;
  std::vector<std::uint16_t> by_count(nodes);
  std::iota(by_count.begin(), by_count.end(), std::uint16_t{0});
  // Ties by index: the order has to be the same on every node.
  std::ranges::sort(by_count, [&](std::uint16_t left, std::uint16_t right) {
    return count[left] != count[right] ? count[left] > count[right] : left < right;
  });
  std::vector<std::size_t> room(nodes, share);
  for (std::size_t index = 0; index < extra; ++index) ++room[by_count[index]];
  for (std::size_t partition = 0; partition < current.size(); ++partition) {
    const std::uint16_t owner = current[partition];
    if (owner >= nodes || room[owner] == 0) continue;
    owners[partition] = owner;
    --room[owner];
  }
  // Dealt out in turn, so that neighbours do not all land on one node.
  std::size_t next = 0;
  for (std::uint16_t& owner : owners) {
    if (owner != nobody) continue;
    while (room[next] == 0) next = (next + 1) % nodes;
    owner = static_cast<std::uint16_t>(next);
    --room[next];
    next = (next + 1) % nodes;
  }
  return owners;
}

std::uint32_t partition_of(std::string_view key, std::uint32_t partitions) {
  return static_cast<std::uint32_t>(XXH64(key.data(), key.size(), 0) % partitions);
}

Status check_partitions(std::uint32_t partitions) {
  if (partitions >= 1 && partitions <= partitions_max) return {};
  return failure(ErrorCode::invalid_argument, "set up ring", std::to_string(partitions) + " partitions",
                 "a ring has 1 to 4096 partitions");
}

}  // namespace litecluster::ring
