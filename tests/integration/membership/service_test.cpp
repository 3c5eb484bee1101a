#include "membership/service.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <mutex>

#include "membership/process_identity.hpp"
#include "support/nats_fixture.hpp"

namespace litecluster::membership {
namespace {

using namespace std::chrono_literals;
using test::soon;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto heartbeat = 200ms;

/// One node with a log of what it was told.
struct Node {
  std::unique_ptr<Service> service;
  std::shared_ptr<std::mutex> mutex = std::make_shared<std::mutex>();
  std::shared_ptr<std::vector<std::string>> log = std::make_shared<std::vector<std::string>>();

  [[nodiscard]] std::vector<std::string> events() const {
    const std::scoped_lock lock(*mutex);
    return *log;
  }
  [[nodiscard]] std::vector<std::string> member_names() const {
    std::vector<std::string> names;
    for (const Member& member : service->members()) names.push_back(member.id.node);
    return names;
  }
};

class MembershipService : public test::NatsTest {
 protected:
  nats::KeyValue bucket() {
    const nats::JetStream jetstream(connect());
    auto opened = nats::KeyValue::open_or_create(soon(), jetstream, coordination_bucket("c"));
    if (!opened) std::abort();
    return std::move(*opened);
  }

  Node node(ServiceOptions options) {
    options.heartbeat = heartbeat;
    auto created = Service::create(bucket(), std::move(options));
    if (!created) {
      ADD_FAILURE() << created.error().message();
      std::abort();
    }
    Node node{.service = std::move(*created)};
    node.service->add_listener([mutex = node.mutex, log = node.log](const ServiceEvent& event) {
      const std::scoped_lock lock(*mutex);
      if (const auto* change = std::get_if<RosterEvent>(&event)) {
        const char* kind = change->kind == RosterEvent::Kind::joined ? "joined "
                           : change->kind == RosterEvent::Kind::left ? "left "
                                                                     : "changed ";
        log->push_back(kind + change->member.id.node +
                       (change->reason.empty() ? std::string() : ": " + change->reason));
      } else if (const auto* over = std::get_if<LifeOver>(&event)) {
        log->push_back("over: " + over->reason);
      } else if (const auto* refused = std::get_if<Refused>(&event)) {
        log->push_back("refused: " + refused->error.message());
      } else if (const auto* health = std::get_if<HealthChanged>(&event)) {
        log->push_back("health: " + std::string(to_string(health->health.level)));
      }
    });
    node.service->start();
    return node;
  }
  Node joined(ServiceOptions options) {
    Node made = node(std::move(options));
    EXPECT_OK(made.service->wait_joined(soon()));
    return made;
  }

  template <typename Condition>
  static bool eventually(Condition condition) {
    const Context context = soon();
    while (!condition()) {
      if (context.wait_for(10ms)) return condition();
    }
    return true;
  }
};

TEST_F(MembershipService, MembersSeeEachOtherWithWhatTheySay) {
  const Node first =
      joined({.node = "a", .addresses = {"10.0.0.1:80"}, .labels = {{"zone", "x"}}, .version = "1.2"});
  const Node second = joined({.node = "b"});
  for (const Node* node : {&first, &second}) {
    EXPECT_TRUE(eventually([&] { return node->member_names() == std::vector<std::string>{"a", "b"}; }));
  }
  const Member seen = second.service->members().front();
  EXPECT_THAT(seen.addresses, ElementsAre("10.0.0.1:80"));
  EXPECT_EQ(seen.labels.at("zone"), "x");
  EXPECT_EQ(seen.version, "1.2");
  EXPECT_EQ(seen.id, first.service->id());

  first.service->set_role(Role::active, Epoch(7));
  first.service->report("disk", {HealthLevel::warning, "90 % full"});
  EXPECT_TRUE(eventually([&] {
    const Member now = second.service->members().front();
    return now.role == Role::active && now.epoch == Epoch(7) && now.health == HealthLevel::warning &&
           now.health_reason == "disk: 90 % full";
  }));
  EXPECT_THAT(first.events(), Contains("health: warning"));
}

TEST_F(MembershipService, AGoodbyeIsSeenAtOnceAndSilenceAfterALease) {
  const Node watcher = joined({.node = "w"});
  Node polite = joined({.node = "polite"});
  Node silent = joined({.node = "silent"});
  EXPECT_TRUE(eventually([&] { return watcher.member_names().size() == 3; }));
  ASSERT_OK(polite.service->leave(soon()));
  silent.service.reset();  // no goodbye
  EXPECT_TRUE(eventually([&] { return watcher.member_names() == std::vector<std::string>{"w"}; }));
  EXPECT_THAT(watcher.events(), Contains("left polite: said goodbye"));
  EXPECT_THAT(watcher.events(), Contains("left silent: silent"));
}

TEST_F(MembershipService, ASecondLiveNodeOfTheSameNameRefusesToStart) {
  const Node first = joined({.node = "a", .addresses = {"10.0.0.1:80"}});
  const Node second = node({.node = "a"});
  const Status refused = second.service->wait_joined(soon());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), ErrorCode::already_exists);
  EXPECT_THAT(refused.error().message(), HasSubstr("10.0.0.1:80"));
  EXPECT_TRUE(first.service->live());
}

TEST_F(MembershipService, ANameIsFreeAfterALeaseOfSilenceAndAtOnceWhenSeenDead) {
  const Node watcher = joined({.node = "w"});
  Node dead = joined({.node = "a"});
  const MemberId former = dead.service->id();
  dead.service.reset();
  // In this test the process of the dead node lives on, so only its silence shows that it is gone.
  Node next = joined({.node = "a"});
  EXPECT_GT(next.service->id().joined, former.joined);
  const MemberId second = next.service->id();
  next.service.reset();
  const Node third = joined({.node = "a", .dead_incarnation = second.incarnation});
  EXPECT_GT(third.service->id().joined, second.joined);
  EXPECT_TRUE(eventually([&] { return testing::Value(watcher.events(), Contains("left a: restarted")); }));
}

TEST_F(MembershipService, AnotherModeUnderTheSameClusterNameIsRefused) {
  const Node pool = joined({.node = "a", .mode = Mode::pool});
  const Node ring = node({.node = "b", .mode = Mode::ring, .partitions = 16});
  const Status refused = ring.service->wait_joined(soon());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), ErrorCode::failed_precondition);
  EXPECT_THAT(refused.error().message(), HasSubstr("a runs in mode pool"));
}

TEST_F(MembershipService, AnotherNumberOfPartitionsIsRefusedWhileTheOthersLive) {
  Node first = joined({.node = "a", .mode = Mode::ring, .partitions = 16});
  const Node second = node({.node = "b", .mode = Mode::ring, .partitions = 32});
  const Status refused = second.service->wait_joined(soon());
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().message(), HasSubstr("a runs the ring with 16"));
  first.service.reset();
  const Node third = joined({.node = "c", .mode = Mode::ring, .partitions = 32});
}

TEST_F(MembershipService, SurvivesARestartOfTheServer) {
  const Node first = joined({.node = "a"});
  const Node second = joined({.node = "b"});
  restart_server();
  EXPECT_TRUE(eventually([&] {
    return first.service->live() && second.service->live() && first.member_names().size() == 2 &&
           second.member_names().size() == 2;
  }));
}

TEST_F(MembershipService, ALeaseThatCannotBeRenewedIsLostAndComesBackAsANewLife) {
  const Node first = joined({.node = "a"});
  const MemberId former = first.service->id();
  server_->stop();
  EXPECT_TRUE(eventually([&] { return !first.service->live(); }));
  ASSERT_OK(server_->start_again(soon()));
  EXPECT_TRUE(eventually([&] { return first.service->live(); }));
  EXPECT_GT(first.service->id().joined, former.joined);
  EXPECT_NE(first.service->id().incarnation, former.incarnation);
  EXPECT_THAT(first.events(), Contains("over: not renewed before its deadline"));
}

// Revisions begin at 1 again, far below those that everybody remembers.
TEST_F(MembershipService, ABucketThatWasMadeAnewIsBelievedWhereNothingElseDependsOnIt) {
  const nats::KeyValue old = bucket();
  for (int change = 0; change < 1000; ++change) ASSERT_OK(old.put(soon(), "other", "x"));
  const Node first = joined({.node = "a", .mode = Mode::pool});
  const Node second = joined({.node = "b", .mode = Mode::pool});
  const MemberId former = first.service->id();
  EXPECT_GT(former.joined, Revision(1000));
  ASSERT_OK(nats::JetStream(connect()).delete_stream(soon(), "KV_c-coord"));
  EXPECT_TRUE(eventually([&] { return !first.service->live() && !second.service->live(); }));
  const nats::KeyValue anew = bucket();
  EXPECT_TRUE(eventually([&] { return first.service->live() && second.service->live(); }));
  first.service->set_role(Role::worker, Epoch(7));
  EXPECT_TRUE(eventually([&] {
    const std::vector<Member> seen = second.service->members();
    return seen.size() == 2 && seen.front().id == first.service->id() && seen.front().epoch == Epoch(7);
  }));
  EXPECT_LT(first.service->id().joined, Revision(1000));
  for (const Node* node : {&first, &second}) {
    EXPECT_THAT(node->events(), testing::Not(Contains(testing::StartsWith("refused"))));
  }
}

TEST(ProcessIdentity, TellsTheLivingFromTheDead) {
  const std::string own = own_process();
  ASSERT_FALSE(own.empty());
  EXPECT_FALSE(is_certainly_dead(own));
  EXPECT_FALSE(is_certainly_dead(""));
  EXPECT_FALSE(is_certainly_dead("another-boot/1/1/1"));
  const std::string prefix = own.substr(0, own.find('/', own.find('/') + 1) + 1);
  EXPECT_TRUE(is_certainly_dead(prefix + "999999999/1"));
  EXPECT_TRUE(is_certainly_dead(prefix + std::to_string(::getpid()) + "/1"));
  EXPECT_FALSE(is_certainly_dead(prefix + "nonsense"));
}

}  // namespace
}  // namespace litecluster::membership
