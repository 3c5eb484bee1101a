// Which fences go on in a child process, and when all are through.
#include "backend/guard_fences.hpp"

#include <gtest/gtest.h>

namespace litecluster::backend {
namespace {

/// Each drop() goes on in "process" 1, 2, 3, ...
class StartingFence final : public Fence {
 public:
  pid_t drop() noexcept override { return ++drops; }
  int drops = 0;
};

class GuardFencesTest : public testing::Test {
 protected:
  std::shared_ptr<StartingFence> fence = std::make_shared<StartingFence>();
  std::vector<std::shared_ptr<Fence>> all{fence};
  GuardFences fences{all};
};

TEST_F(GuardFencesTest, AreThroughWhenTheirProcessHasEndedWell) {
  EXPECT_TRUE(fences.through());
  fences.drop();
  EXPECT_FALSE(fences.through());
  EXPECT_FALSE(fences.ended(77, 0)) << "somebody else's";
  EXPECT_TRUE(fences.ended(1, 0));
  EXPECT_TRUE(fences.through());
}

TEST_F(GuardFencesTest, OneThatFailedIsNotThroughUntilItSucceeds) {
  fences.drop();
  EXPECT_TRUE(fences.ended(1, 256));
  EXPECT_FALSE(fences.through()) << "what was to be dropped may still be there";
  fences.drop();
  EXPECT_TRUE(fences.ended(2, 0));
  EXPECT_TRUE(fences.through());
}

TEST_F(GuardFencesTest, OneThatIsWantedMeanwhileIsDroppedOnceMore) {
  fences.drop();
  fences.drop();
  fences.drop();
  EXPECT_EQ(fence->drops, 1);
  EXPECT_TRUE(fences.ended(1, 0));
  EXPECT_EQ(fence->drops, 2);
  EXPECT_FALSE(fences.through());
  EXPECT_TRUE(fences.ended(2, 0));
  EXPECT_TRUE(fences.through());
}

TEST_F(GuardFencesTest, WhatIsWantedAgainIsNotDroppedOnceMore) {
  fences.drop();
  fences.drop();
  fences.forget_again();
  EXPECT_TRUE(fences.ended(1, 0));
  EXPECT_EQ(fence->drops, 1);
  EXPECT_TRUE(fences.through());
}

}  // namespace
}  // namespace litecluster::backend
