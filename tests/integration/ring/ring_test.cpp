#include <litecluster/ring.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "integration/ring/ring_node.hpp"
#include "ring/assignment.hpp"

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
}

TEST(RingOptions, ZeroOrTooManyPartitionsAreRefused) {
  EXPECT_ERROR(check_partitions(0), ErrorCode::invalid_argument);
  EXPECT_ERROR(check_partitions(4097), ErrorCode::invalid_argument);
  EXPECT_OK(check_partitions(1));
  EXPECT_OK(check_partitions(4096));
}

}  // namespace
}  // namespace litecluster::ring
