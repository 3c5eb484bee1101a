#include "replication/follow_plan.hpp"

#include <gtest/gtest.h>

namespace litecluster::replication {
namespace {

class FollowPlan : public testing::Test {
 protected:
  /// The next object in the stream.
  log::Object make(int level, std::uint64_t min, std::uint64_t max) {
    log::Object object;
    object.name = {level, Txid(min), Txid(max)};
    object.size = 1000;
    object.author = log::Author{.epoch = Epoch(1), .node = "n1", .incarnation = "i"};
    object.sequence = Revision(++sequence);
    return object;
  }
  log::Object make_raw(std::uint64_t txid, Checksum checksum) {
    log::Object object = make(0, txid, txid);
    object.checksum = checksum;
    return object;
  }
  void put(int level, std::uint64_t min, std::uint64_t max) { ASSERT_TRUE(view.put(make(level, min, max))); }
  void put_raw(std::uint64_t from, std::uint64_t to) {
    for (std::uint64_t txid = from; txid <= to; ++txid) put(0, txid, txid);
  }

  log::LogView view;
  std::uint64_t sequence = 0;
};

TEST_F(FollowPlan, AnEmptyReplicaOfAnEmptyLogIsUpToDate) {
  EXPECT_TRUE(std::holds_alternative<UpToDate>(plan_follow(view, Txid(0), true)));
}

TEST_F(FollowPlan, TakesRawObjectsOneByOneWhileTheyFollow) {
  put_raw(1, 10);
  const auto work = plan_follow(view, Txid(7), true);
  const auto* apply = std::get_if<ApplyObjects>(&work);
  ASSERT_NE(apply, nullptr);
  ASSERT_EQ(apply->objects.size(), 3U);
  EXPECT_EQ(apply->objects.front().name, log::ObjectName::raw(Txid(8)));
  EXPECT_TRUE(std::holds_alternative<UpToDate>(plan_follow(view, Txid(10), true)));
}

TEST_F(FollowPlan, IsNotUpToDateWithAnotherStateOfTheSameTxid) {
  put_raw(1, 2);
  ASSERT_TRUE(view.put(make_raw(3, Checksum(30))));
  EXPECT_TRUE(std::holds_alternative<UpToDate>(plan_follow(view, Txid(3), true, AppliedState{Checksum(30)})));
  EXPECT_TRUE(std::holds_alternative<Stuck>(plan_follow(view, Txid(3), true, AppliedState{Checksum(31)})));
  EXPECT_TRUE(std::holds_alternative<UpToDate>(plan_follow(view, Txid(3), true)))
      << "a position that is a guess is settled otherwise";
  put_raw(4, 5);
  EXPECT_TRUE(
      std::holds_alternative<ApplyObjects>(plan_follow(view, Txid(3), true, AppliedState{Checksum(30)})));
  EXPECT_TRUE(std::holds_alternative<Stuck>(plan_follow(view, Txid(3), true, AppliedState{Checksum(31)})));
}

TEST_F(FollowPlan, KnowsAnotherStateOfTheSameChecksumByItsFile) {
  put_raw(1, 2);
  log::Object other = make_raw(3, Checksum(30));
  other.file_checksum = Checksum(33);
  ASSERT_TRUE(view.put(other));
  const auto work_with = [&](std::optional<Checksum> file) {
    return plan_follow(view, Txid(3), true, AppliedState{Checksum(30), file});
  };
  EXPECT_TRUE(std::holds_alternative<Stuck>(work_with(Checksum(34))));
  EXPECT_TRUE(std::holds_alternative<UpToDate>(work_with(Checksum(33))));
  EXPECT_TRUE(std::holds_alternative<UpToDate>(work_with({}))) << "a compaction led there";
}

// Servers lost TXID 3, somebody else's took its place, and the first one's author went on.
class FollowPlanBesideAnotherHistory : public FollowPlan {
 protected:
  void SetUp() override {
    put_raw(1, 3);
    put_made_on(4, Checksum(30));
    put_made_on(5, Checksum(40));
  }
  void put_made_on(std::uint64_t txid, Checksum state, std::optional<Checksum> file = {}) {
    log::Object object = make_raw(txid, Checksum(txid * 10));
    object.pre_apply = state;
    object.previous_file = file;
    ASSERT_TRUE(view.put(object));
  }
  static bool applies(const FollowWork& work, std::size_t count) {
    const auto* apply = std::get_if<ApplyObjects>(&work);
    return apply != nullptr && apply->objects.size() == count;
  }
};

TEST_F(FollowPlanBesideAnotherHistory, AppliesWhatWasMadeOnItsStateAndNothingElse) {
  EXPECT_TRUE(applies(plan_follow(view, Txid(3), true, AppliedState{Checksum(30)}), 2));
  const auto work = plan_follow(view, Txid(3), true, AppliedState{Checksum(31)});
  const auto* stuck = std::get_if<Stuck>(&work);
  ASSERT_NE(stuck, nullptr);
  EXPECT_EQ(stuck->reason.code(), ErrorCode::failed_precondition);
  EXPECT_TRUE(applies(plan_follow(view, Txid(3), true), 2))
      << "a position that is a guess is settled otherwise";
}

TEST_F(FollowPlanBesideAnotherHistory, KnowsAnotherStateOfTheSameChecksumByItsFile) {
  put_made_on(6, Checksum(50), Checksum(55));
  EXPECT_TRUE(std::holds_alternative<Stuck>(
      plan_follow(view, Txid(5), true, AppliedState{Checksum(50), Checksum(54)})));
  EXPECT_TRUE(applies(plan_follow(view, Txid(5), true, AppliedState{Checksum(50), Checksum(55)}), 1));
  EXPECT_TRUE(applies(plan_follow(view, Txid(5), true, AppliedState{Checksum(50)}), 1)) << "not known";
}

TEST_F(FollowPlanBesideAnotherHistory, GoesAsFarAsOneObjectIsMadeOnTheOther) {
  put_made_on(6, Checksum(51));
  EXPECT_TRUE(applies(plan_follow(view, Txid(3), true, AppliedState{Checksum(30)}), 2));
  EXPECT_TRUE(std::holds_alternative<Stuck>(plan_follow(view, Txid(5), true, AppliedState{Checksum(50)})));
}

TEST_F(FollowPlanBesideAnotherHistory, LooksPastWhatCameWhereTheLogHadPassedAlready) {
  ASSERT_TRUE(view.put(make_raw(3, Checksum(31))));
  EXPECT_TRUE(applies(plan_follow(view, Txid(3), true, AppliedState{Checksum(30)}), 2));
  EXPECT_TRUE(std::holds_alternative<Stuck>(plan_follow(view, Txid(3), true, AppliedState{Checksum(31)})));
}

TEST_F(FollowPlanBesideAnotherHistory, LooksAtCompactionsAsWell) {
  for (std::uint64_t txid = 4; txid <= 5; ++txid) view.forget(log::ObjectName::raw(Txid(txid)));
  log::Object object = make(1, 4, 5);
  object.checksum = Checksum(50);
  object.pre_apply = Checksum(30);
  ASSERT_TRUE(view.put(object));
  EXPECT_TRUE(applies(plan_follow(view, Txid(3), true, AppliedState{Checksum(30)}), 1));
  EXPECT_TRUE(std::holds_alternative<Stuck>(plan_follow(view, Txid(3), true, AppliedState{Checksum(31)})));
}

TEST_F(FollowPlan, BridgesAHoleInTheRawLogByACompactedObject) {
  put(1, 1, 8);
  put_raw(9, 10);
  const auto work = plan_follow(view, Txid(5), true);
  const auto* apply = std::get_if<ApplyObjects>(&work);
  ASSERT_NE(apply, nullptr);
  EXPECT_EQ(apply->objects.front().name, (log::ObjectName{1, Txid(1), Txid(8)}));
  EXPECT_EQ(apply->objects.back().name.max, Txid(10));
}

TEST_F(FollowPlan, ReseedsWhenTheLogNoLongerReachesBack) {
  put(9, 1, 20);
  put_raw(21, 22);
  const auto work = plan_follow(view, Txid(5), true);
  const auto* again = std::get_if<Reseed>(&work);
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(again->objects.front().name.level, log::snapshot_level);
  EXPECT_EQ(again->objects.back().name.max, Txid(22));
}

TEST_F(FollowPlan, AStandbyAheadOfTheNewestSnapshotSimplyGoesOn) {
  put(9, 1, 20);
  put_raw(15, 30);
  const auto work = plan_follow(view, Txid(29), true);
  const auto* apply = std::get_if<ApplyObjects>(&work);
  ASSERT_NE(apply, nullptr);
  EXPECT_EQ(apply->objects.size(), 1U);
}

TEST_F(FollowPlan, AQuarantinedReplicaIsReseededEvenAtTheEnd) {
  put_raw(1, 3);
  EXPECT_TRUE(std::holds_alternative<Reseed>(plan_follow(view, Txid(3), false)));
}

TEST_F(FollowPlan, IsStuckWhereTheLogEndsBeforeTheReplica) {
  put_raw(1, 3);
  EXPECT_TRUE(std::holds_alternative<Stuck>(plan_follow(view, Txid(4), true)));
  EXPECT_TRUE(std::holds_alternative<Stuck>(plan_follow(log::LogView(), Txid(4), true)));
}

TEST_F(FollowPlan, IsStuckAtAHoleThatNothingBridges) {
  put_raw(3, 5);
  EXPECT_TRUE(std::holds_alternative<Stuck>(plan_follow(view, Txid(0), true)));
  put_raw(1, 1);
  const auto work = plan_follow(view, Txid(1), true);
  const auto* stuck = std::get_if<Stuck>(&work);
  ASSERT_NE(stuck, nullptr);
  EXPECT_EQ(stuck->reason.code(), ErrorCode::gap);
}

TEST_F(FollowPlan, SeedsAnEmptyReplicaUpToAHole) {
  put(9, 1, 20);
  put_raw(21, 25);
  put_raw(27, 30);
  const auto work = plan_follow(view, Txid(0), true);
  const auto* seed = std::get_if<Reseed>(&work);
  ASSERT_NE(seed, nullptr);
  EXPECT_EQ(seed->objects.back().name.max, Txid(25));
}

TEST_F(FollowPlan, WalksUpToADistantHoleInsteadOfStartingAgain) {
  put(9, 1, 400);
  put_raw(400, 899);
  put_raw(901, 1200);
  const auto work = plan_follow(view, Txid(500), true);
  const auto* apply = std::get_if<ApplyObjects>(&work);
  ASSERT_NE(apply, nullptr);
  EXPECT_EQ(apply->objects.size(), raw_objects_ahead_max);
  EXPECT_EQ(apply->objects.front().name, log::ObjectName::raw(Txid(501)));
  EXPECT_TRUE(std::holds_alternative<Stuck>(plan_follow(view, Txid(899), true)));
  put(9, 1, 950);
  EXPECT_TRUE(std::holds_alternative<Reseed>(plan_follow(view, Txid(899), true)));
}

}  // namespace
}  // namespace litecluster::replication
