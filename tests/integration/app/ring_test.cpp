// App in mode ring.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

#include <litecluster/ring_client.hpp>

#include "integration/app/running_app.hpp"
#include "membership/record.hpp"
#include "membership/service.hpp"
#include "nats/jetstream.hpp"
#include "nats/kv_bucket.hpp"
#include "support/eventually.hpp"

namespace litecluster {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::node_options;
using test::RunningApp;
using test::soon;
using testing::HasSubstr;

class RingApp : public test::NatsTest {
 protected:
  [[nodiscard]] AppOptions ring(const std::string& node) const {
    return node_options(options(), node, Mode::ring);
  }
  static std::uint32_t owned(RunningApp& node) {
    const auto status = node.app().status();
    return status.ring ? status.ring->owned : 0;
  }
  /// Whether `node` is to own all that it is meant to have, as far as `seen_by` knows.
  static bool holds(RunningApp& seen_by, const std::string& node, std::size_t partitions) {
    return std::ranges::count_if(seen_by.app().ring().assignments(), [&](const RingAssignment& one) {
             return one.owner == node && one.releasing.empty();
           }) == static_cast<std::ptrdiff_t>(partitions);
  }
  [[nodiscard]] membership::RecordState record_of(const std::string& node) const {
    const auto bucket = nats::KeyValue::open_or_create(soon(), nats::JetStream(connect()),
                                                       membership::coordination_bucket("c"));
    if (!bucket) return membership::RecordState::alive;
    const auto entry = bucket->last(soon(), "members." + node, nats::KvRead::leader);
    if (!entry || !*entry) return membership::RecordState::alive;
    const auto record = membership::decode((*entry)->value);
    return record ? record->state : membership::RecordState::alive;
  }
  /// Nothing may wait for a hook's time-out.
  [[nodiscard]] AppOptions patient(const std::string& node) const {
    AppOptions options = ring(node);
    options.hook_timeout = std::chrono::hours(1);
    return options;
  }
};

TEST_F(RingApp, SharesPartitionsEvenlyAndGivesThemBackInOrder) {
  RunningApp first(ring("a"));
  first.start();
  ASSERT_TRUE(eventually([&] { return owned(first) == 16; }));
  EXPECT_EQ(first.journal().lines().front(), "start") << "nothing is owned before on_start";
  RunningApp second(ring("b"));
  second.start();
  ASSERT_TRUE(eventually([&] { return owned(first) == 8 && owned(second) == 8; }));
  const Ring ring = second.app().ring();
  for (std::uint32_t partition = 0; partition < 16; ++partition) {
    EXPECT_NE(first.app().ring().owns(Partition(partition)), ring.owns(Partition(partition)));
  }
  EXPECT_EQ(ring.assignments().size(), 16U);
  EXPECT_EQ(second.app().status().ring->version, ring.version());
  EXPECT_OK(second.stop());
  const auto lines = second.journal().lines();
  EXPECT_EQ(lines.back(), "stop");
  EXPECT_EQ(lines[lines.size() - 2], "release 8");
  EXPECT_EQ(owned(second), 0U);
  EXPECT_TRUE(eventually([&] { return owned(first) == 16; }));
}

TEST_F(RingApp, RoutesRequestsToTheOwnerFromNodesAndFromOutside) {
  std::vector<std::unique_ptr<RunningApp>> nodes;
  for (const char* name : {"a", "b", "c"}) {
    auto node = std::make_unique<RunningApp>(ring(name));
    node->app().ring().serve([name = std::string(name)](const Context&, std::string_view key,
                                                        std::string_view request) -> Result<std::string> {
      if (request == "fail") return failure(ErrorCode::conflict, "test", std::string(key), "as asked");
      return name + " " + std::string(key) + " " + std::string(request);
    });
    node->start();
    nodes.push_back(std::move(node));
  }
  ASSERT_TRUE(eventually(
      [&] { return owned(*nodes[0]) + owned(*nodes[1]) + owned(*nodes[2]) == 16 && owned(*nodes[2]) >= 5; }));
  const auto client = RingClient::connect({.cluster = "c", .nats = options()}, soon());
  ASSERT_OK(client);
  for (int number = 0; number < 50; ++number) {
    const std::string key = "key-" + std::to_string(number);
    const auto inside = nodes[0]->app().ring().request(soon(), key, "hello");
    ASSERT_OK(inside);
    EXPECT_THAT(*inside, HasSubstr(" " + key + " hello"));
    const auto outside = client->ring().request(soon(), key, "hello");
    ASSERT_OK(outside);
    EXPECT_EQ(*inside, *outside);
  }
  EXPECT_ERROR(client->ring().request(soon(), "key", "fail"), ErrorCode::conflict);
  EXPECT_FALSE(client->ring().owns("key"));
  // Through a rebalance.
  std::atomic<bool> done = false;
  std::jthread leaving([&] {
    EXPECT_OK(nodes[2]->stop());
    done = true;
  });
  int answered = 0;
  while (!done || answered < 20) {
    ASSERT_OK(client->ring().request(soon(), "key-" + std::to_string(answered++ % 50), "again"));
  }
}

TEST_F(RingApp, ARequestThatRunsWhenTheNodeLeavesIsWaitedForAndNotCancelled) {
  std::atomic<bool> running = false;
  std::atomic<bool> leaving = false;
  RunningApp node(ring("a"));
  node.app().ring().serve(
      [&](const Context& context, std::string_view, std::string_view) -> Result<std::string> {
        running = true;
        const bool let_be = eventually([&] { return leaving.load(); });
        if (!let_be || context.wait_for(100ms)) return std::unexpected(context.status("serve").error());
        return "served";
      });
  node.start();
  ASSERT_TRUE(eventually([&] { return owned(node) == 16; }));
  const auto client = RingClient::connect({.cluster = "c", .nats = options()}, soon());
  ASSERT_OK(client);
  Result<std::string> answer;
  std::jthread asking([&] { answer = client->ring().request(soon(), "key", "text"); });
  ASSERT_TRUE(eventually([&] { return running.load(); }));
  std::jthread stopping([&] { EXPECT_OK(node.stop()); });
  ASSERT_TRUE(eventually([&] { return node.app().status().stage == "leaving"; }));
  leaving = true;
  asking.join();
  ASSERT_OK(answer);
  EXPECT_EQ(*answer, "served");
}

TEST_F(RingApp, AnOnOwnThatThrowsIsTriedAgainAndShownMeanwhile) {
  std::atomic<int> calls = 0;
  RunningApp node(ring("a"));
  node.app().on_own([&](Context&, std::span<const Partition>) -> Status {
    if (++calls == 1) throw std::runtime_error("no memory");
    return {};
  });
  node.start();
  ASSERT_TRUE(eventually([&] { return node.check("ring").level == HealthLevel::critical; }));
  EXPECT_THAT(node.check("ring").reason, HasSubstr("no memory"));
  EXPECT_EQ(owned(node), 0U);
  ASSERT_TRUE(eventually([&] { return owned(node) == 16; }));
  EXPECT_EQ(calls, 2);
  EXPECT_TRUE(eventually([&] { return node.check("ring").level == HealthLevel::passing; }));
}

TEST_F(RingApp, LetsGoWhenTheServerIsAwayAndOwnsAgainWhenItIsBack) {
  RunningApp node(ring("a"));
  node.start();
  ASSERT_TRUE(eventually([&] { return owned(node) == 16; }));
  server_->stop();
  ASSERT_TRUE(eventually([&] { return node.journal().has("release 16"); }));
  EXPECT_EQ(owned(node), 0U);
  EXPECT_FALSE(node.app().ring().owns("key"));
  ASSERT_OK(server_->start_again(soon()));
  EXPECT_TRUE(eventually([&] { return owned(node) == 16; }));
  EXPECT_OK(node.stop());
}

TEST_F(RingApp, ANodeThatDoesNotGetThroughItsStartSaysGoodbyeThoughItWasToOwn) {
  RunningApp first(patient("a"));
  first.start();
  ASSERT_TRUE(eventually([&] { return owned(first) == 16; }));
  for (const bool stopped : {false, true}) {
    std::atomic<bool> given = false;
    RunningApp second(patient("b"));
    second.app().on_start([&](Context& context) -> Status {
      given = eventually([&] { return holds(first, "b", 8); });
      if (stopped) context.wait_for(1h);
      return failure(ErrorCode::io, "open", "spool", "disk on fire");
    });
    second.start();
    ASSERT_TRUE(eventually([&] { return given.load(); }));
    if (stopped) {
      EXPECT_OK(second.stop());
    } else {
      EXPECT_ERROR(second.wait(), ErrorCode::io);
    }
    EXPECT_EQ(record_of("b"), membership::RecordState::left);
    EXPECT_THAT(second.journal().lines(), testing::ElementsAre()) << "neither on_own nor on_stop";
    ASSERT_TRUE(eventually([&] { return owned(first) == 16; }));
  }
}

TEST_F(RingApp, BecomesAMemberAgainWhileOnStartIsRunning) {
  std::atomic<bool> go_on = false;
  RunningApp node(patient("a"));
  node.app().on_start([&](Context&) -> Status {
    return eventually([&] { return go_on.load(); })
               ? Status()
               : failure(ErrorCode::internal, "wait", "test", "too long");
  });
  node.start();
  ASSERT_TRUE(eventually([&] { return holds(node, "a", 16); }));
  const Revision joined = node.app().members().front().id.joined;
  server_->stop();
  // Longer than the lease, which is then lost whatever comes first.
  std::this_thread::sleep_for(2s);
  ASSERT_OK(server_->start_again(soon()));
  EXPECT_TRUE(eventually([&] {
    const auto members = node.app().members();
    return !members.empty() && members.front().id.joined > joined;
  })) << "what waits for on_start holds nothing up";
  go_on = true;
  EXPECT_TRUE(eventually([&] { return owned(node) == 16; }));
  EXPECT_OK(node.stop());
}

TEST_F(RingApp, AHookThatBringsNewsDoesNotHoldUpOnReleaseWhenTheLeaseIsLost) {
  std::atomic<bool> bad = false;
  std::atomic<bool> inside = false;
  std::atomic<bool> cancelled = false;
  std::atomic<int> told = 0;
  RunningApp node(patient("a"));
  node.app().add_health_check("queue", [&](const Context&) {
    return HealthResult{.level = bad ? HealthLevel::warning : HealthLevel::passing, .reason = "too long"};
  });
  node.app().on_health_change([&](Context& context, const Health&) -> Status {
    ++told;
    if (!bad || inside.exchange(true)) return {};
    cancelled = context.wait_for(24h);
    return context.status();
  });
  node.start();
  ASSERT_TRUE(eventually([&] { return owned(node) == 16; }));
  bad = true;
  ASSERT_TRUE(eventually([&] { return inside.load(); }));
  server_->stop();
  EXPECT_TRUE(eventually([&] { return node.journal().has("release 16"); }));
  EXPECT_TRUE(cancelled);
  const int before = told;
  ASSERT_OK(server_->start_again(soon()));
  EXPECT_TRUE(eventually([&] { return owned(node) == 16; }));
  bad = false;
  EXPECT_TRUE(eventually([&] { return told > before; })) << "news are told again";
  EXPECT_OK(node.stop());
}

TEST_F(RingApp, AnotherNumberOfPartitionsIsRefusedAndSaysWhatTheOthersHave) {
  RunningApp first(ring("a"));
  first.start();
  ASSERT_TRUE(eventually([&] { return owned(first) == 16; }));
  AppOptions other = ring("b");
  other.ring.partitions = 32;
  RunningApp second(std::move(other));
  second.start();
  const Status refused = second.wait();
  EXPECT_ERROR(refused, ErrorCode::failed_precondition);
  EXPECT_THAT(refused.error().message(), HasSubstr("32 partitions, but a runs the ring with 16"));
  EXPECT_EQ(owned(first), 16U);
}

TEST_F(RingApp, ABackendThatDiesTakesItsNodeAlongSinceItsPartitionsAreLostWithIt) {
  AppOptions with_backend = ring("a");
  with_backend.backend = Backend{.command = {"/bin/sh", "-c", "sleep 1; exit 3"}};
  RunningApp node(std::move(with_backend));
  node.start();
  ASSERT_TRUE(eventually([&] { return node.journal().has("own 16"); }));
  EXPECT_FALSE(node.wait().has_value());
  EXPECT_TRUE(node.journal().has("release 16"));
  EXPECT_EQ(node.journal().lines().back(), "stop");
}

TEST_F(RingApp, AClientWaitsForARingThatDoesNotExistYet) {
  EXPECT_ERROR(
      RingClient::connect({.cluster = "c", .nats = options()}, Context::background().with_timeout(300ms)),
      ErrorCode::deadline_exceeded);
  std::optional<RunningApp> node;
  std::jthread later([&] {
    std::this_thread::sleep_for(100ms);
    node.emplace(ring("a"));
    node->start();
  });
  const auto client = RingClient::connect({.cluster = "c", .nats = options()}, soon());
  ASSERT_OK(client);
  EXPECT_EQ(client->ring().owner("key"), "a");
  later.join();
}

}  // namespace
}  // namespace litecluster
