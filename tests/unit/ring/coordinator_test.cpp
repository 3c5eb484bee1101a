#include "ring/coordinator.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace litecluster::ring {
namespace {

using namespace std::chrono_literals;
using base::BootTime;
using membership::Record;
using membership::RecordState;

// Lease 3 s; node "a" joined at revision 1, "b" at 2.
class CoordinatorTest : public ::testing::Test {
 protected:
  static BootTime at(base::Duration since) { return BootTime(100s) + since; }
  void see(base::Duration since, std::uint64_t revision, const std::string& node, std::uint64_t joined,
           RecordState state = RecordState::alive, std::uint64_t released = 0, std::uint32_t partitions = 4) {
    Record record;
    record.member.id = {node, "i", Revision(joined)};
    record.member.mode = Mode::ring;
    record.state = state;
    record.lease = 3000ms;
    record.ring = {.partitions = partitions, .released = RingVersion(released)};
    roster_.record_seen(at(since), Revision(revision), record);
  }
  void begin(const std::string& node, std::uint64_t joined) {
    coordinator_.life_begun(at(0s), {node, "i", Revision(joined)});
    coordinator_.initial_complete(at(0s));
  }
  template <typename Action>
  std::optional<Action> decide(base::Duration since) {
    coordinator_.evaluate(at(since), roster_);
    for (CoordinatorAction& action : coordinator_.take_actions()) {
      if (auto* found = std::get_if<Action>(&action)) return std::move(*found);
    }
    return std::nullopt;
  }
  /// The next version, stored as if the server had taken it.
  std::shared_ptr<const Assignment> write(base::Duration since, std::uint64_t revision) {
    auto wanted = decide<WriteAssignment>(since);
    if (!wanted) wanted = decide<WriteAssignment>(since + 20ms);
    if (!wanted) return nullptr;
    coordinator_.assignment_written(at(since));
    coordinator_.assignment_seen(at(since), Revision(revision), wanted->assignment);
    return wanted->assignment;
  }
  static std::size_t held_by(const Assignment& assignment, const std::string& node) {
    return static_cast<std::size_t>(std::ranges::count_if(assignment.slots, [&](const Slot& slot) {
      return slot.holder != nobody && assignment.members[slot.holder].node == node;
    }));
  }
  membership::Roster roster_{1s};
  Coordinator coordinator_{{.partitions = 4, .lease = 3s}};
};

TEST_F(CoordinatorTest, TheFirstMemberCreatesTheAssignmentAndHoldsAll) {
  begin("a", 1);
  see(0s, 1, "a", 1);
  EXPECT_FALSE(decide<WriteAssignment>(0s)) << "changes are gathered for a moment";
  const auto wanted = decide<WriteAssignment>(20ms);
  ASSERT_TRUE(wanted);
  EXPECT_EQ(wanted->expected, Revision());
  EXPECT_EQ(wanted->assignment->version, RingVersion(1));
  EXPECT_EQ(held_by(*wanted->assignment, "a"), 4U);
}

TEST_F(CoordinatorTest, AMovedPartitionKeepsItsHolderUntilThatSaysThatItReleased) {
  begin("a", 1);
  see(0s, 1, "a", 1);
  ASSERT_TRUE(write(0s, 10));
  see(1s, 11, "b", 11);
  const auto moving = write(1s, 12);
  ASSERT_TRUE(moving);
  EXPECT_EQ(held_by(*moving, "a"), 4U);
  EXPECT_FALSE(write(2s, 13)) << "nothing to do before a released version 2";
  see(2s, 14, "a", 1, RecordState::alive, 1);
  EXPECT_FALSE(write(2s, 15)) << "an older version does not count";
  see(2s, 16, "a", 1, RecordState::alive, 2);
  const auto moved = write(2s, 17);
  ASSERT_TRUE(moved);
  EXPECT_EQ(held_by(*moved, "b"), 2U);
}

TEST_F(CoordinatorTest, ASilentHolderIsExpelledAtTheRevisionSeenBeforeItsPartitionsMove) {
  begin("a", 1);
  see(0s, 1, "a", 1);
  see(0s, 2, "b", 2);
  const auto first = write(0s, 10);
  ASSERT_TRUE(first);
  ASSERT_EQ(held_by(*first, "b"), 2U);
  for (std::uint64_t second = 1; second <= 3; ++second) {
    see(std::chrono::seconds(second), 20 + second, "a", 1);
    roster_.tick(at(std::chrono::seconds(second)));
  }
  const auto expel = decide<ExpelMember>(3s);
  ASSERT_TRUE(expel);
  EXPECT_EQ(expel->expected, Revision(2));
  EXPECT_EQ(expel->record.state, RecordState::expelled);
  const auto waiting = write(3s, 30);
  ASSERT_TRUE(waiting);
  EXPECT_EQ(held_by(*waiting, "b"), 2U) << "silent is not over";
  see(3s, 31, "b", 2, RecordState::expelled);
  const auto moved = write(3s, 32);
  ASSERT_TRUE(moved);
  EXPECT_EQ(held_by(*moved, "a"), 4U);
}

TEST_F(CoordinatorTest, AGoodbyeFreesPartitionsAtOnce) {
  begin("a", 1);
  see(0s, 1, "a", 1);
  see(0s, 2, "b", 2);
  ASSERT_TRUE(write(0s, 10));
  see(1s, 11, "b", 2, RecordState::left);
  const auto moved = write(1s, 12);
  ASSERT_TRUE(moved);
  EXPECT_EQ(held_by(*moved, "a"), 4U);
}

TEST_F(CoordinatorTest, OthersLeaveItToTheCoordinatorForTwoLeases) {
  begin("b", 2);
  see(0s, 1, "a", 1);
  see(0s, 2, "b", 2);
  auto assignment = std::make_shared<Assignment>();
  assignment->version = RingVersion(1);
  assignment->members = {{"a", "i", Revision(1)}};
  assignment->coordinator = assignment->members[0];
  assignment->slots.assign(4, {0, 0, {}});
  coordinator_.assignment_seen(at(0s), Revision(3), assignment);
  EXPECT_FALSE(decide<WriteAssignment>(0s));
  EXPECT_FALSE(decide<WriteAssignment>(5900ms));
  EXPECT_TRUE(decide<WriteAssignment>(6500ms)) << "and then does it itself";
}

TEST_F(CoordinatorTest, AnotherNumberOfPartitionsIsRefusedByTheOneThatJoinedLater) {
  begin("b", 2);
  see(0s, 1, "a", 1, RecordState::alive, 0, 8);
  see(0s, 2, "b", 2);
  EXPECT_TRUE(decide<RingRefused>(0s));
  Coordinator older({.partitions = 4, .lease = 3s});
  older.life_begun(at(0s), {"a", "i", Revision(1)});
  older.initial_complete(at(0s));
  membership::Roster roster(1s);
  older.evaluate(at(0s), roster);
  for (const CoordinatorAction& action : older.take_actions()) {
    EXPECT_FALSE(std::holds_alternative<RingRefused>(action));
  }
}

TEST_F(CoordinatorTest, ADeletedAssignmentIsWrittenAgainFromMemory) {
  begin("a", 1);
  see(0s, 1, "a", 1);
  ASSERT_TRUE(write(0s, 10));
  coordinator_.assignment_deleted(at(1s), Revision(11));
  auto wanted = decide<WriteAssignment>(1s);
  if (!wanted) wanted = decide<WriteAssignment>(1020ms);
  ASSERT_TRUE(wanted);
  EXPECT_EQ(held_by(*wanted->assignment, "a"), 4U);
  EXPECT_EQ(wanted->assignment->version, RingVersion(12)) << "above whatever anybody can have seen";
  EXPECT_EQ(wanted->expected, Revision(11)) << "compare-and-swap on the deletion";
  coordinator_.assignment_written(at(1020ms));
  coordinator_.assignment_seen(at(1020ms), Revision(12), wanted->assignment);
  see(2s, 13, "b", 13);
  const auto next = write(2s, 14);
  ASSERT_TRUE(next);
  EXPECT_EQ(next->version, RingVersion(13)) << "one by one again";
}

TEST_F(CoordinatorTest, WhoKnowsNothingOfADeletedAssignmentBeginsAboveTheVersionsThatOthersRemember) {
  begin("a", 1);
  see(0s, 1, "a", 1);
  coordinator_.assignment_deleted(at(0s), Revision(70));
  const auto written = write(0s, 71);
  ASSERT_TRUE(written);
  EXPECT_EQ(written->version, RingVersion(71));
}

}  // namespace
}  // namespace litecluster::ring
