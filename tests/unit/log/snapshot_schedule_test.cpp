#include "log/snapshot_schedule.hpp"

#include <gtest/gtest.h>

#include "unit/log/make_object.hpp"

namespace litecluster::log {
namespace {

using namespace std::chrono_literals;
using test::at_second;
using test::compacted;
using test::ObjectMaker;
using test::raw;
using test::view_of;

TEST(SnapshotSchedule, WantsOneWhenTheIntervalIsOverAndSomethingHappened) {
  const LogView view = view_of(compacted(9, 1, 5), raw(6));
  EXPECT_FALSE(snapshot_due(view, Txid(6), at_second(3599), 1h));
  EXPECT_TRUE(snapshot_due(view, Txid(6), at_second(3600), 1h));
}

TEST(SnapshotSchedule, DoesNotWaitForTheFutureOfAClockThatWasWrong) {
  const LogView view = view_of(ObjectMaker{.level = 9, .min = 1, .max = 5, .second = 40'000'000}, raw(6));
  EXPECT_TRUE(snapshot_due(view, Txid(6), at_second(100), 1h));
  EXPECT_FALSE(snapshot_due(view, Txid(5), at_second(100), 1h));
}

TEST(SnapshotSchedule, LeavesAnIdleDatabaseAlone) {
  EXPECT_FALSE(snapshot_due(view_of(compacted(9, 1, 5)), Txid(5), at_second(90000), 1h));
  EXPECT_FALSE(snapshot_due(LogView(), Txid(0), at_second(90000), 1h));
}

TEST(SnapshotSchedule, CountsTheFirstObjectAsASnapshot) {
  const LogView view = view_of(raw(1), raw(2));
  EXPECT_FALSE(snapshot_due(view, Txid(2), at_second(10), 1h));
  EXPECT_TRUE(snapshot_due(view, Txid(2), at_second(3601), 1h));
}

TEST(SnapshotSchedule, WantsOneAtOnceWhenNoCompleteStateExists) {
  EXPECT_TRUE(snapshot_due(view_of(raw(7)), Txid(7), at_second(8), 1h));
}

}  // namespace
}  // namespace litecluster::log
