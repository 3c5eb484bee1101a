// App in mode pool, and what is the same in every mode: members, hooks, health, refusals.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

#include "integration/app/running_app.hpp"
#include "support/eventually.hpp"

namespace litecluster {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::node_options;
using test::RunningApp;
using testing::ElementsAre;
using testing::HasSubstr;

class PoolApp : public test::NatsTest {
 protected:
  [[nodiscard]] AppOptions pool(const std::string& node) const {
    return node_options(options(), node, Mode::pool);
  }
};

TEST_F(PoolApp, EveryNodeIsToldWhoComesAndGoesAndStopIsTheLastOfAll) {
  RunningApp first(pool("a"));
  first.start();
  ASSERT_TRUE(eventually([&] { return first.journal().has("join a"); })) << "a node is told of itself, too";
  {
    RunningApp second(pool("b"));
    second.start();
    ASSERT_TRUE(eventually([&] { return first.journal().has("join b") && second.journal().has("join a"); }));
    EXPECT_THAT(first.member_names(), ElementsAre("a", "b"));
    EXPECT_EQ(second.app().status().stage, "working");
    EXPECT_OK(second.stop());
    EXPECT_EQ(second.journal().lines().front(), "start");
    EXPECT_EQ(second.journal().lines().back(), "stop");
    EXPECT_EQ(second.app().status().stage, "stopped");
  }
  ASSERT_TRUE(eventually([&] { return first.journal().has("leave b"); }));
  EXPECT_THAT(first.member_names(), ElementsAre("a"));
  EXPECT_OK(first.stop());
  EXPECT_EQ(first.journal().lines().back(), "stop");
}

TEST_F(PoolApp, ShowsLabelsAddressesRoleAndVersionToTheOthers) {
  AppOptions labelled = pool("a");
  labelled.labels = {{"zone", "x"}};
  labelled.addresses = {"10.0.0.1:80"};
  RunningApp first(std::move(labelled));
  first.start();
  RunningApp second(pool("b"));
  second.start();
  ASSERT_TRUE(eventually([&] {
    const auto members = second.app().members();
    return members.size() == 2 && members.front().role == Role::worker;
  }));
  const Member seen = second.app().members().front();
  EXPECT_EQ(seen.labels.at("zone"), "x");
  EXPECT_THAT(seen.addresses, ElementsAre("10.0.0.1:80"));
  EXPECT_FALSE(seen.version.empty());
}

TEST_F(PoolApp, ComesBackUnderAnotherLifeAfterTheServerWasAway) {
  RunningApp node(pool("a"));
  node.start();
  ASSERT_TRUE(eventually([&] { return node.app().members().size() == 1; }));
  const Revision joined = node.app().members().front().id.joined;
  server_->stop();
  ASSERT_TRUE(eventually([&] { return node.app().status().stage == "joining"; }));
  EXPECT_EQ(node.app().health().level, HealthLevel::critical);
  ASSERT_OK(server_->start_again(test::soon()));
  ASSERT_TRUE(eventually([&] {
    const auto members = node.app().members();
    return node.app().status().stage == "working" && members.size() == 1 &&
           members.front().id.joined > joined;
  }));
  EXPECT_TRUE(eventually([&] { return node.app().health().level == HealthLevel::passing; }));
}

TEST_F(PoolApp, AnOnStartThatFailsThrowsOrHangsEndsTheRunAndNothingElseIsCalled) {
  for (const int kind : {0, 1, 2}) {
    AppOptions impatient = pool("a");
    impatient.hook_timeout = 200ms;
    RunningApp node(std::move(impatient));
    node.app().on_start([kind](Context& context) -> Status {
      if (kind == 0) return failure(ErrorCode::io, "open", "spool", "disk on fire");
      if (kind == 1) throw std::runtime_error("disk on fire");
      context.wait_for(1min);
      return context.status("wait for the disk on fire");
    });
    node.start();
    const Status result = node.wait();
    ASSERT_FALSE(result.has_value());
    EXPECT_THAT(result.error().message(), HasSubstr("disk on fire"));
    EXPECT_THAT(node.journal().lines(), ElementsAre());
  }
}

TEST_F(PoolApp, HooksRunOneAtATimeAndTheirContextIsCancelledAtShutdown) {
  std::atomic<int> inside = 0;
  std::atomic<bool> waiting = false;
  std::atomic<bool> overlap = false;
  std::atomic<bool> cancelled = false;
  RunningApp node(pool("a"));
  node.app().on_member_join([&](Context& context, const Member&) -> Status {
    overlap = overlap || ++inside != 1;
    waiting = true;
    cancelled = context.wait_for(1min) && context.status().error().code() == ErrorCode::cancelled;
    --inside;
    return {};
  });
  node.app().on_stop([&](Context&) -> Status {
    overlap = overlap || ++inside != 1;
    return {};
  });
  node.start();
  ASSERT_TRUE(eventually([&] { return waiting.load(); }));
  EXPECT_OK(node.stop());
  EXPECT_TRUE(cancelled);
  EXPECT_FALSE(overlap);
}

TEST_F(PoolApp, AHookThatHangsForeverIsGivenUpReportedAndDoesNotHoldBackTheEnd) {
  AppOptions impatient = pool("a");
  impatient.hook_timeout = 100ms;
  RunningApp node(std::move(impatient));
  const auto release = std::make_shared<std::atomic<bool>>(false);
  node.app().on_member_join([release](Context&, const Member&) -> Status {
    while (!*release) std::this_thread::sleep_for(1ms);
    return {};
  });
  node.start();
  ASSERT_TRUE(eventually([&] { return node.check("hooks").level == HealthLevel::critical; }));
  EXPECT_OK(node.stop());
  EXPECT_EQ(node.journal().lines().back(), "stop");
  *release = true;
}

TEST_F(PoolApp, AUsersOwnChecksCountAndAHangingOneDelaysNothing) {
  std::atomic<HealthLevel> level = HealthLevel::passing;
  test::Journal changes;
  RunningApp node(pool("a"));  // The hooks write above as long as it runs.
  const auto release = std::make_shared<std::atomic<bool>>(false);
  node.app().add_health_check("queue", [&](const Context&) -> HealthResult { return {level, "too long"}; });
  node.app().add_health_check("throws",
                              [](const Context&) -> HealthResult { throw std::runtime_error("oh"); });
  node.app().add_health_check("hangs", [release](const Context&) -> HealthResult {
    while (!*release) std::this_thread::sleep_for(1ms);
    return {};
  });
  node.app().on_health_change([&](Context&, const Health& health) -> Status {
    changes.add(std::string(to_string(health.level)));
    return {};
  });
  node.start();
  ASSERT_TRUE(eventually([&] {
    return node.check("throws").level == HealthLevel::critical &&
           node.check("hangs").level == HealthLevel::critical &&
           node.check("queue").level == HealthLevel::passing;
  }));
  EXPECT_THAT(node.check("throws").reason, HasSubstr("oh"));
  EXPECT_THAT(node.check("hangs").reason, HasSubstr("did not answer"));
  for (const char* own : {"nats", "lease", "hooks"}) EXPECT_EQ(node.check(own).level, HealthLevel::passing);
  level = HealthLevel::warning;
  EXPECT_TRUE(eventually([&] { return node.check("queue").level == HealthLevel::warning; }));
  EXPECT_TRUE(eventually([&] { return changes.has("critical"); }));
  *release = true;
  EXPECT_TRUE(eventually([&] { return node.check("hangs").level == HealthLevel::passing; }));
}

TEST_F(PoolApp, AHealthCheckUnderANameOfOursIsRefused) {
  RunningApp node(pool("a"));
  node.app().add_health_check("nats", [](const Context&) { return HealthResult{}; });
  node.start();
  EXPECT_ERROR(node.wait(), ErrorCode::invalid_argument);
}

TEST_F(PoolApp, ABackendRunsOnEveryNodeAndOneThatCannotBeKeptRunningEndsIt) {
  AppOptions good = pool("a");
  good.backend = Backend{.command = {"/bin/sleep", "1000"}};
  RunningApp node(std::move(good));
  node.start();
  ASSERT_TRUE(eventually([&] { return node.journal().has("start"); }));
  EXPECT_EQ(node.check("backend").level, HealthLevel::passing);
  AppOptions bad = pool("b");
  bad.backend = Backend{.command = {"/bin/false"}, .restarts_max = 1};
  RunningApp broken(std::move(bad));
  broken.start();
  EXPECT_FALSE(broken.wait().has_value());
  EXPECT_OK(node.stop());
}

TEST_F(PoolApp, HasNoLeaderAndNoRing) {
  RunningApp node(pool("a"));
  node.start();
  ASSERT_TRUE(eventually([&] { return node.journal().has("start"); }));
  EXPECT_FALSE(node.app().is_leader());
  EXPECT_ERROR(node.app().step_down(test::soon()), ErrorCode::not_leader);
  EXPECT_ERROR(node.app().ring().request(test::soon(), "key", "text"), ErrorCode::failed_precondition);
  EXPECT_TRUE(node.app().ring().owner("key").empty());
}

// In every mode it is the same code that refuses.
class Refusals : public test::NatsTest, public testing::WithParamInterface<Mode> {};

TEST_P(Refusals, ASecondLiveNodeOfTheSameName) {
  RunningApp first(node_options(options(), "a", GetParam()));
  first.start();
  ASSERT_TRUE(eventually([&] { return first.journal().has("start"); }));
  RunningApp second(node_options(options(), "a", GetParam()));
  second.start();
  EXPECT_ERROR(second.wait(), ErrorCode::already_exists);
  EXPECT_FALSE(second.journal().has("start"));
  EXPECT_EQ(first.member_names().size(), 1U);
  EXPECT_OK(first.stop());
}

TEST_P(Refusals, ANodeOfAnotherModeUnderTheSameClusterName) {
  RunningApp first(node_options(options(), "a", GetParam()));
  first.start();
  ASSERT_TRUE(eventually([&] { return first.journal().has("start"); }));
  const Mode other = GetParam() == Mode::pool ? Mode::ring : Mode::pool;
  RunningApp second(node_options(options(), "b", other));
  second.start();
  const Status refused = second.wait();
  EXPECT_ERROR(refused, ErrorCode::failed_precondition);
  EXPECT_THAT(refused.error().message(), HasSubstr("mode " + std::string(to_string(GetParam()))));
  EXPECT_FALSE(second.journal().has("start"));
  EXPECT_OK(first.stop());
}

INSTANTIATE_TEST_SUITE_P(EachMode, Refusals, testing::Values(Mode::active_passive, Mode::pool, Mode::ring),
                         [](const auto& mode) { return std::string(to_string(mode.param)); });

TEST(AppOptionsCheck, NamesTheOptionThatCannotWork) {
  const auto refused = [](const auto& change) {
    AppOptions options = node_options({}, "a", Mode::ring);
    change(options);
    const auto app = App::create(std::move(options));
    if (app) return std::string("accepted");
    EXPECT_EQ(app.error().code(), ErrorCode::invalid_argument);
    return app.error().subject();
  };
  EXPECT_EQ(refused([](AppOptions&) {}), "accepted");
  EXPECT_EQ(refused([](AppOptions& options) { options.ring.partitions = 0; }), "ring.partitions");
  EXPECT_EQ(refused([](AppOptions& options) { options.ring.partitions = 4097; }), "ring.partitions");
  EXPECT_EQ(refused([](AppOptions& options) { options.sqlite = Sqlite{.path = "/tmp/x"}; }), "sqlite");
  EXPECT_EQ(refused([](AppOptions& options) { options.vip = Vip{"10.0.0.1/24", "lo"}; }), "vip");
  EXPECT_EQ(refused([](AppOptions& options) { options.cluster = "my.app"; }), "cluster");
  EXPECT_EQ(refused([](AppOptions& options) { options.node.clear(); }), "node");
  EXPECT_EQ(refused([](AppOptions& options) { options.heartbeat = 0ms; }), "heartbeat");
  EXPECT_EQ(refused([](AppOptions& options) { options.heartbeat = 1h; }), "heartbeat");
  const auto leader = [](AppOptions& options, std::chrono::milliseconds lease) {
    options.mode = Mode::active_passive;
    options.lease_ttl = lease;
    options.heartbeat = 400ms;
  };
  EXPECT_EQ(refused([&](AppOptions& options) { leader(options, 999ms); }), "lease_ttl");
  EXPECT_EQ(refused([&](AppOptions& options) { leader(options, 1100ms); }), "heartbeat");
}

}  // namespace
}  // namespace litecluster
