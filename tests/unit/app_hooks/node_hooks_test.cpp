#include "app/node_hooks.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <mutex>
#include <string>
#include <vector>

#include "support/eventually.hpp"

namespace litecluster::app {
namespace {

using namespace std::chrono_literals;
using membership::HookCall;
using test::eventually;
using testing::ElementsAre;

/// Hooks that write down what they are told. Nothing may wait for a time-out.
class NodeHooksTest : public ::testing::Test {
 protected:
  NodeHooksTest() {
    told_.on_start = [this](Context&) { return write("start"); };
    told_.on_stop = [this](Context&) { return write("stop"); };
    told_.on_leader_change = [this](Context&, const std::string& leader) {
      return write("leader " + leader);
    };
  }
  Status write(std::string line) {
    const std::scoped_lock lock(mutex_);
    lines_.push_back(std::move(line));
    return {};
  }
  std::vector<std::string> lines() {
    const std::scoped_lock lock(mutex_);
    return lines_;
  }
  NodeHooks& hooks() {
    if (!hooks_) hooks_ = std::make_unique<NodeHooks>(told_, HookRunnerOptions{.timeout = 1h, .grace = 1h});
    return *hooks_;
  }
  std::future<Status> submit(const std::string& name, const Context& parent = Context::background()) {
    const auto promise = std::make_shared<std::promise<Status>>();
    HookCall call{.name = name, .parent = parent};
    call.body = [this, name](Context&) { return write(name); };
    call.done = [promise](const Status& status) { promise->set_value(status); };
    auto future = promise->get_future();
    hooks().executor()(std::move(call));
    return future;
  }
  static bool was_cancelled(std::future<Status>& call) {
    const Status status = call.get();
    return !status && status.error().code() == ErrorCode::cancelled;
  }

  Hooks told_;
  std::mutex mutex_;
  std::vector<std::string> lines_;
  std::atomic<bool> inside_ = false;  ///< a hook that goes on until it is cancelled
  std::unique_ptr<NodeHooks> hooks_;
};

TEST_F(NodeHooksTest, WhatHappensBeforeOnStartWaitsForItAndNewsComeLast) {
  hooks().leader_changed("a");
  auto own = submit("own");
  EXPECT_TRUE(hooks().start(Context::background()).has_value());
  EXPECT_TRUE(own.get().has_value());
  EXPECT_TRUE(eventually([&] { return lines().size() == 3; }));
  EXPECT_THAT(lines(), ElementsAre("start", "own", "leader a"));
  hooks().stop();
  EXPECT_THAT(lines(), ElementsAre("start", "own", "leader a", "stop"));
}

TEST_F(NodeHooksTest, ShuttingDownBeforeOnStartIsThroughFailsWhatWaitsForIt) {
  told_.on_start = [](Context&) { return failure(ErrorCode::io, "open", "spool", "disk on fire"); };
  hooks().leader_changed("a");
  auto own = submit("own");
  EXPECT_FALSE(hooks().start(Context::background()).has_value());
  hooks().shut_down();
  EXPECT_TRUE(was_cancelled(own));
  auto later = submit("later");
  EXPECT_TRUE(was_cancelled(later));
  hooks().stop();
  EXPECT_THAT(lines(), ElementsAre()) << "and on_stop is not called";
}

TEST_F(NodeHooksTest, WhatWaitsForOnStartEndsWhenItsOwnerCancelsIt) {
  const Context owner = Context::background().with_cancel();
  auto own = submit("own", owner);
  owner.cancel();
  EXPECT_TRUE(was_cancelled(own));
}

TEST_F(NodeHooksTest, WhatWasCancelledBeforeItsTurnIsNotCalled) {
  EXPECT_TRUE(hooks().start(Context::background()).has_value());
  const Context owner = Context::background().with_cancel();
  owner.cancel();
  auto own = submit("own", owner);
  EXPECT_TRUE(was_cancelled(own));
  EXPECT_THAT(lines(), ElementsAre("start"));
}

TEST_F(NodeHooksTest, InAHurryNewsMakeWayAndWait) {
  told_.on_leader_change = [this](Context& context, const std::string& leader) {
    static_cast<void>(write("leader " + leader));
    inside_ = true;
    if (leader == "a") context.wait_for(24h);
    return context.status();
  };
  EXPECT_TRUE(hooks().start(Context::background()).has_value());
  hooks().leader_changed("a");
  ASSERT_TRUE(eventually([&] { return inside_.load(); }));
  hooks().leader_changed("b");
  hooks().hurry(true);
  EXPECT_TRUE(submit("release").get().has_value());
  EXPECT_TRUE(submit("another").get().has_value());
  EXPECT_THAT(lines(), ElementsAre("start", "leader a", "release", "another"));
  hooks().hurry(false);
  EXPECT_TRUE(eventually([&] { return lines().back() == "leader b"; }));
}

TEST_F(NodeHooksTest, OnPassiveDoesNotWaitForNews) {
  told_.on_leader_change = [this](Context& context, const std::string&) {
    inside_ = true;
    context.wait_for(24h);
    return context.status();
  };
  EXPECT_TRUE(hooks().start(Context::background()).has_value());
  hooks().leader_changed("a");
  ASSERT_TRUE(eventually([&] { return inside_.load(); }));
  EXPECT_TRUE(
      hooks()
          .call_in_hurry("on_passive", Context::background(), [&](Context&) { return write("passive"); })
          .has_value());
  EXPECT_THAT(lines(), ElementsAre("start", "passive"));
}

}  // namespace
}  // namespace litecluster::app
