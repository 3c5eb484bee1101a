#include "unit/election/elector_fixture.hpp"

namespace litecluster::election {
namespace {

class ElectorTerm : public ElectorFixture {};

TEST_F(ElectorTerm, CountsTheDeadlineFromBeforeTheWriteWasSent) {
  begin(0, std::nullopt);
  take(elector_.write_finished(1, WriteOutcome::stored, Revision(1), at(1s)));
  ASSERT_TRUE(get<BecameLeader>());
  EXPECT_EQ(get<BecameLeader>()->deadline, at(8s));
  EXPECT_EQ(get<BecameLeader>()->epoch, Epoch(1));
}

TEST_F(ElectorTerm, RenewsEachHeartbeat) {
  become_leader();
  EXPECT_EQ(timer(), 3s);
  take(elector_.tick(at(3s)));
  const auto write = get<WriteRecord>();
  ASSERT_TRUE(write);
  EXPECT_EQ(write->expected, Revision(1));
  EXPECT_EQ(write->record.epoch, Epoch(1));
  take(elector_.write_finished(2, WriteOutcome::stored, Revision(2), at(3'500ms)));
  ASSERT_TRUE(get<LeaseExtended>());
  EXPECT_EQ(get<LeaseExtended>()->deadline, at(11s));
}

TEST_F(ElectorTerm, IsOverAtTheDeadlineWhateverComesThen) {
  become_leader();
  take(elector_.tick(at(3s)));
  EXPECT_TRUE(elector_.leads(at(7'999ms)));
  EXPECT_FALSE(elector_.leads(at(8s)));
  // Stopped from 3 s to 9 s: the answer is found first, and is too late.
  take(elector_.write_finished(2, WriteOutcome::stored, Revision(2), at(9s)));
  ASSERT_TRUE(get<LostLeadership>());
  EXPECT_EQ(get<LostLeadership>()->reason, LossReason::deadline);
  EXPECT_FALSE(get<LeaseExtended>());
  EXPECT_FALSE(elector_.leads(at(9s)));
}

TEST_F(ElectorTerm, IsNotBegunWhenTheClaimCameThroughTooLate) {
  begin(0, std::nullopt);
  take(elector_.tick(at(1500ms)));  // no answer: unknown
  take(elector_.record_observed(Revision(1), held_by("a", own, 1, 1), at(8s)));
  EXPECT_FALSE(get<BecameLeader>());
  const auto write = get<WriteRecord>();
  ASSERT_TRUE(write) << "it is ours, so it is renewed first";
  EXPECT_EQ(write->expected, Revision(1));
  take(elector_.write_finished(2, WriteOutcome::stored, Revision(2), at(8'100ms)));
  ASSERT_TRUE(get<BecameLeader>());
  EXPECT_EQ(get<BecameLeader>()->deadline, at(16s));
}

TEST_F(ElectorTerm, ResolvesAnUnansweredRenewalByReadingAndCountsFromThatAttempt) {
  become_leader();
  take(elector_.tick(at(3s)));
  take(elector_.tick(at(4'500ms)));
  EXPECT_TRUE(get<ReadRecord>());
  take(elector_.record_observed(Revision(2), held_by("a", own, 1, 2), at(5s)));
  ASSERT_TRUE(get<LeaseExtended>());
  EXPECT_EQ(get<LeaseExtended>()->deadline, at(11s));
}

TEST_F(ElectorTerm, WritesAgainWhenTheUnansweredRenewalHadNotArrived) {
  become_leader();
  take(elector_.tick(at(3s)));
  take(elector_.write_finished(2, WriteOutcome::unknown, Revision(), at(3'100ms)));
  EXPECT_FALSE(get<WriteRecord>());
  take(elector_.tick(at(3'400ms)));
  EXPECT_TRUE(get<ReadRecord>());
  take(elector_.record_observed(Revision(1), held_by("a", own, 1, 1), at(3'500ms)));
  ASSERT_TRUE(get<WriteRecord>());
  EXPECT_EQ(get<WriteRecord>()->expected, Revision(1));
  EXPECT_EQ(get<WriteRecord>()->record.sequence, 3U);
}

TEST_F(ElectorTerm, TriesToWriteWhenReadsFail) {
  become_leader();
  take(elector_.tick(at(3s)));
  take(elector_.write_finished(2, WriteOutcome::unknown, Revision(), at(3'100ms)));
  take(elector_.tick(at(3'400ms)));
  take(elector_.read_failed(at(3'500ms)));
  take(elector_.tick(at(3'800ms)));
  EXPECT_TRUE(get<WriteRecord>());
}

TEST_F(ElectorTerm, EndsWhenTheRecordNamesAnother) {
  become_leader();
  take(elector_.record_observed(Revision(5), held_by("b", other, 2), at(1s)));
  ASSERT_TRUE(get<LostLeadership>());
  EXPECT_EQ(get<LostLeadership>()->reason, LossReason::superseded);
}

TEST_F(ElectorTerm, EndsWhenTheRecordIsGoneOrUnreadable) {
  become_leader();
  take(elector_.record_unreadable(Revision(5), at(1s)));
  ASSERT_TRUE(get<LostLeadership>());
  EXPECT_EQ(get<LostLeadership>()->reason, LossReason::record_gone);
}

TEST_F(ElectorTerm, NeverComesBackAfterItWasLost) {
  become_leader();
  take(elector_.tick(at(8s)));
  ASSERT_TRUE(get<LostLeadership>());
  take(elector_.record_observed(Revision(1), held_by("a", own, 1, 1), at(8'100ms)));
  EXPECT_FALSE(get<WriteRecord>()) << "not before the demotion is complete";
  EXPECT_TRUE(elector_.owes_demotion());
  take(elector_.release({}, at(9s)));
  ASSERT_TRUE(get<WriteRecord>());
  EXPECT_EQ(get<WriteRecord>()->record.state, LeaseState::released);
  take(elector_.write_finished(get<WriteRecord>()->record.sequence, WriteOutcome::stored, Revision(2),
                               at(9'010ms)));
  EXPECT_TRUE(get<Released>());
  ASSERT_TRUE(get<WriteRecord>()) << "it may bid for a new term";
  EXPECT_EQ(get<WriteRecord>()->record.epoch, Epoch(2));
}

TEST_F(ElectorTerm, IsGivenBackWithPositionAndSuccessor) {
  become_leader();
  take(elector_.peer_seen("b", Txid(3), at(1s)));
  const Position position{.txid = Txid(77), .checksum = Checksum(5)};
  take(elector_.release({.reason = ReleaseReason::stepped_down, .position = position, .successor = "b"},
                        at(1s)));
  ASSERT_TRUE(get<LostLeadership>());
  EXPECT_FALSE(elector_.leads(at(1s)));
  const auto write = get<WriteRecord>();
  ASSERT_TRUE(write);
  EXPECT_EQ(write->record.position, position);
  EXPECT_EQ(write->record.successor, "b");
  EXPECT_EQ(write->record.state, LeaseState::released);
  EXPECT_FALSE(get<Released>());
  take(elector_.write_finished(2, WriteOutcome::stored, Revision(2), at(1'010ms)));
  EXPECT_TRUE(get<Released>());
}

TEST_F(ElectorTerm, StaysOutForACooldownWhenOthersAreThere) {
  become_leader();
  take(elector_.peer_seen("b", Txid(3), at(1s)));
  take(elector_.release({.reason = ReleaseReason::stepped_down, .position = {}, .successor = {}}, at(1s)));
  take(elector_.write_finished(2, WriteOutcome::stored, Revision(2), at(1s)));
  for (base::Duration time = 2s; time < 11s; time += 1s) {
    take(elector_.peer_seen("b", Txid(3), at(time)));
    EXPECT_FALSE(get<WriteRecord>());
  }
  take(elector_.tick(at(11s)));
  EXPECT_TRUE(get<WriteRecord>()) << "the others do not want it";
}

TEST_F(ElectorTerm, EndsTheCooldownWhenNobodyElseIsLeft) {
  become_leader();
  take(elector_.peer_seen("b", Txid(3), at(1s)));
  take(elector_.release({.reason = ReleaseReason::stepped_down, .position = {}, .successor = {}}, at(1s)));
  take(elector_.write_finished(2, WriteOutcome::stored, Revision(2), at(1s)));
  EXPECT_FALSE(get<WriteRecord>());
  take(elector_.peer_left("b", at(2s)));
  EXPECT_TRUE(get<WriteRecord>());
}

TEST_F(ElectorTerm, EndsTheCooldownOnceAnotherHasLed) {
  become_leader();
  take(elector_.peer_seen("b", Txid(3), at(1s)));
  take(elector_.release({.reason = ReleaseReason::stepped_down, .position = {}, .successor = {}}, at(1s)));
  take(elector_.write_finished(2, WriteOutcome::stored, Revision(2), at(1s)));
  take(elector_.record_observed(Revision(3), held_by("b", other, 2), at(2s)));
  take(elector_.record_observed(Revision(4), released(held_by("b", other, 2)), at(3s)));
  EXPECT_TRUE(get<WriteRecord>());
}

TEST_F(ElectorTerm, WaitsABeatAfterAFailedPromotionEvenAlone) {
  become_leader();
  take(
      elector_.release({.reason = ReleaseReason::promotion_failed, .position = {}, .successor = {}}, at(1s)));
  take(elector_.write_finished(2, WriteOutcome::stored, Revision(2), at(1s)));
  take(elector_.tick(at(3'999ms)));
  EXPECT_FALSE(get<WriteRecord>());
  take(elector_.tick(at(4s)));
  EXPECT_TRUE(get<WriteRecord>());
}

TEST_F(ElectorTerm, BidsNoMoreAfterShutdown) {
  become_leader();
  take(elector_.release({.reason = ReleaseReason::shutdown, .position = {}, .successor = {}}, at(1s)));
  take(elector_.write_finished(2, WriteOutcome::stored, Revision(2), at(1s)));
  EXPECT_TRUE(get<Released>());
  take(elector_.tick(at(60s)));
  EXPECT_FALSE(get<WriteRecord>());
}

TEST_F(ElectorTerm, LooksAgainAsSoonAsTheConnectionIsBack) {
  become_leader();
  take(elector_.tick(at(3s)));
  take(elector_.connection_changed(false, at(3'010ms)));
  EXPECT_FALSE(get<WriteRecord>());
  take(elector_.connection_changed(true, at(4s)));
  EXPECT_TRUE(get<ReadRecord>());
  take(elector_.record_observed(Revision(1), held_by("a", own, 1, 1), at(4'010ms)));
  EXPECT_TRUE(get<WriteRecord>());
}

}  // namespace
}  // namespace litecluster::election
