#include <litecluster/ring.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "integration/ring/ring_node.hpp"
#include "ring/assignment.hpp"
#include "ring/request_frame.hpp"

namespace litecluster::ring {
namespace {

using namespace std::chrono_literals;
using test::RingNode;
using test::soon;
using testing::HasSubstr;

class RingService : public test::NatsTest {
 protected:
  std::unique_ptr<RingNode> start(test::RingNodeOptions options) {
    auto node = RingNode::start(this->options(), std::move(options));
    if (!node) {
      ADD_FAILURE() << node.error().message();
      std::abort();
    }
    EXPECT_OK((*node)->members().wait_joined(soon()));
    return std::move(*node);
  }
  [[nodiscard]] nats::KeyValue coordination() const {
    auto bucket = nats::KeyValue::open_or_create(soon(), nats::JetStream(connect()),
                                                 membership::coordination_bucket("c"));
    if (!bucket) std::abort();
    return std::move(*bucket);
  }
  /// Whether the node has ended because the bucket is not the one that it knew.
  static bool ended(RingNode& node) {
    const Status joined = node.members().wait_joined(Context::background().with_timeout(1ms));
    return !joined && joined.error().code() == ErrorCode::failed_precondition &&
           joined.error().operation() == "watch members";
  }
  template <typename Condition>
  static bool eventually(Condition condition) {
    const Context context = soon();
    while (!condition()) {
      if (context.wait_for(5ms)) return condition();
    }
    return true;
  }
};

TEST_F(RingService, PartitionsFollowTheMembers) {
  const auto a = start({.node = "a"});
  EXPECT_TRUE(eventually([&] { return a->owned() == 32; }));
  auto b = start({.node = "b"});
  EXPECT_TRUE(eventually([&] { return a->owned() == 16 && b->owned() == 16; }));
  auto c = start({.node = "c"});
  EXPECT_TRUE(eventually([&] { return a->owned() + b->owned() + c->owned() == 32 && c->owned() >= 10; }));
  ASSERT_OK(b->leave());
  EXPECT_EQ(b->owned(), 0U);
  EXPECT_TRUE(eventually([&] { return a->owned() == 16 && c->owned() == 16; }));
  c.reset();  // vanishes
  EXPECT_TRUE(eventually([&] { return a->owned() == 32; }));
  for (const RingAssignment& entry : a->ring().assignments()) {
    EXPECT_EQ(entry.owner, "a");
    EXPECT_EQ(entry.releasing, "");
  }
}

TEST_F(RingService, TheNextOwnerWaitsForOnRelease) {
  std::atomic<bool> released = false;
  std::atomic<bool> owned_too_early = false;
  const auto a = start(
      {.node = "a", .on_own = {}, .on_release = [&](Context& context, std::span<const Partition>) -> Status {
         context.wait_for(300ms);
         released = true;
         return {};
       }});
  EXPECT_TRUE(eventually([&] { return a->owned() == 32; }));
  const auto b = start({.node = "b", .on_own = [&](Context&, std::span<const Partition>) -> Status {
                          if (!released) owned_too_early = true;
                          return {};
                        }});
  EXPECT_TRUE(eventually([&] { return b->owned() == 16; }));
  EXPECT_TRUE(released);
  EXPECT_FALSE(owned_too_early);
}

TEST_F(RingService, OnOwnThatFailsOrThrowsIsTriedAgainAndShownInTheHealth) {
  std::atomic<int> calls = 0;
  const auto a = start({.node = "a", .on_own = [&](Context&, std::span<const Partition>) -> Status {
                          if (++calls == 1) throw std::runtime_error("no disk");
                          return {};
                        }});
  EXPECT_TRUE(eventually([&] { return a->members().health().level == HealthLevel::critical; }));
  EXPECT_THAT(a->members().health().reason(), HasSubstr("no disk"));
  EXPECT_TRUE(eventually([&] { return a->owned() == 32; }));
  EXPECT_TRUE(eventually([&] { return a->members().health().level == HealthLevel::passing; }));
}

TEST_F(RingService, RequestsReachTheOwnerFromEverywhere) {
  const auto handler = [](const std::string& node) {
    return [node](const Context&, std::string_view key, std::string_view request) -> Result<std::string> {
      if (request == "fail") return failure(ErrorCode::busy, "serve", std::string(key), "on purpose");
      return node + ":" + std::string(key) + ":" + std::string(request);
    };
  };
  const auto a = start({.node = "a", .handler = handler("a")});
  const auto b = start({.node = "b", .handler = handler("b")});
  EXPECT_TRUE(eventually([&] { return a->owned() == 16 && b->owned() == 16; }));
  std::set<std::string> answered_by;
  for (int number = 0; number < 40; ++number) {
    const std::string key = "key-" + std::to_string(number);
    const auto answer = a->ring().request(soon(), key, "x");
    ASSERT_OK(answer);
    EXPECT_EQ(*answer, std::string(a->ring().owner(key)) + ":" + key + ":x");
    answered_by.insert(answer->substr(0, 1));
    const auto refused = b->ring().request(soon(), key, "fail");
    EXPECT_ERROR(refused, ErrorCode::busy);
  }
  EXPECT_EQ(answered_by.size(), 2U);
}

// Each write goes to the owner of its key at that moment and is counted there; state moves by hand-over
// through a shared map, as it would through a database.
TEST_F(RingService, RequestsSurviveARebalanceAndNoneIsExecutedByTwoOwners) {
  std::mutex mutex;
  std::map<std::string, int> counts;
  std::array<std::atomic<int>, 32> inside{};
  std::atomic<bool> overlap = false;
  const auto handler = [&](const Context&, std::string_view key, std::string_view) -> Result<std::string> {
    const std::uint32_t partition = partition_of(key, 32);
    inside[partition].fetch_add(1);
    const std::scoped_lock lock(mutex);
    const int count = ++counts[std::string(key)];
    inside[partition].fetch_sub(1);
    return std::to_string(count);
  };
  const auto on_release = [&](Context&, std::span<const Partition> partitions) -> Status {
    for (const Partition partition : partitions) {
      if (inside[partition.value()] != 0) overlap = true;
    }
    return {};
  };
  const auto a = start({.node = "a", .on_release = on_release, .handler = handler});
  EXPECT_TRUE(eventually([&] { return a->owned() == 32; }));
  std::atomic<bool> stop = false;
  std::atomic<int> sent = 0;
  std::vector<std::string> errors;
  std::jthread client([&] {
    for (int number = 0; !stop; ++number) {
      const auto answer = a->ring().request(soon(), "key-" + std::to_string(number % 50), "");
      if (answer) {
        ++sent;
      } else {
        errors.push_back(answer.error().message());
      }
    }
  });
  {
    const auto b = start({.node = "b", .on_release = on_release, .handler = handler});
    EXPECT_TRUE(eventually([&] { return b->owned() == 16; }));
    ASSERT_OK(b->leave());
  }
  EXPECT_TRUE(eventually([&] { return a->owned() == 32; }));
  stop = true;
  client.join();
  EXPECT_THAT(errors, testing::IsEmpty());
  EXPECT_FALSE(overlap);
  int executed = 0;
  for (const auto& [key, count] : counts) executed += count;
  EXPECT_EQ(executed, sent);
}

TEST_F(RingService, ANodeThatCannotRenewLetsGoBeforeAnybodyElseOwns) {
  std::atomic<bool> released = false;
  const auto a = start({.node = "a", .on_release = [&](Context&, std::span<const Partition>) -> Status {
                          released = true;
                          return {};
                        }});
  EXPECT_TRUE(eventually([&] { return a->owned() == 32; }));
  server_->stop();
  EXPECT_TRUE(eventually([&] { return released.load(); }));
  EXPECT_EQ(a->owned(), 0U);
  ASSERT_OK(server_->start_again(soon()));
  EXPECT_TRUE(eventually([&] { return a->owned() == 32; }));
  EXPECT_FALSE(ended(*a)) << "an interruption is no loss";
}

TEST_F(RingService, WhenTheBucketWasMadeAnewNodesLetGoAndEndAndNewOnesStartWell) {
  const auto a = start({.node = "a"});
  const auto b = start({.node = "b"});
  EXPECT_TRUE(eventually([&] { return a->owned() == 16 && b->owned() == 16; }));
  ASSERT_OK(nats::JetStream(connect()).delete_stream(soon(), "KV_c-coord"));
  EXPECT_TRUE(eventually([&] { return a->owned() + b->owned() == 0; }));
  EXPECT_FALSE(ended(*a) || ended(*b)) << "nobody makes the bucket anew by itself";
  const auto c = start({.node = "c"});
  EXPECT_TRUE(eventually([&] { return ended(*a) && ended(*b); }));
  EXPECT_TRUE(eventually([&] { return c->owned() == 32; }));
  const auto next_a = start({.node = "a"});
  const auto next_b = start({.node = "b"});
  EXPECT_TRUE(eventually([&] {
    return next_a->owned() >= 10 && next_b->owned() >= 10 &&
           next_a->owned() + next_b->owned() + c->owned() == 32;
  }));
  EXPECT_EQ(a->owned() + b->owned(), 0U);
}

TEST_F(RingService, WhenTheServerLostItsNewestChangesNodesLetGoAndEndAndNewOnesStartWell) {
  const std::filesystem::path store = directory_ / "nats";
  const std::filesystem::path copy = directory_ / "copy";
  auto a = start({.node = "a"});
  EXPECT_TRUE(eventually([&] { return a->owned() == 32; }));
  server_->stop();
  std::filesystem::copy(store, copy, std::filesystem::copy_options::recursive);
  ASSERT_OK(server_->start_again(soon()));
  const auto b = start({.node = "b"});
  EXPECT_TRUE(eventually([&] { return a->owned() == 16 && b->owned() == 16; }));
  server_->stop();
  std::filesystem::remove_all(store);
  std::filesystem::rename(copy, store);
  ASSERT_OK(server_->start_again(soon()));
  EXPECT_TRUE(eventually([&] { return ended(*a) && ended(*b); }));
  EXPECT_EQ(a->owned() + b->owned(), 0U);
  const auto next_a = start({.node = "a"});
  const auto next_b = start({.node = "b"});
  EXPECT_TRUE(eventually([&] { return next_a->owned() == 16 && next_b->owned() == 16; }));
}

TEST_F(RingService, AHolderWhoseMemberRecordWasDeletedByHandIsExpelledAllTheSame) {
  const nats::KeyValue bucket = coordination();
  ASSERT_OK(bucket.put(soon(), "members.ghost", "x"));
  ASSERT_OK(bucket.remove(soon(), "members.ghost"));
  Assignment assignment;
  assignment.version = RingVersion(1);
  assignment.members = {{"ghost", "g", Revision(1)}};
  assignment.coordinator = assignment.members[0];
  assignment.slots.assign(32, {0, 0, {}});
  ASSERT_OK(bucket.put(soon(), "ring.assignment", encode(assignment)));
  const auto a = start({.node = "a"});
  EXPECT_TRUE(eventually([&] { return a->owned() == 32; }));
}

TEST_F(RingService, ADamagedAssignmentIsWrittenAgainWhenItIsDeletedWhileTheRingRuns) {
  const nats::KeyValue bucket = coordination();
  const auto a = start({.node = "a"});
  EXPECT_TRUE(eventually([&] { return a->owned() == 32; }));
  const RingVersion before = a->ring().version();
  ASSERT_OK(bucket.put(soon(), "ring.assignment", "nonsense"));
  EXPECT_TRUE(eventually([&] { return a->members().health().level == HealthLevel::critical; }));
  const auto b = start({.node = "b"});
  EXPECT_EQ(a->owned(), 32U) << "what is owned stays where it is";
  ASSERT_OK(bucket.remove(soon(), "ring.assignment"));
  EXPECT_TRUE(eventually([&] { return a->owned() == 16 && b->owned() == 16; }));
  EXPECT_TRUE(eventually([&] {
    return a->members().health().level == HealthLevel::passing &&
           b->members().health().level == HealthLevel::passing;
  }));
  EXPECT_GT(a->ring().version(), before);
}

TEST_F(RingService, AHandlerThatIgnoresItsContextDoesNotKeepTheNodeFromStopping) {
  struct Hanging {
    std::atomic<bool> entered = false;
    std::atomic<bool> go_on = false;
    std::atomic<bool> left = false;
  };
  const auto hanging = std::make_shared<Hanging>();
  const auto handler = [hanging](const Context&, std::string_view, std::string_view) -> Result<std::string> {
    hanging->entered = true;
    while (!hanging->go_on) std::this_thread::sleep_for(1ms);
    hanging->left = true;
    return std::string("late");
  };
  auto a = start({.node = "a", .handler = handler});
  EXPECT_TRUE(eventually([&] { return a->owned() == 32; }));
  const auto connection = connect();
  const auto pending = connection->send_request("c.ctl.a.ring", encode_request("key", "x"));
  ASSERT_OK(pending);
  EXPECT_TRUE(eventually([&] { return hanging->entered.load(); }));
  a.reset();
  EXPECT_FALSE(hanging->left) << "it was given up";
  hanging->go_on = true;
  EXPECT_TRUE(eventually([&] { return hanging->left.load(); }));
}

TEST(RingOptions, ZeroOrTooManyPartitionsAreRefused) {
  EXPECT_ERROR(check_partitions(0), ErrorCode::invalid_argument);
  EXPECT_ERROR(check_partitions(4097), ErrorCode::invalid_argument);
  EXPECT_OK(check_partitions(1));
  EXPECT_OK(check_partitions(4096));
}

}  // namespace
}  // namespace litecluster::ring
