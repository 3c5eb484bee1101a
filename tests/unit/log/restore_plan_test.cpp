#include "log/restore_plan.hpp"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <random>
#include <set>

#include "unit/log/make_object.hpp"

namespace litecluster::log {
namespace {

using test::at_second;
using test::compacted;
using test::ObjectMaker;
using test::raw;
using test::raw_on;
using test::view_of;

std::vector<std::string> names(const RestorePlan& plan) {
  std::vector<std::string> all;
  for (const Object& object : plan.objects) {
    all.push_back(std::to_string(object.name.level) + ":" + std::to_string(object.name.min.value()) + "-" +
                  std::to_string(object.name.max.value()));
  }
  return all;
}

using Names = std::vector<std::string>;

TEST(RestorePlan, StartsFromTheNewestSnapshotAndTakesLongSteps) {
  const LogView view = view_of(compacted(9, 1, 10), compacted(9, 1, 20), compacted(2, 15, 30), raw(21),
                               raw(22), compacted(1, 29, 33), raw(33), raw(34));
  const auto plan = plan_restore(view, RestoreTarget::latest());
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(names(*plan), (Names{"9:1-20", "2:15-30", "1:29-33", "0:34-34"}));
  EXPECT_EQ(plan->txid(), Txid(34));
  EXPECT_EQ(plan->size(), 4000U);
}

TEST(RestorePlan, NeedsNoSnapshotWhenAnObjectBeginsAtOne) {
  const auto plan = plan_restore(view_of(compacted(1, 1, 5), raw(6)), RestoreTarget::latest());
  ASSERT_TRUE(plan);
  EXPECT_EQ(names(*plan), (Names{"1:1-5", "0:6-6"}));
}

TEST(RestorePlan, PrefersTheSmallerMinThenTheHigherLevelThenTheEarlierTime) {
  const LogView view = view_of(compacted(9, 1, 5), compacted(1, 6, 9), compacted(2, 6, 9), compacted(3, 7, 9),
                               compacted(1, 5, 8));
  const auto plan = plan_restore(view, RestoreTarget::latest());
  ASSERT_TRUE(plan);
  EXPECT_EQ(names(*plan), (Names{"9:1-5", "2:6-9"}));
}

// Servers lost the TXID 3 on which 4 was made; another one took its place.
TEST(RestorePlan, EndsWhereAnObjectWasMadeOnAnotherState) {
  const LogView view = view_of(raw(1), raw(2), raw(3), raw_on(4, 33), raw_on(5, 4));
  EXPECT_EQ(plan_restore(view, RestoreTarget::latest()).error().code(), ErrorCode::gap);
  EXPECT_EQ(plan_restore(view, RestoreTarget::at(Txid(5))).error().code(), ErrorCode::gap);
  EXPECT_EQ(plan_onward(view, Txid(2), RestoreTarget::latest()).error().code(), ErrorCode::gap);
  EXPECT_EQ(plan_onward(view, raw(3), RestoreTarget::latest()).error().code(), ErrorCode::gap);
  EXPECT_TRUE(plan_onward(view, Txid(3), RestoreTarget::latest())) << "nobody says of which state";
  const auto before = plan_restore(view, RestoreTarget::at(Txid(3)));
  ASSERT_TRUE(before) << before.error().message();
  EXPECT_EQ(before->txid(), Txid(3));
  const auto reachable = plan_reachable(view);
  ASSERT_TRUE(reachable);
  EXPECT_EQ(reachable->txid(), Txid(3));
  // A snapshot leads over it.
  LogView healed = view;
  ASSERT_TRUE(healed.put(compacted(9, 1, 4)));
  const auto plan = plan_restore(healed, RestoreTarget::latest());
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(names(*plan), (Names{"9:1-4", "0:5-5"}));
}

TEST(RestorePlan, ToATxidNeverGoesBeyondIt) {
  const LogView view = view_of(raw(1), raw(2), raw(3), compacted(1, 1, 3), compacted(9, 1, 3));
  const auto plan = plan_restore(view, RestoreTarget::at(Txid(2)));
  ASSERT_TRUE(plan);
  EXPECT_EQ(names(*plan), (Names{"0:1-1", "0:2-2"}));
}

TEST(RestorePlan, ToATimeTakesTheStateFromBeforeIt) {
  const LogView view = view_of(raw(1), raw(2), raw(3));
  EXPECT_EQ(plan_restore(view, RestoreTarget::before(at_second(3)))->txid(), Txid(2));
  EXPECT_EQ(plan_restore(view, RestoreTarget::before(at_second(4)))->txid(), Txid(3));
  EXPECT_EQ(plan_restore(view, RestoreTarget::before(at_second(4000)))->txid(), Txid(3));
  const auto early = plan_restore(view, RestoreTarget::before(at_second(1)));
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().code(), ErrorCode::not_found);
  EXPECT_NE(early.error().message().find("2023-11-20T00:00:01Z"), std::string::npos);
}

TEST(RestorePlan, ToATimeInsideACompactedObjectStopsBeforeIt) {
  const LogView view = view_of(compacted(1, 1, 5), compacted(1, 6, 10), raw(11));
  EXPECT_EQ(plan_restore(view, RestoreTarget::before(at_second(8)))->txid(), Txid(5));
}

TEST(RestorePlan, ToATimeIsNotConfusedByAClockThatWentBack) {
  const LogView view = view_of(raw(1), ObjectMaker{.min = 2, .max = 2, .second = 100}, raw(3));
  EXPECT_EQ(plan_restore(view, RestoreTarget::before(at_second(50)))->txid(), Txid(1));
}

TEST(RestorePlan, NamesTheHole) {
  const auto plan = plan_restore(view_of(raw(1), raw(2), raw(5), raw(6)), RestoreTarget::latest());
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code(), ErrorCode::gap);
  EXPECT_NE(plan.error().message().find("TXIDs 0000000000000003 to 0000000000000004"), std::string::npos);
  EXPECT_EQ(plan_restore(view_of(raw(1), raw(3)), RestoreTarget::before(at_second(9))).error().code(),
            ErrorCode::gap);
}

TEST(RestorePlan, NamesTheNearestTxidsThatCanBeRestored) {
  const LogView view = view_of(compacted(1, 1, 5), compacted(1, 6, 10), raw(11));
  const auto plan = plan_restore(view, RestoreTarget::at(Txid(7)));
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code(), ErrorCode::not_found);
  EXPECT_NE(plan.error().message().find("before it is 0000000000000005"), std::string::npos);
  EXPECT_NE(plan.error().message().find("after it is 000000000000000a"), std::string::npos);
  EXPECT_NE(plan_restore(view, RestoreTarget::at(Txid(12))).error().message().find("ends at"),
            std::string::npos);
}

TEST(RestorePlan, OfAnEmptyLogSaysSo) {
  EXPECT_EQ(plan_restore(LogView(), RestoreTarget::latest()).error().code(), ErrorCode::not_found);
  EXPECT_EQ(plan_restore(view_of(raw(1)), RestoreTarget::at(Txid(0))).error().code(),
            ErrorCode::invalid_argument);
}

TEST(RestorePlan, LeavesStaleObjectsOut) {
  const LogView view = view_of(raw(1, 1), raw(2, 2), raw(3, 1));
  EXPECT_EQ(plan_restore(view, RestoreTarget::latest())->txid(), Txid(2));
}

/// Every TXID that some chain of objects reaches, by trying all of them.
std::set<std::uint64_t> reachable(const LogView& view, const RestoreTarget& target) {
  std::set<std::uint64_t> states{0};
  bool grown = true;
  const auto fits = [&target](const Object& object) {
    return target.txid ? object.name.max <= *target.txid : !target.time || object.created_at < *target.time;
  };
  while (grown) {
    grown = false;
    for (int level = 0; level < level_count; ++level) {
      for (const auto& [name, object] : view.level(level)) {
        if (!fits(object)) continue;
        for (const std::uint64_t state : std::set(states)) {
          // A snapshot replaces everything, a delta continues.
          const bool follows = name.min.value() <= state + 1 && name.max.value() > state;
          if (follows && states.insert(name.max.value()).second) grown = true;
        }
      }
    }
  }
  return states;
}

bool is_chain(const RestorePlan& plan) {
  Txid reached;
  for (const Object& object : plan.objects) {
    if (object.name.min > reached.next() || object.name.max <= reached) return false;
    reached = object.name.max;
  }
  return true;
}

TEST(RestorePlanProperty, ReachesExactlyWhatTryingEverythingReaches) {
  std::mt19937 random(7);
  const auto pick = [&random](int low, int high) {
    return static_cast<std::uint64_t>(std::uniform_int_distribution<int>(low, high)(random));
  };
  for (int round = 0; round < 3000; ++round) {
    LogView view;
    const int count = static_cast<int>(pick(1, 12));
    for (int index = 0; index < count; ++index) {
      const int level = static_cast<int>(pick(0, 3)) * 3;
      const auto min = level == 9 ? 1 : pick(1, 12);
      const auto max = level == 0 ? min : min + pick(0, 5);
      ASSERT_TRUE(view.put(ObjectMaker{
          .level = level, .min = min, .max = max, .second = static_cast<std::int64_t>(pick(1, 20))}));
    }
    const std::uint64_t end = view.end().txid.value();
    for (std::uint64_t txid = 1; txid <= end; ++txid) {
      const auto target = RestoreTarget::at(Txid(txid));
      const auto plan = plan_restore(view, target);
      EXPECT_EQ(plan.has_value(), reachable(view, target).contains(txid));
      if (plan) {
        EXPECT_TRUE(is_chain(*plan));
        EXPECT_EQ(plan->txid(), Txid(txid));
      }
    }
    const auto latest = plan_restore(view, RestoreTarget::latest());
    EXPECT_EQ(latest.has_value(), reachable(view, RestoreTarget::latest()).contains(end));
    for (std::int64_t second = 1; second <= 21; ++second) {
      const auto target = RestoreTarget::before(at_second(second));
      const auto plan = plan_restore(view, target);
      if (!plan) continue;
      EXPECT_TRUE(is_chain(*plan));
      EXPECT_EQ(plan->txid().value(), *reachable(view, target).rbegin());
      for (const Object& object : plan->objects) EXPECT_LT(object.created_at, *target.time);
    }
  }
}

}  // namespace
}  // namespace litecluster::log
