#include <litecluster/context.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace litecluster {
namespace {

using namespace std::chrono_literals;

TEST(Context, CancelReachesChildrenButNotParents) {
  const Context root = Context::background();
  const Context child = root.with_cancel();
  const Context grandchild = child.with_timeout(1h);
  child.cancel();
  EXPECT_FALSE(root.done());
  EXPECT_TRUE(child.done());
  EXPECT_TRUE(grandchild.done());
  EXPECT_EQ(grandchild.status().error().code(), ErrorCode::cancelled);
}

TEST(Context, AChildOfACancelledContextIsBornCancelled) {
  const Context root = Context::background();
  root.cancel();
  EXPECT_TRUE(root.with_timeout(1h).done());
}

TEST(Context, ADeadlineIsNeverLaterThanTheParents) {
  const Context parent = Context::background().with_timeout(0ns);
  const Context child = parent.with_timeout(1h);
  EXPECT_EQ(child.deadline(), parent.deadline());
  EXPECT_EQ(child.status("read").error().code(), ErrorCode::deadline_exceeded);
  EXPECT_EQ(child.remaining(1s), 0ns);
}

TEST(Context, AnEndlessTimeoutIsNoDeadline) {
  EXPECT_FALSE(Context::background().with_timeout(std::chrono::nanoseconds::max()).deadline().has_value());
}

TEST(Context, WaitEndsWhenAnotherThreadCancels) {
  const Context context = Context::background().with_cancel();
  const std::jthread canceller([&] { context.cancel(); });
  EXPECT_TRUE(context.wait_for(1h));
}

TEST(Context, WaitEndsAtTheDeadline) {
  EXPECT_TRUE(Context::background().with_timeout(1ms).wait_for(1h));
  EXPECT_FALSE(Context::background().wait_for(1ms));
}

TEST(Context, CallbackRunsOnceAndAtOnceWhenAlreadyCancelled) {
  const Context context = Context::background();
  int calls = 0;
  const auto before = context.on_cancel([&] { ++calls; });
  context.cancel();
  context.cancel();
  EXPECT_EQ(calls, 1);
  const auto after = context.on_cancel([&] { ++calls; });
  EXPECT_EQ(calls, 2);
}

TEST(Context, CallbackIsForgottenWithItsRegistration) {
  const Context context = Context::background();
  int calls = 0;
  {
    const auto registration = context.on_cancel([&] { ++calls; });
  }
  context.cancel();
  EXPECT_EQ(calls, 0);
}

TEST(Context, DestroyingARegistrationWaitsForItsRunningCallback) {
  for (int round = 0; round < 200; ++round) {
    const Context context = Context::background();
    std::atomic<bool> inside = false;
    auto registration = std::make_unique<Context::Registration>(context.on_cancel([&] {
      inside = true;
      std::this_thread::yield();
      inside = false;
    }));
    const std::jthread canceller([&] { context.cancel(); });
    registration.reset();
    EXPECT_FALSE(inside);
  }
}

}  // namespace
}  // namespace litecluster
