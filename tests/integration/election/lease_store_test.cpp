#include "election/lease_store.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "integration/election/candidate.hpp"
#include "support/eventually.hpp"

namespace litecluster::election {
namespace {

using test::eventually;

class LeaseStoreTest : public test::NatsTest {
 protected:
  void add(const std::string& node, bool demotes = true) {
    candidates_.push_back(std::make_unique<Candidate>(connect(), quick_config(node), demotes));
  }
  /// The one that leads, when exactly one does.
  Candidate* leader() {
    Candidate* found = nullptr;
    for (const auto& candidate : candidates_) {
      if (!candidate->store().leads()) continue;
      if (found != nullptr) return nullptr;
      found = candidate.get();
    }
    return found;
  }
  Candidate& wait_for_leader(const Candidate* other_than = nullptr) {
    Candidate* found = nullptr;
    const bool came = eventually([&] {
      found = leader();
      return found != nullptr && found != other_than;
    });
    if (!came) {
      ADD_FAILURE() << "nobody leads";
      std::abort();
    }
    return *found;
  }
  /// All epochs won, which must be different.
  std::vector<Epoch> all_terms() {
    std::vector<Epoch> terms;
    for (const auto& candidate : candidates_) {
      for (const Epoch epoch : candidate->terms()) terms.push_back(epoch);
    }
    std::ranges::sort(terms);
    EXPECT_EQ(std::ranges::adjacent_find(terms), terms.end()) << "an epoch was won twice";
    return terms;
  }

  void TearDown() override {
    candidates_.clear();
    NatsTest::TearDown();
  }

  std::vector<std::unique_ptr<Candidate>> candidates_;
};

TEST_F(LeaseStoreTest, MakesExactlyOneOfThreeTheLeader) {
  for (const char* node : {"a", "b", "c"}) add(node);
  Candidate& first = wait_for_leader();
  EXPECT_EQ(first.store().epoch(), Epoch(1));
  EXPECT_TRUE(eventually([&] {
    return std::ranges::all_of(candidates_, [](const auto& candidate) {
      const auto leader = candidate->store().leader();
      return leader && leader->epoch == Epoch(1);
    });
  }));
  // Over several heartbeats.
  const std::int64_t deadline = first.shared_deadline;
  EXPECT_TRUE(eventually([&] { return first.shared_deadline > deadline + 2'000'000'000; }));
  EXPECT_EQ(all_terms().size(), 1U);
}

TEST_F(LeaseStoreTest, HandsOverAtOnceWhenReleased) {
  for (const char* node : {"a", "b", "c"}) add(node);
  wait_for_leader();
  for (const auto& candidate : candidates_) {
    for (const char* node : {"a", "b", "c"}) candidate->store().peer_seen(node, Txid(1));
  }
  std::vector<double> milliseconds;
  for (int round = 0; round < 10; ++round) {
    Candidate& leader = wait_for_leader();
    for (const auto& candidate : candidates_) {
      for (const char* node : {"a", "b", "c"}) candidate->store().peer_seen(node, Txid(1));
    }
    const std::int64_t before = base::BootClock::now().time_since_epoch().count();
    ASSERT_TRUE(leader.store().release_and_wait(
        test::soon(), {.reason = ReleaseReason::stepped_down, .position = {}, .successor = {}}));
    EXPECT_FALSE(leader.store().leads());
    Candidate& next = wait_for_leader(&leader);
    ASSERT_TRUE(eventually([&] { return next.began_at > before; })) << "the listener is told last";
    milliseconds.push_back(static_cast<double>(next.began_at - before) / 1e6);
  }
  fmt::print("each: {:.1f} ms\n", fmt::join(milliseconds, " "));
  std::ranges::sort(milliseconds);
  fmt::print("release to next leader: median {:.2f} ms, worst {:.2f} ms of {}\n",
             milliseconds[milliseconds.size() / 2], milliseconds.back(), milliseconds.size());
  EXPECT_EQ(all_terms().size(), 11U);
}

TEST_F(LeaseStoreTest, GivesTheLeaseToTheNamedSuccessor) {
  for (const char* node : {"a", "b", "c"}) add(node);
  Candidate& first = wait_for_leader();
  const auto to = std::ranges::find_if(candidates_, [&](const auto& other) { return other.get() != &first; });
  const std::string name(1, static_cast<char>('a' + (to - candidates_.begin())));
  ASSERT_TRUE(first.store().release_and_wait(
      test::soon(), {.reason = ReleaseReason::stepped_down, .position = {}, .successor = name}));
  EXPECT_EQ(&wait_for_leader(&first), to->get());
}

TEST_F(LeaseStoreTest, SurvivesARestartOfTheServerWithinTheLease) {
  server_->stop();
  ASSERT_TRUE(server_->start_again(test::soon()));
  candidates_.push_back(std::make_unique<Candidate>(connect(), [] {
    ElectorConfig config = quick_config("a");
    config.lease_ttl = 30s;
    config.heartbeat = 500ms;
    return config;
  }()));
  Candidate& leader = wait_for_leader();
  restart_server();
  const std::int64_t deadline = leader.shared_deadline;
  EXPECT_TRUE(eventually([&] { return leader.shared_deadline > deadline + 1'000'000'000; }));
  EXPECT_EQ(leader.terms().size(), 1U);
  EXPECT_TRUE(leader.losses().empty());
}

TEST_F(LeaseStoreTest, EndsItsTermWhenTheServerIsAwayAndSomebodyLeadsAgainAfterwards) {
  for (const char* node : {"a", "b"}) add(node);
  Candidate& leader = wait_for_leader();
  server_->stop();
  EXPECT_TRUE(eventually([&] { return !leader.losses().empty(); }));
  EXPECT_EQ(leader.losses().front(), LossReason::deadline);
  EXPECT_GT(leader.shared_deadline, 0) << "the guard keeps the deadline";
  EXPECT_EQ(this->leader(), nullptr);
  ASSERT_TRUE(server_->start_again(test::soon()));
  wait_for_leader();
  // The listener hears of a term a moment after leads() turns true.
  EXPECT_TRUE(eventually([&] { return all_terms().back() == Epoch(2); }));
}

TEST_F(LeaseStoreTest, NeverBidsAgainBeforeTheDemotionIsComplete) {
  add("a", false);
  Candidate& leader = wait_for_leader();
  server_->stop();
  ASSERT_TRUE(eventually([&] { return !leader.losses().empty(); }));
  ASSERT_TRUE(server_->start_again(test::soon()));
  std::this_thread::sleep_for(2s);
  EXPECT_FALSE(leader.store().leads());
  leader.store().release({});
  wait_for_leader();
  // The listener hears of a term a moment after leads() turns true.
  EXPECT_TRUE(eventually([&] { return all_terms() == std::vector{Epoch(1), Epoch(2)}; }));
}

TEST_F(LeaseStoreTest, ReplacesARecordThatIsNone) {
  const nats::KeyValue bucket = open_bucket(connect());
  ASSERT_TRUE(bucket.put(test::soon(), "leader", "certainly not a record"));
  add("a");
  Candidate& leader = wait_for_leader();
  EXPECT_EQ(leader.store().epoch(), Epoch(1));
}

TEST_F(LeaseStoreTest, EndsItsTermWhenTheRecordIsDeletedAndTakesAHigherEpochThen) {
  add("a");
  Candidate& leader = wait_for_leader();
  ASSERT_TRUE(open_bucket(connect()).remove(test::soon(), "leader"));
  ASSERT_TRUE(eventually([&] { return !leader.losses().empty(); }));
  EXPECT_EQ(leader.losses().front(), LossReason::record_gone);
  wait_for_leader();
  // The listener hears of a term a moment after leads() turns true.
  EXPECT_TRUE(eventually([&] { return all_terms() == std::vector{Epoch(1), Epoch(2)}; }));
}

TEST_F(LeaseStoreTest, FindsASecondNodeWithItsName) {
  add("a");
  Candidate& first = wait_for_leader();
  add("a");
  EXPECT_TRUE(eventually([&] { return candidates_[1]->duplicate(); }));
  EXPECT_TRUE(first.store().leads());
  EXPECT_FALSE(candidates_[1]->store().leads());
}

}  // namespace
}  // namespace litecluster::election
