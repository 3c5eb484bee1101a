#include "ring/ownership_table.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace litecluster::ring {
namespace {

using namespace std::chrono_literals;

std::int64_t in(base::Duration time) {
  return (base::BootClock::now() + time).time_since_epoch().count();
}

std::shared_ptr<const Assignment> assignment() {
  auto made = std::make_shared<Assignment>();
  made->version = RingVersion(3);
  made->members = {{"a", "x", Revision(1)}, {"b", "y", Revision(2)}};
  made->slots = {{0, 0, {}}, {0, 1, RingVersion(3)}, {nobody, nobody, {}}};
  return made;
}

TEST(OwnershipTable, TellsOwnersAndMoves) {
  OwnershipTable table(3);
  EXPECT_EQ(table.owner(Partition(0)), "");
  table.set_assignment(assignment());
  EXPECT_EQ(table.owner(Partition(0)), "a");
  EXPECT_EQ(table.owner(Partition(1)), "b");
  EXPECT_EQ(table.owner(Partition(2)), "");
  EXPECT_EQ(table.version(), RingVersion(3));
  EXPECT_EQ(table.assignments()[1], (RingAssignment{Partition(1), "b", "a"}));
}

TEST(OwnershipTable, OwnsNothingPastTheDeadline) {
  OwnershipTable table(3);
  table.set_owned(Partition(0), true);
  EXPECT_FALSE(table.owns(Partition(0))) << "no lease";
  table.set_deadline(in(1h));
  EXPECT_TRUE(table.owns(Partition(0)));
  EXPECT_FALSE(table.owns(Partition(1)));
  table.set_deadline(in(-1ms));
  EXPECT_FALSE(table.owns(Partition(0)));
  EXPECT_FALSE(table.enter(Partition(0)));
}

TEST(OwnershipTable, ReleasingWaitsForRequestsThatRun) {
  OwnershipTable table(3);
  table.set_deadline(in(1h));
  table.set_owned(Partition(0), true);
  ASSERT_TRUE(table.enter(Partition(0)));
  table.set_owned(Partition(0), false);
  EXPECT_FALSE(table.enter(Partition(0))) << "no new ones";
  EXPECT_FALSE(table.wait_idle(Context::background().with_timeout(1ms), {Partition(0)}).has_value());
  std::jthread leaver([&] { table.leave(Partition(0)); });
  EXPECT_TRUE(table.wait_idle(Context::background().with_timeout(1h), {Partition(0)}).has_value());
}

}  // namespace
}  // namespace litecluster::ring
