#include "membership/health_board.hpp"

#include <gtest/gtest.h>

#include <string>

namespace litecluster::membership {
namespace {

TEST(HealthBoard, TheWorstCheckIsTheNodes) {
  HealthBoard board;
  board.report("nats", {});
  board.report("disk", {HealthLevel::warning, "90 % full"});
  board.report("backend", {HealthLevel::critical, "does not answer"});
  EXPECT_EQ(board.health().level, HealthLevel::critical);
  EXPECT_EQ(board.health().reason(), "backend: does not answer");
  board.report("backend", {});
  EXPECT_EQ(board.health().level, HealthLevel::warning);
}

TEST(HealthBoard, AChangeIsToldOnceAndAReasonAloneIsNoChange) {
  HealthBoard board;
  board.report("nats", {});
  EXPECT_FALSE(board.take_change());
  board.report("disk", {HealthLevel::warning, "90 % full"});
  EXPECT_TRUE(board.take_change());
  EXPECT_FALSE(board.take_change());
  board.report("disk", {HealthLevel::warning, "91 % full"});
  EXPECT_FALSE(board.take_change());
  EXPECT_EQ(board.health().reason(), "disk: 91 % full");
  board.report("disk", {});
  const auto change = board.take_change();
  ASSERT_TRUE(change);
  EXPECT_EQ(change->level, HealthLevel::passing);
  EXPECT_EQ(change->reason(), "");
}

TEST(HealthBoard, RefusesMoreChecksThanItsLimit) {
  HealthBoard board;
  for (std::size_t number = 0; number < health_checks_max; ++number) {
    EXPECT_TRUE(board.report(std::to_string(number), {}));
  }
  EXPECT_FALSE(board.report("one more", {}));
  EXPECT_TRUE(board.report("0", {HealthLevel::warning, "known ones still count"}));
}

}  // namespace
}  // namespace litecluster::membership
