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

TEST_F(HookQueueTest, RefusesMoreThanItsLimit) {
  for (HookId hook = 0; hook <= HookQueue::waiting_max; ++hook) queue_.submit(at(0s), hook);
  EXPECT_TRUE(take<FailHook>().empty());
  queue_.submit(at(0s), 9999);
  EXPECT_EQ(take<FailHook>()[0].failure, HookFailure::queue_full);
}

}  // namespace
}  // namespace litecluster::app
