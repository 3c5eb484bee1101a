#include "app/hook_queue.hpp"

#include <gtest/gtest.h>

namespace litecluster::app {
namespace {

using namespace std::chrono_literals;
using base::BootTime;

class HookQueueTest : public ::testing::Test {
 protected:
  static BootTime at(base::Duration since) { return BootTime(100s) + since; }
  template <typename Action>
  std::vector<Action> take() {
    std::vector<Action> found;
    for (const HookAction& action : queue_.take_actions()) {
      if (const auto* one = std::get_if<Action>(&action)) found.push_back(*one);
    }
    return found;
  }
  HookQueue queue_{10s, 2s};
};

TEST_F(HookQueueTest, HooksRunOneAtATimeAndInOrder) {
  for (const HookId hook : {HookId{1}, HookId{2}, HookId{3}}) queue_.submit(at(0s), hook);
  for (const HookId hook : {HookId{1}, HookId{2}, HookId{3}}) {
    const auto started = take<StartHook>();
    ASSERT_EQ(started.size(), 1U);
    EXPECT_EQ(started[0].hook, hook);
    queue_.finished(at(1s), started[0].worker);
  }
  EXPECT_TRUE(queue_.idle());
}

TEST_F(HookQueueTest, OneThatHangsIsCancelledThenGivenUpAndTheNextRunsElsewhere) {
  queue_.submit(at(0s), 1);
  queue_.submit(at(0s), 2);
  const WorkerId worker = take<StartHook>()[0].worker;
  EXPECT_EQ(queue_.next_tick(), at(10s));
  queue_.tick(at(10s));
  EXPECT_EQ(take<CancelHookContext>().size(), 1U);
  EXPECT_EQ(queue_.next_tick(), at(12s));
  queue_.tick(at(12s));
  std::vector<HookAction> actions = queue_.take_actions();
  ASSERT_EQ(actions.size(), 3U);
  EXPECT_EQ(std::get<FailHook>(actions[0]).failure, HookFailure::gave_up);
  EXPECT_EQ(std::get<StuckChanged>(actions[1]).stuck, 1U);
  EXPECT_EQ(std::get<StartHook>(actions[2]).hook, 2U);
  EXPECT_NE(std::get<StartHook>(actions[2]).worker, worker);
  queue_.finished(at(13s), worker);
  EXPECT_EQ(take<StuckChanged>()[0].stuck, 0U);
  EXPECT_FALSE(queue_.idle()) << "the second is still running";
}

TEST_F(HookQueueTest, ACallThatIsCancelledByItsOwnerGetsTheGraceOnly) {
  queue_.submit(at(0s), 1);
  queue_.cancelled(at(1s), 1);
  EXPECT_EQ(queue_.next_tick(), at(3s));
  queue_.tick(at(3s));
  EXPECT_EQ(take<FailHook>().size(), 1U);
}

TEST_F(HookQueueTest, WithTooManyStuckAllThatIsDueFailsUntilOneComesBack) {
  for (std::size_t number = 0; number < HookQueue::stuck_max; ++number) {
    queue_.submit(at(0s), number);
    queue_.cancelled(at(0s), number);
    queue_.tick(at(2s));
  }
  static_cast<void>(queue_.take_actions());
  queue_.submit(at(3s), 100);
  const auto failed = take<FailHook>();
  ASSERT_EQ(failed.size(), 1U);
  EXPECT_EQ(failed[0].failure, HookFailure::all_stuck);
  queue_.finished(at(4s), 1);
  queue_.submit(at(5s), 101);
  EXPECT_EQ(take<StartHook>().size(), 1U);
}

TEST_F(HookQueueTest, NewsThatHangDoNotTakeTheLastWorkersFromDuties) {
  for (std::size_t number = 0; number < HookQueue::stuck_max_news; ++number) {
    queue_.submit(at(0s), number, HookRank::news);
    queue_.cancelled(at(0s), number);
    queue_.tick(at(2s));
  }
  static_cast<void>(queue_.take_actions());
  queue_.submit(at(3s), 100, HookRank::news);
  EXPECT_EQ(take<FailHook>()[0].failure, HookFailure::all_stuck);
  queue_.submit(at(3s), 101, HookRank::duty);
  EXPECT_EQ(take<StartHook>()[0].hook, 101U);
}

TEST_F(HookQueueTest, RefusesMoreThanItsLimitOfEachRank) {
  for (HookId hook = 0; hook <= HookQueue::waiting_max; ++hook) queue_.submit(at(0s), hook, HookRank::news);
  EXPECT_TRUE(take<FailHook>().empty());
  queue_.submit(at(0s), 9998, HookRank::duty);
  EXPECT_TRUE(take<FailHook>().empty()) << "it does not matter to a duty how many news wait";
  queue_.submit(at(0s), 9999, HookRank::news);
  EXPECT_EQ(take<FailHook>()[0].failure, HookFailure::queue_full);
}

TEST_F(HookQueueTest, DutiesGoBeforeNewsAndEachKeepTheirOrder) {
  queue_.submit(at(0s), 1, HookRank::news);
  queue_.submit(at(0s), 2, HookRank::news);
  queue_.submit(at(0s), 3, HookRank::duty);
  queue_.submit(at(0s), 4, HookRank::news);
  queue_.submit(at(0s), 5, HookRank::duty);
  for (const HookId hook : {HookId{1}, HookId{3}, HookId{5}, HookId{2}, HookId{4}}) {
    const auto started = take<StartHook>();
    ASSERT_EQ(started.size(), 1U);
    EXPECT_EQ(started[0].hook, hook);
    queue_.finished(at(1s), started[0].worker);
  }
  EXPECT_TRUE(queue_.idle());
}

TEST_F(HookQueueTest, WhenNewsAreNotAllowedARunningOneMakesWayAndTheOthersWait) {
  queue_.submit(at(0s), 1, HookRank::news);
  queue_.submit(at(0s), 2, HookRank::news);
  queue_.allow(at(1s), HookRank::duty);
  EXPECT_TRUE(take<CancelHookContext>().empty()) << "it is in nobody's way yet";
  queue_.submit(at(2s), 3, HookRank::duty);
  const auto cancelled = take<CancelHookContext>();
  ASSERT_EQ(cancelled.size(), 1U);
  EXPECT_EQ(cancelled[0].hook, 1U);
  EXPECT_TRUE(cancelled[0].in_the_way);
  EXPECT_EQ(queue_.next_tick(), at(4s)) << "it is given up after the grace";
  queue_.tick(at(4s));
  EXPECT_EQ(take<StartHook>()[0].hook, 3U);
  queue_.finished(at(5s), 2);
  EXPECT_TRUE(take<StartHook>().empty());
  queue_.allow(at(6s), HookRank::news);
  EXPECT_EQ(take<StartHook>()[0].hook, 2U);
}

TEST_F(HookQueueTest, ADutyThatWaitsAlreadyIsNotHeldUpEither) {
  queue_.submit(at(0s), 1, HookRank::news);
  queue_.submit(at(0s), 2, HookRank::duty);
  EXPECT_TRUE(take<CancelHookContext>().empty());
  queue_.allow(at(1s), HookRank::duty);
  EXPECT_EQ(take<CancelHookContext>()[0].hook, 1U);
}

TEST_F(HookQueueTest, NothingButOnStartGoesBeforeItIsAllowed) {
  queue_.allow(at(0s), HookRank::start);
  queue_.submit(at(0s), 1, HookRank::duty);
  queue_.submit(at(0s), 2, HookRank::start);
  EXPECT_EQ(take<StartHook>()[0].hook, 2U);
  queue_.finished(at(1s), 1);
  EXPECT_TRUE(take<StartHook>().empty());
  queue_.drop_waiting();
  EXPECT_EQ(take<FailHook>()[0].failure, HookFailure::cancelled);
  EXPECT_TRUE(queue_.idle());
}

TEST_F(HookQueueTest, ACallThatIsCancelledWhileItWaitsFailsAtOnceAndIsNeverStarted) {
  queue_.submit(at(0s), 1);
  queue_.submit(at(0s), 2);
  queue_.cancelled(at(1s), 2);
  const auto failed = take<FailHook>();
  ASSERT_EQ(failed.size(), 1U);
  EXPECT_EQ(failed[0].hook, 2U);
  EXPECT_EQ(failed[0].failure, HookFailure::cancelled);
  queue_.finished(at(2s), 1);
  EXPECT_TRUE(take<StartHook>().empty());
  queue_.cancelled(at(3s), 2);
  EXPECT_TRUE(take<FailHook>().empty()) << "it has failed only once";
}

}  // namespace
}  // namespace litecluster::app
