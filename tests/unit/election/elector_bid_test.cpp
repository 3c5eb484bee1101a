#include "unit/election/elector_fixture.hpp"

namespace litecluster::election {
namespace {

class ElectorBid : public ElectorFixture {
 protected:
  /// When the lease that it saw at 0 s has run out; somebody was faster.
  void bid_in_vain() {
    take(elector_.tick(at(10s)));
    const auto write = get<WriteRecord>();
    ASSERT_TRUE(write);
    take(elector_.write_finished(write->record.sequence, WriteOutcome::conflict, Revision(), at(10s)));
  }
};

TEST_F(ElectorBid, ReadsBeforeAnythingElse) {
  take(elector_.start(at(0s)));
  EXPECT_TRUE(get<ReadRecord>());
  EXPECT_FALSE(get<WriteRecord>());
}

TEST_F(ElectorBid, BeginsAtOnceWhereNobodyEverLed) {
  begin(0, std::nullopt);
  const auto write = get<WriteRecord>();
  ASSERT_TRUE(write);
  EXPECT_EQ(write->expected, Revision(0));
  EXPECT_EQ(write->record.epoch, Epoch(1));
  EXPECT_EQ(write->record.node, "a");
  EXPECT_EQ(write->record.incarnation, own);
}

TEST_F(ElectorBid, WaitsWhenTheRecordIsGoneButTheLogSaysThatSomebodyLed) {
  take(elector_.start(at(0s)));
  take(elector_.log_epoch_seen(Epoch(4), at(0s)));
  take(elector_.set_eligible(true, at(0s)));
  take(elector_.record_observed(Revision(0), std::nullopt, at(0s)));
  EXPECT_FALSE(get<WriteRecord>());
  take(elector_.tick(at(10s)));
  ASSERT_TRUE(get<WriteRecord>());
  EXPECT_EQ(get<WriteRecord>()->record.epoch, Epoch(5));
}

TEST_F(ElectorBid, WaitsAWholeLeaseOfSilenceThatItSawItself) {
  begin(7, held_by("b", other, 3));
  take(elector_.tick(at(9'999ms)));
  EXPECT_FALSE(get<WriteRecord>());
  take(elector_.tick(at(10s)));
  const auto write = get<WriteRecord>();
  ASSERT_TRUE(write);
  EXPECT_EQ(write->expected, Revision(7));
  EXPECT_EQ(write->record.epoch, Epoch(4));
}

TEST_F(ElectorBid, StartsToWaitAnewWithEachChange) {
  begin(7, held_by("b", other, 3));
  take(elector_.record_observed(Revision(8), held_by("b", other, 3, 2), at(3s)));
  take(elector_.tick(at(12'999ms)));
  EXPECT_FALSE(get<WriteRecord>());
  take(elector_.tick(at(13s)));
  EXPECT_TRUE(get<WriteRecord>());
}

TEST_F(ElectorBid, IsNotFooledByARepeatedOrStaleMessage) {
  begin(7, held_by("b", other, 3));
  take(elector_.record_observed(Revision(7), held_by("b", other, 3), at(5s)));
  take(elector_.record_observed(Revision(6), held_by("c", other, 2), at(6s)));
  take(elector_.tick(at(10s)));
  ASSERT_TRUE(get<WriteRecord>());
  EXPECT_EQ(get<WriteRecord>()->expected, Revision(7));
}

TEST_F(ElectorBid, WaitsTheRecordsLeaseWhenThatIsLonger) {
  LeaderRecord record = held_by("b", other, 3);
  record.lease_ttl = 30s;
  begin(7, record);
  take(elector_.tick(at(29'999ms)));
  EXPECT_FALSE(get<WriteRecord>());
  take(elector_.tick(at(30s)));
  EXPECT_TRUE(get<WriteRecord>());
}

TEST_F(ElectorBid, WaitsItsOwnLeaseWhenThatIsLonger) {
  LeaderRecord record = held_by("b", other, 3);
  record.lease_ttl = 1s;
  begin(7, record);
  take(elector_.tick(at(9'999ms)));
  EXPECT_FALSE(get<WriteRecord>());
}

TEST_F(ElectorBid, BidsAtOnceOnARelease) {
  begin(7, held_by("b", other, 3));
  take(elector_.record_observed(Revision(8), released(held_by("b", other, 3)), at(1s)));
  EXPECT_TRUE(get<WriteRecord>());
}

TEST_F(ElectorBid, NeverBidsWhenNotEligible) {
  begin(7, held_by("b", other, 3));
  take(elector_.set_eligible(false, at(1s)));
  take(elector_.tick(at(60s)));
  EXPECT_FALSE(get<WriteRecord>());
}

TEST_F(ElectorBid, TakesAnEpochAboveThatOfTheLog) {
  begin(7, held_by("b", other, 3));
  take(elector_.log_epoch_seen(Epoch(20), at(1s)));
  take(elector_.tick(at(10s)));
  ASSERT_TRUE(get<WriteRecord>());
  EXPECT_EQ(get<WriteRecord>()->record.epoch, Epoch(21));
}

TEST_F(ElectorBid, BidsLaterTheMoreItLags) {
  begin(7, held_by("b", other, 3));
  take(elector_.position_changed(Txid(90), at(1s)));
  take(elector_.peer_seen("c", Txid(100), at(1s)));
  take(elector_.record_observed(Revision(8), released(held_by("b", other, 3)), at(1s)));
  EXPECT_FALSE(get<WriteRecord>());
  EXPECT_EQ(timer(), 1s + 10 * 5ms);
  take(elector_.tick(at(1s + 50ms)));
  EXPECT_TRUE(get<WriteRecord>());
}

TEST_F(ElectorBid, IsNeverDelayedByLagForMoreThanTheLimit) {
  begin(7, held_by("b", other, 3));
  take(elector_.peer_seen("c", Txid(UINT64_MAX), at(1s)));
  take(elector_.record_observed(Revision(8), released(held_by("b", other, 3)), at(1s)));
  EXPECT_EQ(timer(), 1s + 400ms);
}

TEST_F(ElectorBid, TakesTheOldLeaderForNoRival) {
  begin(7, held_by("b", other, 3));
  take(elector_.peer_seen("b", Txid(100), at(1s)));
  take(elector_.record_observed(Revision(8), released(held_by("b", other, 3)), at(1s)));
  EXPECT_TRUE(get<WriteRecord>());
}

TEST_F(ElectorBid, LeavesTheLeaseToANamedSuccessorFirst) {
  begin(7, held_by("b", other, 3));
  take(elector_.record_observed(Revision(8), released(held_by("b", other, 3), "c"), at(1s)));
  EXPECT_FALSE(get<WriteRecord>());
  take(elector_.tick(at(2s)));
  EXPECT_TRUE(get<WriteRecord>()) << "the successor did not come";
}

TEST_F(ElectorBid, GoesFirstAsTheNamedSuccessorWhateverItsLag) {
  begin(7, held_by("b", other, 3));
  take(elector_.peer_seen("c", Txid(100), at(1s)));
  take(elector_.record_observed(Revision(8), released(held_by("b", other, 3), "a"), at(1s)));
  EXPECT_TRUE(get<WriteRecord>());
}

TEST_F(ElectorBid, ReadsAfterAConflictAndNeverTriesThatRevisionAgain) {
  begin(7, released(held_by("b", other, 3)));
  ASSERT_TRUE(get<WriteRecord>());
  take(elector_.write_finished(1, WriteOutcome::conflict, Revision(), at(5ms)));
  EXPECT_TRUE(get<ReadRecord>());
  take(elector_.record_observed(Revision(7), released(held_by("b", other, 3)), at(10ms)));  // stale
  take(elector_.tick(at(1s)));
  EXPECT_FALSE(get<WriteRecord>());
  EXPECT_TRUE(get<ReadRecord>());
  take(elector_.record_observed(Revision(8), held_by("c", other, 4), at(1'005ms)));
  EXPECT_FALSE(get<WriteRecord>());
}

// Power failed at the servers: what was revision 9 is gone, the record is that of revision 7 again.
TEST_F(ElectorBid, GoesOnFromAnOlderRecordWhenTheServersLostTheNewerOne) {
  begin(9, held_by("b", other, 3));
  ASSERT_NO_FATAL_FAILURE(bid_in_vain());
  take(elector_.record_observed(Revision(7), held_by("c", other, 2), at(10s)));
  take(elector_.record_observed(Revision(7), held_by("c", other, 2), at(19'900ms)));
  EXPECT_FALSE(get<WriteRecord>()) << "it may be a server that lags behind";
  // It is what there is now, so its holder gets a lease of silence like any other.
  take(elector_.record_observed(Revision(7), held_by("c", other, 2), at(20s)));
  take(elector_.tick(at(29'900ms)));
  EXPECT_FALSE(get<WriteRecord>());
  take(elector_.tick(at(30s)));
  const auto write = get<WriteRecord>();
  ASSERT_TRUE(write);
  EXPECT_EQ(write->expected, Revision(7));
  EXPECT_EQ(write->record.epoch, Epoch(4)) << "epochs do not go back";
}

TEST_F(ElectorBid, GivesBackAnOldRecordOfItsOwnThatIsThereAgainAndClaimsAHigherEpoch) {
  begin(9, held_by("b", other, 5));
  ASSERT_NO_FATAL_FAILURE(bid_in_vain());
  take(elector_.record_observed(Revision(7), held_by("a", own, 4), at(10s)));
  take(elector_.record_observed(Revision(7), held_by("a", own, 4), at(20s)));
  auto write = get<WriteRecord>();
  ASSERT_TRUE(write);
  EXPECT_EQ(write->record.state, LeaseState::released);
  take(elector_.write_finished(write->record.sequence, WriteOutcome::stored, Revision(8), at(20s)));
  take(elector_.tick(at(30s)));
  write = get<WriteRecord>();
  ASSERT_TRUE(write);
  EXPECT_EQ(write->record.epoch, Epoch(6));
}

// A bucket that seemed empty for a lease, to a node whose own record of a term that ended is there.
TEST_F(ElectorBid, DoesNotTakeItsOwnEndedTermForTheClaim) {
  take(elector_.start(at(0s)));
  take(elector_.set_eligible(true, at(0s)));
  take(elector_.record_observed(Revision(0), std::nullopt, at(0s)));
  const auto claim = get<WriteRecord>();
  ASSERT_TRUE(claim);
  ASSERT_EQ(claim->record.epoch, Epoch(1));
  take(elector_.write_finished(claim->record.sequence, WriteOutcome::stored, Revision(1), at(0s)));
  ASSERT_TRUE(get<BecameLeader>());
  take(elector_.tick(at(9s)));
  ASSERT_TRUE(get<LostLeadership>());
  take(elector_.connection_changed(true, at(9s)));
  take(elector_.release({.reason = ReleaseReason::demoted, .position = {}, .successor = {}}, at(9s)));
  take(elector_.record_observed(Revision(0), std::nullopt, at(10s)));
  take(elector_.record_observed(Revision(0), std::nullopt, at(20s)));
  take(elector_.tick(at(40s)));
  auto write = get<WriteRecord>();
  ASSERT_TRUE(write);
  ASSERT_EQ(write->record.epoch, Epoch(2));
  take(elector_.write_finished(write->record.sequence, WriteOutcome::conflict, Revision(), at(40s)));
  take(elector_.record_observed(Revision(1), claim->record, at(40s)));
  write = get<WriteRecord>();
  ASSERT_TRUE(write);
  EXPECT_EQ(write->record.state, LeaseState::released);
  EXPECT_FALSE(get<BecameLeader>());
}

TEST_F(ElectorBid, DoesNotBidOnARevisionThatWasWrittenASecondTime) {
  begin(9, held_by("b", other, 3));
  take(elector_.record_observed(Revision(9), held_by("c", {.family = 8, .number = 1}, 4), at(8s)));
  take(elector_.tick(at(10s)));
  EXPECT_FALSE(get<WriteRecord>()) << "c has held it for 2 s";
  take(elector_.tick(at(18s)));
  EXPECT_TRUE(get<WriteRecord>());
}

TEST_F(ElectorBid, SeesATermThatBeganUnderAnOlderRevision) {
  begin(9, held_by("b", other, 3));
  take(elector_.record_observed(Revision(8), held_by("c", {.family = 8, .number = 1}, 4), at(8s)));
  take(elector_.tick(at(10s)));
  EXPECT_FALSE(get<WriteRecord>());
  take(elector_.tick(at(18s)));
  ASSERT_TRUE(get<WriteRecord>());
  EXPECT_EQ(get<WriteRecord>()->expected, Revision(8));
}

TEST_F(ElectorBid, WaitsOnAReleaseAfterWhichTheLogSaysThatSomebodyLed) {
  take(elector_.start(at(0s)));
  take(elector_.log_epoch_seen(Epoch(4), at(0s)));
  take(elector_.set_eligible(true, at(0s)));
  take(elector_.record_observed(Revision(7), released(held_by("b", other, 3)), at(0s)));
  EXPECT_FALSE(get<WriteRecord>());
  take(elector_.tick(at(10s)));
  EXPECT_TRUE(get<WriteRecord>());
}

TEST_F(ElectorBid, ReadsWhenTheWatchIsSilent) {
  begin(7, held_by("b", other, 3));
  take(elector_.tick(at(5'999ms)));
  EXPECT_FALSE(get<ReadRecord>());
  take(elector_.tick(at(6s)));
  EXPECT_TRUE(get<ReadRecord>());
}

TEST_F(ElectorBid, GivesBackTheLeaseOfADeadAgentOfItsOwnGuardAtOnce) {
  begin(7, held_by("a", {.family = own.family, .number = 1}, 3));
  const auto write = get<WriteRecord>();
  ASSERT_TRUE(write);
  EXPECT_EQ(write->expected, Revision(7));
  EXPECT_EQ(write->record.state, LeaseState::released);
  EXPECT_EQ(write->record.epoch, Epoch(3));
  take(elector_.write_finished(1, WriteOutcome::stored, Revision(8), at(2ms)));
  ASSERT_TRUE(get<WriteRecord>());
  EXPECT_EQ(get<WriteRecord>()->record.state, LeaseState::held);
  EXPECT_EQ(get<WriteRecord>()->record.epoch, Epoch(4));
}

TEST_F(ElectorBid, WaitsForAnEarlierProcessOfItsNameOfWhoseDeathItDoesNotKnow) {
  begin(7, held_by("a", other, 3));
  EXPECT_FALSE(get<WriteRecord>());
  take(elector_.tick(at(10s)));
  EXPECT_TRUE(get<WriteRecord>());
}

TEST_F(ElectorBid, FindsALiveProcessWithItsOwnName) {
  begin(7, held_by("a", other, 3));
  bool found = false;
  for (std::uint64_t change = 1; change <= 5; ++change) {
    EXPECT_FALSE(found);
    take(elector_.record_observed(Revision(7 + change), held_by("a", other, 3, 1 + change), at(change * 3s)));
    found = get<DuplicateNode>().has_value();
  }
  EXPECT_TRUE(found);
  take(elector_.tick(at(60s)));
  EXPECT_FALSE(get<WriteRecord>());
}

TEST_F(ElectorBid, SaysWhoLeadsAndWhenNobodyIsKnownTo) {
  begin(7, held_by("b", other, 3));
  ASSERT_TRUE(get<LeaderChanged>());
  EXPECT_EQ(get<LeaderChanged>()->leader->node, "b");
  take(elector_.record_observed(Revision(8), held_by("b", other, 3, 2), at(3s)));
  EXPECT_FALSE(get<LeaderChanged>());
  take(elector_.tick(at(13s)));
  ASSERT_TRUE(get<LeaderChanged>());
  EXPECT_FALSE(get<LeaderChanged>()->leader);
}

TEST(ElectorConfig, RefusesAHeartbeatThatIsTooSlowForTheLease) {
  ElectorConfig config;
  config.node = "a";
  EXPECT_TRUE(validate(config));
  config.heartbeat = 4s;
  EXPECT_EQ(validate(config).error().code(), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace litecluster::election
