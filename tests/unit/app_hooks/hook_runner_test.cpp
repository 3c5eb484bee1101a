#include "app/hook_runner.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <mutex>
#include <stdexcept>
#include <vector>

namespace litecluster::app {
namespace {

using namespace std::chrono_literals;
using membership::HookCall;

Context soon() {
  return Context::background().with_timeout(30s);
}

TEST(HookRunner, RunsOneAtATimeAndInOrder) {
  HookRunner runner({});
  std::vector<int> order;
  std::atomic<int> inside = 0;
  std::atomic<bool> overlap = false;
  for (int number = 0; number < 50; ++number) {
    HookCall call{.name = "hook"};
    call.body = [&, number](Context&) -> Status {
      if (++inside != 1) overlap = true;
      order.push_back(number);
      --inside;
      return {};
    };
    runner.submit(std::move(call));
  }
  ASSERT_TRUE(runner.drain(soon()).has_value());
  ASSERT_EQ(order.size(), 50U);
  for (int number = 0; number < 50; ++number) EXPECT_EQ(order[static_cast<std::size_t>(number)], number);
  EXPECT_FALSE(overlap);
}

TEST(HookRunner, WhatAHookThrowsIsAnError) {
  HookRunner runner({});
  std::promise<Status> promise;
  HookCall call{.name = "on_own"};
  call.body = [](Context&) -> Status { throw std::runtime_error("no disk"); };
  call.done = [&](const Status& status) { promise.set_value(status); };
  runner.submit(std::move(call));
  const Status status = promise.get_future().get();
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code(), ErrorCode::internal);
  EXPECT_NE(status.error().message().find("no disk"), std::string::npos);
}

TEST(HookRunner, AHookThatHangsIsCancelledGivenUpAndReportedAndDoesNotHoldBackOthers) {
  std::mutex mutex;
  std::vector<HealthLevel> reported;
  std::promise<void> let_go;
  auto may_end = let_go.get_future().share();
  std::promise<Status> hung;
  {
    HookRunner runner({.timeout = 10ms, .grace = 10ms, .report = [&](const HealthResult& result) {
                         const std::scoped_lock lock(mutex);
                         reported.push_back(result.level);
                       }});
    HookCall hangs{.name = "hangs"};
    hangs.body = [may_end](Context&) -> Status {
      may_end.wait();
      return {};
    };
    hangs.done = [&](const Status& status) { hung.set_value(status); };
    runner.submit(std::move(hangs));
    std::promise<void> next;
    HookCall follows{.name = "follows"};
    follows.body = [&](Context&) -> Status {
      next.set_value();
      return {};
    };
    runner.submit(std::move(follows));
    next.get_future().get();
    EXPECT_EQ(hung.get_future().get().error().code(), ErrorCode::deadline_exceeded);
    let_go.set_value();
    while (true) {
      const std::scoped_lock lock(mutex);
      if (reported.size() == 2) break;
    }
  }
  EXPECT_EQ(reported.front(), HealthLevel::critical);
  EXPECT_EQ(reported.back(), HealthLevel::passing);
}

TEST(HookRunner, TheContextOfAHookEndsWithItsOwners) {
  HookRunner runner({});
  const Context owner = Context::background().with_cancel();
  std::promise<void> started;
  HookCall call{.name = "waits", .parent = owner};
  std::atomic<bool> cancelled = false;
  call.body = [&](Context& context) -> Status {
    started.set_value();
    cancelled = context.wait_for(1h);
    return {};
  };
  runner.submit(std::move(call));
  started.get_future().get();
  owner.cancel();
  ASSERT_TRUE(runner.drain(soon()).has_value());
  EXPECT_TRUE(cancelled);
}

TEST(HookRunner, ACallThatIsCancelledWhileItWaitsIsAnsweredAtOnceAndNotCalled) {
  HookRunner runner({.timeout = 1h, .grace = 1h});
  std::promise<void> let_go;
  auto may_end = let_go.get_future().share();
  HookCall runs{.name = "runs"};
  runs.body = [may_end](Context&) -> Status {
    may_end.wait();
    return {};
  };
  runner.submit(std::move(runs));
  const Context owner = Context::background().with_cancel();
  std::atomic<bool> called = false;
  std::promise<Status> answer;
  HookCall waits{.name = "waits", .parent = owner};
  waits.body = [&](Context&) -> Status {
    called = true;
    return {};
  };
  waits.done = [&](const Status& status) { answer.set_value(status); };
  runner.submit(std::move(waits));
  owner.cancel();
  const Status status = answer.get_future().get();
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code(), ErrorCode::cancelled);
  let_go.set_value();
  ASSERT_TRUE(runner.drain(soon()).has_value());
  EXPECT_FALSE(called);
}

TEST(HookRunner, ShuttingDownCancelsWhatRunsAndEveryCallIsAnswered) {
  std::atomic<int> answered = 0;
  membership::HookExecutor executor;
  {
    HookRunner runner({});
    executor = runner.executor();
    for (int number = 0; number < 3; ++number) {
      HookCall call{.name = "waits"};
      call.body = [](Context& context) -> Status {
        context.wait_for(1h);
        return context.status();
      };
      call.done = [&](const Status&) { ++answered; };
      runner.submit(std::move(call));
    }
  }
  EXPECT_EQ(answered, 3);
  HookCall late{.name = "late"};
  late.done = [&](const Status& status) {
    EXPECT_FALSE(status.has_value());
    ++answered;
  };
  executor(std::move(late));
  EXPECT_EQ(answered, 4);
}

}  // namespace
}  // namespace litecluster::app
