#include "ring/assignment.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace litecluster::ring {
namespace {

TEST(Partition, IsXxh64OfTheKeyModuloTheNumber) {
  // XXH64 with seed 0 of "" and "a", from the reference implementation.
  EXPECT_EQ(partition_of("", 4096), 0xEF46DB3751D8E999ULL % 4096);
  EXPECT_EQ(partition_of("a", 4096), 0xD24EC4F1A98C6E5BULL % 4096);
  EXPECT_EQ(partition_of("anything", 1), 0U);
}

/// By its own reckoning: the fewest moves that reach a balance.
std::size_t moves_min(const std::vector<std::uint16_t>& current, std::size_t nodes) {
  std::vector<std::size_t> count(nodes, 0);
  for (const std::uint16_t owner : current) {
    if (owner < nodes) ++count[owner];
  }
  std::ranges::sort(count, std::greater<>());
  std::size_t kept = 0;
  for (std::size_t rank = 0; rank < nodes; ++rank) {
    const std::size_t quota = current.size() / nodes + (rank < current.size() % nodes ? 1 : 0);
    kept += std::min(count[rank], quota);
  }
  return current.size() - kept;
}

void check(const std::vector<std::uint16_t>& current, std::size_t nodes) {
  const auto owners = spread(current, nodes);
  ASSERT_EQ(owners, spread(current, nodes)) << "deterministic";
  std::vector<std::size_t> count(nodes, 0);
  std::size_t moved = 0;
  for (std::size_t partition = 0; partition < owners.size(); ++partition) {
    ASSERT_LT(owners[partition], nodes);
    ++count[owners[partition]];
    if (owners[partition] != current[partition]) ++moved;
  }
  const auto [fewest, most] = std::ranges::minmax(count);
  ASSERT_LE(most - fewest, 1U);
  ASSERT_EQ(moved, moves_min(current, nodes));
}

TEST(Spread, IsBalancedAndMovesAsFewAsPossibleFor1To100NodesAnd1To4096Partitions) {
  std::mt19937_64 random(1);
  for (std::size_t nodes = 1; nodes <= 100; ++nodes) {
    for (const std::size_t partitions : {std::size_t{1}, std::size_t{7}, std::size_t{256}, std::size_t{4096},
                                         std::size_t{1 + random() % 4096}}) {
      std::vector<std::uint16_t> current(partitions);
      for (std::uint16_t& owner : current) {
        owner = static_cast<std::uint16_t>(random() % (nodes + 2));  // some belong to nodes that are gone
        if (owner >= nodes) owner = nobody;
      }
      ASSERT_NO_FATAL_FAILURE(check(current, nodes)) << nodes << " nodes, " << partitions << " partitions";
      // And from a balance, when one joins: nobody who stays gets anything from another who stays.
      const auto balanced = spread(current, nodes);
      ASSERT_NO_FATAL_FAILURE(check(balanced, nodes + 1));
      ASSERT_EQ(spread(balanced, nodes), balanced);
    }
  }
}

TEST(Spread, WithoutNodesIsNobodys) {
  EXPECT_EQ(spread({0, 1}, 0), (std::vector<std::uint16_t>{nobody, nobody}));
}

Assignment sample() {
  Assignment assignment;
  assignment.version = RingVersion(5);
  assignment.members = {{"a", "x", Revision(1)}, {"b", "y", Revision(2)}};
  assignment.coordinator = assignment.members[0];
  assignment.slots = {{0, 0, {}}, {0, 1, RingVersion(4)}, {1, 1, {}}};
  return assignment;
}

TEST(AssignmentRecord, ComesBackAsItWas) {
  const auto decoded = decode(encode(sample()));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message();
  EXPECT_EQ(*decoded, sample());
}

TEST(AssignmentRecord, FitsIntoAMessageAtItsLargest) {
  Assignment assignment = sample();
  assignment.slots.assign(partitions_max, {0, 1, RingVersion(4)});
  EXPECT_LT(encode(assignment).size(), std::size_t{256} << 10U);
  EXPECT_TRUE(decode(encode(assignment)).has_value());
}

TEST(AssignmentRecord, RefusesWhatIsNotOneOfOurs) {
  const std::string text = encode(sample());
  for (std::size_t length = 0; length < text.size(); ++length) {
    EXPECT_FALSE(decode(std::string_view(text).substr(0, length)).has_value());
  }
  Assignment unknown_member = sample();
  unknown_member.slots[0].holder = 9;
  EXPECT_FALSE(decode(encode(unknown_member)).has_value());
  Assignment leaves_without_a_version = sample();
  leaves_without_a_version.slots[1].leaving_since = RingVersion();
  EXPECT_FALSE(decode(encode(leaves_without_a_version)).has_value());
}

}  // namespace
}  // namespace litecluster::ring
