#include "log/retention.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "log/compaction_schedule.hpp"
#include "log/restore_plan.hpp"
#include "log/snapshot_schedule.hpp"
#include "unit/log/make_object.hpp"

namespace litecluster::log {
namespace {

using namespace std::chrono_literals;
using test::at_second;
using test::compacted;
using test::ObjectMaker;
using test::raw;
using test::view_of;

// All of it has been in the bucket for long.
constexpr Revision everything{1'000'000};

std::vector<ObjectName> removed(const LogView& view, base::WallTime now, RetentionPolicy policy = {}) {
  std::vector<ObjectName> names;
  const auto plan = plan_retention(view, policy, now, everything);
  if (!plan) return names;
  for (const Object& object : *plan) names.push_back(object.name);
  return names;
}

using Removed = std::vector<ObjectName>;

TEST(Retention, RemovesRawObjectsOnceCompactedAndPastTheGrace) {
  const LogView view = view_of(raw(1), raw(2), raw(3), raw(4), compacted(1, 1, 2));
  EXPECT_TRUE(removed(view, at_second(300)).empty());
  // TXID 2 is still promised, and it is reached through 1.
  EXPECT_TRUE(removed(view, at_second(302)).empty());
  EXPECT_EQ(removed(view, at_second(303)), (Removed{ObjectName::raw(Txid(1)), ObjectName::raw(Txid(2))}));
  EXPECT_EQ(removed(view, at_second(9000)), (Removed{ObjectName::raw(Txid(1)), ObjectName::raw(Txid(2))}));
}

// Epoch 1 wrote 5 behind the fence of epoch 2; what follows it in the stream says nothing of that.
TEST(Retention, KeepsWhatShowsThatAnObjectIsStale) {
  const LogView view =
      view_of(raw(1, 1, 10), raw(2, 2, 20), raw(5, 1, 30), raw(3, 3, 40), raw(4, 3, 50), compacted(1, 1, 3));
  ASSERT_EQ(view.stale().size(), 1U);
  ASSERT_EQ(view.end().txid, Txid(4));
  const auto gone = removed(view, at_second(9000));
  EXPECT_EQ(gone, (Removed{ObjectName::raw(Txid(1)), ObjectName::raw(Txid(3))}));
  LogView listed;
  for (const Object& object : {raw(2, 2, 20), raw(5, 1, 30), raw(4, 3, 50)}) {
    ASSERT_TRUE(listed.put(object));
  }
  EXPECT_EQ(listed.end().txid, Txid(4));
}

TEST(Retention, NeverRemovesTheNewestRawObject) {
  const LogView view = view_of(raw(1), raw(2), compacted(1, 1, 2), compacted(9, 1, 2));
  EXPECT_EQ(removed(view, at_second(1'000'000)), (Removed{ObjectName::raw(Txid(1))}));
}

TEST(Retention, KeepsTheNewestSnapshotFromBeforeTheRetention) {
  const LogView view =
      view_of(compacted(9, 1, 10), compacted(9, 1, 20), compacted(9, 1, 30), compacted(1, 1, 10),
              compacted(1, 11, 20), compacted(1, 21, 30), compacted(1, 31, 40), raw(40));
  const RetentionPolicy policy{.retention = 60s};
  EXPECT_EQ(removed(view, at_second(60 + 25), policy),
            (Removed{{1, Txid(1), Txid(10)}, {1, Txid(11), Txid(20)}, {9, Txid(1), Txid(10)}}));
}

TEST(Retention, RemovesNoCompactedObjectWithoutASnapshot) {
  const LogView view = view_of(compacted(1, 1, 10), compacted(1, 11, 20), compacted(2, 1, 20), raw(20));
  EXPECT_TRUE(removed(view, at_second(10'000'000)).empty());
}

TEST(Retention, NeverGoesBelowTheSmallestGrace) {
  const LogView view = view_of(raw(1), raw(2), compacted(1, 1, 2));
  EXPECT_TRUE(removed(view, at_second(60), {.raw_grace = 0s}).empty());
  EXPECT_FALSE(removed(view, at_second(63), {.raw_grace = 0s}).empty());
}

TEST(Retention, ClearsAwayStaleObjects) {
  const LogView view = view_of(raw(1, 1), raw(2, 2), raw(3, 2), ObjectMaker{.min = 2, .max = 2, .epoch = 2});
  LogView with_stale = view;
  ASSERT_TRUE(with_stale.put(ObjectMaker{.min = 1, .max = 1, .epoch = 1, .sequence = 999}));
  ASSERT_EQ(with_stale.stale().size(), 1U);
  EXPECT_TRUE(removed(with_stale, at_second(100)).empty());
}

TEST(Retention, TouchesNothingWhenTheLogIsBroken) {
  const LogView view = view_of(compacted(1, 2, 5), raw(2), raw(3), raw(4), raw(5));
  EXPECT_FALSE(plan_retention(view, {}, at_second(9000), everything));
}

TEST(Retention, ClearsAwayStaleObjectsBeforeThoseThatTellThatTheyAre) {
  LogView view = view_of(raw(3, 2), raw(4, 2), raw(5, 2), compacted(1, 1, 4));
  ASSERT_TRUE(view.put(ObjectMaker{.min = 2, .max = 2, .epoch = 1, .sequence = 60}));
  ASSERT_EQ(view.stale().size(), 1U);
  EXPECT_EQ(removed(view, at_second(9000)),
            (Removed{ObjectName::raw(Txid(2)), ObjectName::raw(Txid(3)), ObjectName::raw(Txid(4))}));
}

TEST(Retention, DoesNotWaitForTheFutureOfAClockThatWasWrong) {
  LogView view = view_of(raw(1), raw(2));
  ASSERT_TRUE(view.put(ObjectMaker{.min = 3, .max = 3, .second = 40'000'000}));
  ASSERT_TRUE(view.put(ObjectMaker{.level = 1, .min = 1, .max = 3, .second = 40'000'000}));
  ASSERT_TRUE(view.put(raw(4)));
  EXPECT_EQ(removed(view, at_second(9000)),
            (Removed{ObjectName::raw(Txid(1)), ObjectName::raw(Txid(2)), ObjectName::raw(Txid(3))}));
}

class RetentionClockTest : public ::testing::Test {
 protected:
  static base::WallTime wall(base::Duration since) {
    return at_second(1'000'000) + std::chrono::duration_cast<std::chrono::milliseconds>(since);
  }
  static base::BootTime boot(base::Duration since) { return base::BootTime(1000h + since); }
  RetentionTimes at(base::Duration wall_since, base::Duration boot_since) {
    return clock_.at(wall(wall_since), boot(boot_since), policy_);
  }

  RetentionPolicy policy_;
  RetentionClock clock_{wall(-1s), wall(0s), boot(0s)};
};

TEST_F(RetentionClockTest, GoesByAClockThatRunsAsItShould) {
  for (const auto passed : {1h, 2h, 50h}) EXPECT_EQ(at(passed, passed).history, wall(passed));
  EXPECT_EQ(at(49h, 51h).history, wall(49h)) << "one that is set back is believed";
  EXPECT_EQ(at(50h, 52h).history, wall(50h));
}

TEST_F(RetentionClockTest, DoesNotLetAJumpMakeHistoryOld) {
  EXPECT_EQ(at(1h, 1h).history, wall(1h));
  EXPECT_EQ(at(8761h, 2h).history, wall(2h));
  EXPECT_EQ(at(8761h, 2h).now, wall(8761h));
  EXPECT_EQ(at(8784h, 25h).history, wall(25h));
  EXPECT_EQ(at(8785h, 26h).history, wall(8785h)) << "after the retention all from before the jump is old";
}

TEST_F(RetentionClockTest, ForgetsAJumpThatWasTakenBack) {
  EXPECT_EQ(at(0s, 0s).history, wall(0s));
  EXPECT_EQ(at(8761h, 1h).history, wall(1h));
  EXPECT_EQ(at(2h, 2h).history, wall(2h));
  EXPECT_EQ(at(8761h, 27h).history, wall(27h)) << "the time ahead begins to count anew";
}

TEST_F(RetentionClockTest, CountsFromTheLogWhenATermBegins) {
  clock_ = RetentionClock(wall(-9000h), wall(0s), boot(0s));
  EXPECT_EQ(at(1h, 1h).history, wall(-8999h));
  EXPECT_EQ(at(25h, 25h).history, wall(25h));
}

TEST(Retention, RemovesNothingOfHistoryBecauseAClockJumped) {
  const LogView view = view_of(compacted(9, 1, 10), compacted(9, 1, 20), compacted(9, 1, 30), raw(31));
  const RetentionPolicy policy{.retention = 60s};
  const auto jumped = at_second(30'000'000);
  EXPECT_TRUE(plan_retention(view, policy, {jumped, at_second(41)}, everything)->empty());
  EXPECT_EQ(plan_retention(view, policy, jumped, everything)->size(), 2U);
}

/// Runs compaction, snapshots and retention over a random history, and asks after every step whether the
/// promise of retention.hpp holds. The full history is known, so the right answers are too.
class RetentionSimulation {
 public:
  explicit RetentionSimulation(unsigned seed) : random_(seed) {}

  void run() {
    for (int step = 0; step < 400; ++step) {
      now_ += std::chrono::milliseconds(pick(1, 20'000));
      for (auto count = pick(0, 6); count > 0; --count) append();
      if (pick(0, 9) > 1) compact();
      if (snapshot_due(view_, view_.end().txid, now_, 300s) && pick(0, 2) > 0) snapshot();
      retain();
      check();
      if (::testing::Test::HasFailure()) return;
    }
    EXPECT_GT(removed_, 500);
  }

 private:
  static constexpr RetentionPolicy policy{.raw_grace = 60s, .retention = 1800s};

  std::int64_t pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }

  void put(ObjectName name, base::WallTime created_at) {
    Object object;
    object.name = name;
    object.created_at = created_at;
    object.author = test::author(1);
    object.sequence = Revision(++sequence_);
    ASSERT_TRUE(view_.put(object));
  }

  void append() {
    now_ += std::chrono::milliseconds(pick(0, 2000));
    history_.push_back(now_);
    put(ObjectName::raw(Txid(history_.size())), now_);
  }

  void compact() {
    while (const auto job = schedule_.next(view_, now_)) {
      if (pick(0, 9) == 0) return;
      put(job->output(), job->inputs.back().created_at);
    }
  }

  void snapshot() { put(ObjectName::snapshot(Txid(history_.size())), history_.back()); }

  void retain() {
    const auto removals = plan_retention(view_, policy, now_, everything);
    ASSERT_TRUE(removals) << removals.error().message();
    // Killed half-way as often as not.
    const auto limit = static_cast<std::size_t>(pick(0, 1) == 0 ? pick(0, 20) : 1'000'000);
    for (std::size_t index = 0; index < std::min(limit, removals->size()); ++index) {
      view_.forget((*removals)[index].name);
      ++removed_;
    }
  }

  void check() {
    if (history_.empty()) return;
    ASSERT_EQ(plan_restore(view_, RestoreTarget::latest())->txid(), Txid(history_.size()));
    for (std::size_t txid = history_.size(); txid > 0 && history_[txid - 1] >= now_ - 60s; --txid) {
      EXPECT_TRUE(plan_restore(view_, RestoreTarget::at(Txid(txid)))) << txid;
    }
    for (int count = 0; count < 5; ++count) {
      check_time(now_ - std::chrono::milliseconds(pick(0, 1'800'000)));
    }
    check_time(now_ - std::chrono::seconds(1800));
  }

  void check_time(base::WallTime time) {
    // Everything from before the interval that `time` lies in has to be there, and nothing from `time` on.
    const auto from = interval_start(time, 10s);
    const auto least =
        static_cast<std::uint64_t>(std::ranges::lower_bound(history_, from) - history_.begin());
    const auto most = static_cast<std::uint64_t>(std::ranges::lower_bound(history_, time) - history_.begin());
    if (least == 0) return;
    const auto plan = plan_restore(view_, RestoreTarget::before(time));
    ASSERT_TRUE(plan) << plan.error().message();
    EXPECT_GE(plan->txid().value(), least);
    EXPECT_LE(plan->txid().value(), most);
  }

  std::mt19937 random_;
  base::WallTime now_ = test::start_time;
  std::vector<base::WallTime> history_;
  LogView view_;
  std::uint64_t sequence_ = 0;
  int removed_ = 0;
  CompactionSchedule schedule_ = *CompactionSchedule::create(
      {.levels = {{1, 10s}, {2, 60s}, {3, 300s}}, .inputs_max = 256, .input_bytes_max = 1 << 20});
};

TEST(RetentionProperty, KeepsEveryPromisedStateRestorable) {
  for (unsigned seed = 1; seed <= 12; ++seed) RetentionSimulation(seed).run();
}

}  // namespace
}  // namespace litecluster::log
