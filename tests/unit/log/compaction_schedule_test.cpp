#include "log/compaction_schedule.hpp"

#include <gtest/gtest.h>

#include "unit/log/make_object.hpp"

namespace litecluster::log {
namespace {

using namespace std::chrono_literals;
using test::at_second;
using test::compacted;
using test::ObjectMaker;
using test::raw;
using test::raw_on;
using test::view_of;

CompactionSchedule schedule(CompactionOptions options = {}) {
  return *CompactionSchedule::create(std::move(options));
}

TEST(CompactionSchedule, MergesAnIntervalOnceItIsOver) {
  const LogView view = view_of(raw(1), raw(2), raw(3), raw(4));
  EXPECT_FALSE(schedule().next(view, at_second(9)));
  LogView full;
  for (std::uint64_t txid = 1; txid <= 12; ++txid) ASSERT_TRUE(full.put(raw(txid)));
  const auto job = schedule().next(full, at_second(12));
  ASSERT_TRUE(job);
  EXPECT_EQ(job->output(), (ObjectName{1, Txid(1), Txid(9)}));
}

TEST(CompactionSchedule, DoesNotMergeWhatWasMadeOnAnotherState) {
  const LogView view = view_of(raw(1), raw(2), raw(3), raw_on(4, 33), raw_on(5, 4), raw(11));
  const auto first = schedule().next(view, at_second(12));
  ASSERT_TRUE(first);
  EXPECT_EQ(first->output(), (ObjectName{1, Txid(1), Txid(3)}));
  LogView merged = view;
  ASSERT_TRUE(merged.put(compacted(1, 1, 3)));
  const auto second = schedule().next(merged, at_second(12));
  ASSERT_TRUE(second);
  EXPECT_EQ(second->output(), (ObjectName{1, Txid(4), Txid(5)}));
}

TEST(CompactionSchedule, MergesOnlyWhatIsNew) {
  const LogView view = view_of(compacted(1, 1, 9), raw(8), raw(9), raw(10), raw(11));
  const auto job = schedule().next(view, at_second(25));
  ASSERT_TRUE(job);
  EXPECT_EQ(job->output(), (ObjectName{1, Txid(10), Txid(11)}));
  EXPECT_FALSE(schedule().next(view_of(compacted(1, 1, 9), raw(9)), at_second(25)));
}

TEST(CompactionSchedule, NeverSpansTwoIntervalsEvenWhenItIsLate) {
  LogView view;
  for (std::uint64_t txid = 1; txid <= 95; ++txid) ASSERT_TRUE(view.put(raw(txid)));
  int jobs = 0;
  while (const auto job = schedule().next(view, at_second(100))) {
    const auto interval = interval_start(job->inputs.front().created_at, 10s);
    for (const Object& input : job->inputs) EXPECT_EQ(interval_start(input.created_at, 10s), interval);
    const ObjectName name = job->output();
    ASSERT_TRUE(view.put(compacted(job->level, name.min.value(), name.max.value())));
    ++jobs;
  }
  EXPECT_EQ(jobs, 10);
}

TEST(CompactionSchedule, FeedsEachLevelFromTheOneBelow) {
  LogView view;
  for (std::uint64_t txid = 1; txid <= 700; ++txid) ASSERT_TRUE(view.put(raw(txid)));
  bool second_level = false;
  while (const auto job = schedule().next(view, at_second(700))) {
    const ObjectName name = job->output();
    for (const Object& input : job->inputs) EXPECT_EQ(input.name.level, job->level - 1);
    ASSERT_TRUE(view.put(compacted(job->level, name.min.value(), name.max.value())));
    second_level |= job->level == 2;
  }
  EXPECT_TRUE(second_level);
  EXPECT_EQ(view.level(1).size(), 70U);
  EXPECT_EQ(view.level(2).size(), 2U);
}

TEST(CompactionSchedule, RespectsItsLimits) {
  LogView view;
  for (std::uint64_t txid = 1; txid <= 10; ++txid) {
    ASSERT_TRUE(view.put(ObjectMaker{.min = txid, .max = txid, .second = 1, .size = 100}));
  }
  EXPECT_EQ(schedule({.inputs_max = 4}).next(view, at_second(20))->output().max, Txid(4));
  EXPECT_EQ(schedule({.input_bytes_max = 350}).next(view, at_second(20))->output().max, Txid(3));
  EXPECT_EQ(schedule({.input_bytes_max = 1}).next(view, at_second(20))->output().max, Txid(1));
}

TEST(CompactionSchedule, DoesNotWaitForATimeFarInTheFuture) {
  // The clock stood a year ahead while TXID 1 was written.
  LogView view = view_of(ObjectMaker{.min = 1, .max = 1, .second = 365LL * 86400});
  EXPECT_FALSE(schedule({.inputs_max = 4}).next(view, at_second(100)));
  for (std::uint64_t txid = 2; txid <= 9; ++txid) ASSERT_TRUE(view.put(raw(txid)));
  EXPECT_EQ(schedule({.inputs_max = 4}).next(view, at_second(100))->output().max, Txid(4));
}

TEST(CompactionSchedule, DoesNotMergeAcrossAHole) {
  const LogView view = view_of(raw(1), raw(2), raw(5), raw(6));
  EXPECT_EQ(schedule().next(view, at_second(20))->output(), (ObjectName{1, Txid(1), Txid(2)}));
  const LogView later = view_of(compacted(1, 1, 2), raw(5), raw(6));
  EXPECT_EQ(schedule().next(later, at_second(20))->output(), (ObjectName{1, Txid(5), Txid(6)}));
}

TEST(CompactionSchedule, OverlapsRatherThanLeavesAHole) {
  const LogView view = view_of(compacted(2, 1, 10), compacted(1, 8, 12));
  EXPECT_EQ(schedule().next(view, at_second(400))->output(), (ObjectName{2, Txid(8), Txid(12)}));
}

TEST(CompactionSchedule, SaysWhenToAskAgain) {
  EXPECT_EQ(schedule().next_time(at_second(12)), at_second(20));
  EXPECT_EQ(schedule().next_time(at_second(20)), at_second(30));
}

TEST(CompactionSchedule, RefusesLevelsOutOfOrder) {
  const auto refused = [](std::vector<CompactionLevel> levels) {
    return CompactionSchedule::create({.levels = std::move(levels)}).error().code() ==
           ErrorCode::invalid_argument;
  };
  EXPECT_TRUE(refused({{0, 10s}}));
  EXPECT_TRUE(refused({{9, 10s}}));
  EXPECT_TRUE(refused({{1, 10ms}}));
  EXPECT_TRUE(refused({{2, 10s}, {1, 20s}}));
  EXPECT_TRUE(refused({{1, 20s}, {2, 10s}}));
  EXPECT_TRUE(CompactionSchedule::create({.levels = {}}));
}

}  // namespace
}  // namespace litecluster::log
