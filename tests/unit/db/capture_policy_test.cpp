#include <gtest/gtest.h>

#include "db/checkpoint_policy.hpp"
#include "db/wake_schedule.hpp"

namespace litecluster::db {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr base::BootTime begin{seconds(1000)};

TEST(CheckpointPolicy, WaitsForEnoughFramesAndAQuietMoment) {
  CheckpointPolicy policy({});
  policy.observe(999, begin);
  EXPECT_NE(CheckpointStep::complete, policy.due(begin + seconds(60)));
  policy.observe(1000, begin);
  EXPECT_NE(CheckpointStep::complete, policy.due(begin + milliseconds(19)));
  EXPECT_EQ(policy.wake_at(), begin + milliseconds(20));
  EXPECT_EQ(CheckpointStep::complete, policy.due(begin + milliseconds(20)));
}

TEST(CheckpointPolicy, DoesNotWaitForAQuietMomentWhenItIsUrgent) {
  CheckpointPolicy policy({});
  policy.observe(4000, begin);
  EXPECT_EQ(CheckpointStep::complete, policy.due(begin));
}

TEST(CheckpointPolicy, ComesBackLaterWhenSomebodyWasInTheWay) {
  CheckpointPolicy policy({});
  policy.observe(4000, begin);
  policy.attempted(false, begin);
  EXPECT_NE(CheckpointStep::complete, policy.due(begin + milliseconds(249)));
  EXPECT_EQ(CheckpointStep::complete, policy.due(begin + milliseconds(250)));
}

TEST(CheckpointPolicy, CopiesBackUnderLoadEachTimeEnoughHasGathered) {
  CheckpointPolicy policy({});
  policy.observe(999, begin);
  EXPECT_EQ(policy.due(begin), CheckpointStep::none);
  policy.observe(1000, begin);
  EXPECT_EQ(policy.due(begin), CheckpointStep::copy);
  policy.copied();
  policy.observe(1999, begin + milliseconds(10));
  EXPECT_EQ(policy.due(begin + milliseconds(10)), CheckpointStep::none);
  policy.observe(2000, begin + milliseconds(20));
  EXPECT_EQ(policy.due(begin + milliseconds(20)), CheckpointStep::copy);
  policy.observe(4000, begin + milliseconds(30));
  EXPECT_EQ(policy.due(begin + milliseconds(30)), CheckpointStep::complete);
}

TEST(CheckpointPolicy, MovesAPinThatKeepsOthersFromCopyingBackSoonAfterTheWalWasStartedAnew) {
  CheckpointPolicy policy({});
  policy.observe(1200, begin);
  policy.attempted(true, begin);
  policy.pinned(true);
  EXPECT_EQ(policy.due(begin), CheckpointStep::none);
  policy.observe(249, begin + seconds(1));
  EXPECT_EQ(policy.due(begin + seconds(1)), CheckpointStep::none);
  policy.observe(250, begin + seconds(2));
  EXPECT_EQ(policy.due(begin + seconds(2)), CheckpointStep::move_pin);
  policy.hindered(begin + seconds(2));
  EXPECT_EQ(policy.due(begin + seconds(2)), CheckpointStep::none);
  EXPECT_EQ(policy.due(begin + seconds(3)), CheckpointStep::move_pin);
  policy.pinned(false);
  EXPECT_EQ(policy.due(begin + seconds(3)), CheckpointStep::none);
}

TEST(CheckpointPolicy, CountsFromTheLastCompleteOneWhileAReaderKeepsTheWalFromStartingAnew) {
  CheckpointPolicy policy({});
  policy.observe(1200, begin);
  policy.attempted(true, begin);
  policy.observe(1201, begin + seconds(1));
  EXPECT_NE(CheckpointStep::complete, policy.due(begin + seconds(9)));
  policy.observe(2200, begin + seconds(2));
  EXPECT_EQ(CheckpointStep::complete, policy.due(begin + seconds(9)));
}

TEST(CheckpointPolicy, CountsFromTheStartOfANewWal) {
  CheckpointPolicy policy({});
  policy.observe(1200, begin);
  policy.attempted(true, begin);
  policy.observe(3, begin + seconds(1));
  EXPECT_FALSE(policy.wanted());
  policy.observe(1003, begin + seconds(2));
  EXPECT_TRUE(policy.wanted());
}

TEST(WakeSchedule, SleepsLongWhileNothingIsReported) {
  WakeSchedule schedule(seconds(1));
  const auto next = schedule.next(begin);
  EXPECT_EQ(next.delay, seconds(1));
  EXPECT_TRUE(next.listen);
}

TEST(WakeSchedule, LooksSoonAfterAReportAndThenLessAndLessOften) {
  WakeSchedule schedule(seconds(1));
  schedule.reported(begin);
  EXPECT_EQ(schedule.next(begin).delay, microseconds(50));
  EXPECT_FALSE(schedule.next(begin).listen);
  EXPECT_EQ(schedule.next(begin + milliseconds(4)).delay, milliseconds(1));
  schedule.reported(begin + seconds(5));
  EXPECT_EQ(schedule.next(begin + seconds(5)).delay, milliseconds(5));
}

TEST(WakeSchedule, WaitsForACommitThatIsSlowToComeForAQuarterOfTheTimeItTook) {
  WakeSchedule schedule(seconds(1));
  schedule.reported(begin);
  schedule.silent(begin);
  EXPECT_TRUE(schedule.next(begin).listen);
  EXPECT_LT(schedule.next(begin + milliseconds(40)).delay, milliseconds(11));
  int looks = 0;
  for (base::BootTime now = begin; now < begin + seconds(10); ++looks) now += schedule.next(now).delay;
  EXPECT_LT(looks, 70);
}

TEST(WakeSchedule, IsIdleAgainOnceTheCommitWasFound) {
  WakeSchedule schedule(seconds(1));
  schedule.reported(begin);
  schedule.found();
  EXPECT_EQ(schedule.next(begin).delay, seconds(1));
}

}  // namespace
}  // namespace litecluster::db
