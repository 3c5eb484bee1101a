#include "log/catch_up_plan.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <random>

#include "unit/log/make_object.hpp"

namespace litecluster::log {
namespace {

using test::compacted;
using test::ObjectMaker;
using test::raw;
using test::raw_on;
using test::view_of;

TEST(CatchUpPlan, TakesTheFewObjectsBehindTheReplica) {
  const LogView view = view_of(compacted(9, 1, 5), raw(6), raw(7), raw(8),
                               ObjectMaker{.level = 1, .min = 1, .max = 8, .size = 1'000'000});
  const auto plan = plan_catch_up(view, Txid(6));
  ASSERT_TRUE(plan);
  EXPECT_FALSE(plan->reseed);
  ASSERT_EQ(plan->objects.size(), 2U);
  EXPECT_EQ(plan->objects[0].name, ObjectName::raw(Txid(7)));
}

TEST(CatchUpPlan, TakesOneCompactedObjectInsteadOfManySmallOnes) {
  LogView view = view_of(ObjectMaker{.level = 1, .min = 1, .max = 100, .size = 100'000});
  for (std::uint64_t txid = 1; txid <= 101; ++txid) ASSERT_TRUE(view.put(raw(txid)));
  const auto plan = plan_catch_up(view, Txid(10));
  ASSERT_TRUE(plan);
  ASSERT_EQ(plan->objects.size(), 2U);
  EXPECT_EQ(plan->objects[0].name.level, 1);
  EXPECT_EQ(plan->objects[1].name, ObjectName::raw(Txid(101)));
}

TEST(CatchUpPlan, GoesAsFarAsOneObjectIsMadeOnTheOther) {
  const LogView view = view_of(raw(1), raw(2), raw_on(3, 2), raw_on(4, 33), raw_on(5, 4));
  const auto plan = plan_catch_up(view, Txid(1));
  ASSERT_TRUE(plan);
  EXPECT_FALSE(plan->reseed);
  ASSERT_EQ(plan->objects.size(), 2U);
  EXPECT_EQ(plan->objects.back().name, ObjectName::raw(Txid(3)));
}

TEST(CatchUpPlan, SeedsAgainWhenNoChainLeadsOn) {
  const LogView view = view_of(raw(1), compacted(9, 1, 8), raw(9), raw(10));
  const auto plan = plan_catch_up(view, Txid(4));
  ASSERT_TRUE(plan);
  EXPECT_TRUE(plan->reseed);
  EXPECT_EQ(plan->objects[0].name, ObjectName::snapshot(Txid(8)));
  EXPECT_TRUE(plan_catch_up(view, Txid(0))->reseed);
  EXPECT_FALSE(plan_catch_up(view, Txid(8))->reseed);
}

TEST(CatchUpPlan, IsEmptyAtTheEndAndRefusesBeyondIt) {
  const LogView view = view_of(raw(1), raw(2));
  EXPECT_TRUE(plan_catch_up(view, Txid(2))->objects.empty());
  EXPECT_EQ(plan_catch_up(view, Txid(3)).error().code(), ErrorCode::failed_precondition);
  EXPECT_TRUE(plan_catch_up(LogView(), Txid(0))->objects.empty());
}

TEST(CatchUpPlan, ReportsAHoleThatNothingBridges) {
  EXPECT_EQ(plan_catch_up(view_of(raw(1), raw(2), raw(5)), Txid(2)).error().code(), ErrorCode::gap);
}

TEST(CatchUpPlanProperty, IsTheCheapestOfAllChains) {
  std::mt19937 random(11);
  const auto pick = [&random](int low, int high) {
    return static_cast<std::uint64_t>(std::uniform_int_distribution<int>(low, high)(random));
  };
  for (int round = 0; round < 5000; ++round) {
    LogView view;
    std::vector<Object> objects;
    for (std::uint64_t index = pick(1, 14); index > 0; --index) {
      const auto min = pick(1, 12);
      const int level = static_cast<int>(pick(0, 3));
      const Object object = ObjectMaker{
          .level = level, .min = min, .max = level == 0 ? min : min + pick(0, 5), .size = pick(1, 200'000)};
      if (*view.put(object) == LogView::Change::added) objects.push_back(object);
    }
    const Txid from(pick(1, static_cast<int>(view.end().txid.value())));
    // Bellman-Ford over the states.
    std::map<std::uint64_t, std::uint64_t> cost{{from.value(), 0}};
    for (std::size_t step = 0; step < objects.size(); ++step) {
      for (const Object& object : objects) {
        for (const auto& [state, so_far] : std::map(cost)) {
          if (object.name.min.value() > state + 1 || object.name.max.value() <= state) continue;
          const auto total = so_far + object.size + fetch_cost_bytes;
          const auto [known, is_new] = cost.try_emplace(object.name.max.value(), total);
          if (!is_new) known->second = std::min(known->second, total);
        }
      }
    }
    const auto plan = plan_catch_up(view, from);
    const auto best = cost.find(view.end().txid.value());
    ASSERT_EQ(plan.has_value() && !plan->reseed, best != cost.end());
    if (best == cost.end()) continue;
    std::uint64_t total = 0;
    Txid reached = from;
    for (const Object& object : plan->objects) {
      EXPECT_TRUE(object.name.min <= reached.next() && object.name.max > reached);
      reached = object.name.max;
      total += object.size + fetch_cost_bytes;
    }
    EXPECT_EQ(reached, view.end().txid);
    EXPECT_EQ(total, best->second);
  }
}

}  // namespace
}  // namespace litecluster::log
