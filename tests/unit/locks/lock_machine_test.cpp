#include "locks/lock_machine.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace litecluster::locks {
namespace {

using namespace std::chrono_literals;
using base::BootTime;
using testing::IsEmpty;
using testing::SizeIs;

constexpr BootTime start_time{1000s};

LockMachine claim(bool wait = true) {
  return LockMachine({.node = "me", .hold = "mine", .lease = 10s, .wait = wait, .seen_before = std::nullopt});
}

LockRecord others(bool held = true) {
  return {.held = held, .token = FencingToken(5), .node = "other", .hold = "theirs#1", .lease = 20s};
}

Observation seen(std::uint64_t revision, std::optional<LockRecord> record) {
  return {.revision = Revision(revision), .record = std::move(record), .floor = revision};
}

template <typename What>
What only(const Actions& actions) {
  EXPECT_THAT(actions, SizeIs(1));
  if (actions.size() != 1 || !std::holds_alternative<What>(actions.front())) {
    ADD_FAILURE() << "another action";
    return {};
  }
  return std::get<What>(actions.front());
}

/// A claim that holds the lock: bid sent at the start time, stored as revision 10.
LockMachine holder() {
  LockMachine machine = claim();
  (void)machine.start();
  (void)machine.read_done(start_time, seen(9, others(false)));
  (void)machine.write_done(start_time + 1s, start_time, WriteOutcome::done, Revision(10));
  EXPECT_EQ(machine.state(), LockMachine::State::held);
  return machine;
}

TEST(LockMachine, ReadsFirst) {
  LockMachine machine = claim();
  only<action::Read>(machine.start());
}

TEST(LockMachine, BidsAtOnceForAReleasedLockWithTheNextToken) {
  LockMachine machine = claim();
  (void)machine.start();
  const auto bid = only<action::Write>(machine.read_done(start_time, seen(9, others(false))));
  EXPECT_EQ(bid.expected, Revision(9));
  EXPECT_EQ(bid.record.token, FencingToken(6));
  EXPECT_TRUE(bid.record.held);
}

TEST(LockMachine, ATokenAfterADeletedRecordIsHigherThanAnyRevisionOfTheBucket) {
  LockMachine machine = claim();
  (void)machine.start();
  Observation deleted = seen(40, std::nullopt);
  deleted.floor = 77;
  const auto bid = only<action::Write>(machine.read_done(start_time, deleted));
  EXPECT_EQ(bid.expected, Revision(40));
  EXPECT_EQ(bid.record.token, FencingToken(78));
}

TEST(LockMachine, WaitsOneLeaseOfTheHolderFromTheLastChangeThatItSaw) {
  LockMachine machine = claim();
  (void)machine.start();
  EXPECT_THAT(machine.read_done(start_time, seen(9, others())), IsEmpty());
  EXPECT_EQ(machine.wake_at(), start_time + 20s);
  EXPECT_THAT(machine.observed(start_time + 5s, seen(10, others())), IsEmpty());
  EXPECT_EQ(machine.wake_at(), start_time + 25s);
  EXPECT_THAT(machine.tick(start_time + 25s - 1ns), IsEmpty());
  EXPECT_EQ(only<action::Write>(machine.tick(start_time + 25s)).expected, Revision(10));
}

TEST(LockMachine, AnOlderRevisionDoesNotStartTheWaitAgain) {
  LockMachine machine = claim();
  (void)machine.start();
  (void)machine.read_done(start_time, seen(9, others()));
  EXPECT_THAT(machine.observed(start_time + 5s, seen(8, others(false))), IsEmpty());
  EXPECT_EQ(machine.wake_at(), start_time + 20s);
}

TEST(LockMachine, RemembersFromAnEarlierClaimSinceWhenARevisionStands) {
  LockMachine machine({.node = "me",
                       .hold = "mine",
                       .lease = 10s,
                       .wait = false,
                       .seen_before = std::pair(Revision(9), start_time - 20s)});
  (void)machine.start();
  only<action::Write>(machine.read_done(start_time, seen(9, others())));
}

TEST(LockMachine, TellsSinceWhenItHasSeenAHolderAndNothingOfAFreeLockOrItsOwn) {
  LockMachine machine = claim();
  (void)machine.start();
  EXPECT_EQ(machine.seen(), std::nullopt);
  (void)machine.read_done(start_time, seen(9, others()));
  EXPECT_EQ(machine.seen(), std::pair(Revision(9), start_time));
  (void)machine.observed(start_time + 1s, seen(10, others(false)));
  EXPECT_EQ(machine.seen(), std::nullopt);
  EXPECT_EQ(holder().seen(), std::nullopt);
}

TEST(LockMachine, DoesNotWaitWhenItIsNotToAndSaysWhoHoldsIt) {
  LockMachine machine = claim(/*wait=*/false);
  (void)machine.start();
  EXPECT_EQ(only<action::Refused>(machine.read_done(start_time, seen(9, others()))).node, "other");
  EXPECT_EQ(machine.state(), LockMachine::State::finished);
}

TEST(LockMachine, CountsTheLeaseFromBeforeTheBidWasSent) {
  const LockMachine machine = holder();
  EXPECT_EQ(machine.deadline(), start_time + 8s);
  EXPECT_TRUE(machine.held(start_time + 8s - 1ns));
  EXPECT_FALSE(machine.held(start_time + 8s));
}

TEST(LockMachine, ABidWhoseReplyComesTooLateIsBidAgain) {
  LockMachine machine = claim();
  (void)machine.start();
  (void)machine.read_done(start_time, seen(9, others(false)));
  const auto again =
      only<action::Write>(machine.write_done(start_time + 8s, start_time, WriteOutcome::done, Revision(10)));
  EXPECT_EQ(again.expected, Revision(10));
  EXPECT_EQ(again.record.token, FencingToken(7));
}

TEST(LockMachine, RecognisesItsOwnBidWhenTheReplyWasLost) {
  LockMachine machine = claim();
  (void)machine.start();
  const auto bid = only<action::Write>(machine.read_done(start_time, seen(9, others(false))));
  EXPECT_THAT(machine.write_done(start_time + 1s, start_time, WriteOutcome::unknown, {}), IsEmpty());
  only<action::Read>(machine.tick(start_time + 2s));
  EXPECT_EQ(only<action::Acquired>(machine.read_done(start_time + 3s, seen(10, bid.record))).token,
            FencingToken(6));
  EXPECT_EQ(machine.deadline(), start_time + 8s);
}

TEST(LockMachine, AnEarlierBidInTheRecordIsNotTakenForALaterOne) {
  LockMachine machine = claim();
  (void)machine.start();
  const auto bid = only<action::Write>(machine.read_done(start_time, seen(9, others(false))));
  // Refused, says a repeated request; in truth it was made.
  (void)machine.write_done(start_time + 1s, start_time, WriteOutcome::conflict, {});
  only<action::Write>(machine.read_done(start_time + 9s, seen(10, bid.record)));
  (void)machine.write_done(start_time + 10s, start_time + 9s, WriteOutcome::unknown, {});
  (void)machine.tick(start_time + 11s);
  // The record is still that of the first bid, whose lease is nearly over.
  only<action::Write>(machine.read_done(start_time + 11s, seen(10, bid.record)));
}

TEST(LockMachine, RenewsThreeTimesALease) {
  LockMachine machine = holder();
  ASSERT_TRUE(machine.wake_at().has_value());
  const BootTime due = *machine.wake_at();
  EXPECT_NEAR(static_cast<double>((due - start_time) / 1ms), 3333, 1);
  const auto renewal = only<action::Write>(machine.tick(due));
  EXPECT_EQ(renewal.expected, Revision(10));
  EXPECT_EQ(renewal.record.token, FencingToken(6));
  EXPECT_THAT(machine.write_done(due + 1s, due, WriteOutcome::done, Revision(15)), IsEmpty());
  EXPECT_EQ(machine.deadline(), due + 8s);
}

TEST(LockMachine, IsLostAtTheDeadlineWhateverALaterReplySays) {
  LockMachine machine = holder();
  (void)machine.tick(start_time + 4s);
  only<action::Lost>(machine.write_done(start_time + 8s, start_time + 4s, WriteOutcome::done, Revision(15)));
  EXPECT_FALSE(machine.held(start_time + 8s));
}

TEST(LockMachine, IsLostAtOnceWhenSomebodyElseIsInTheRecord) {
  LockMachine machine = holder();
  const auto lost = only<action::Lost>(machine.observed(start_time + 2s, seen(11, others())));
  EXPECT_EQ(lost.reason, "taken over by other");
}

TEST(LockMachine, ReleaseKeepsTheToken) {
  LockMachine machine = holder();
  const auto release = only<action::Write>(machine.end(start_time + 2s));
  EXPECT_EQ(release.expected, Revision(10));
  EXPECT_FALSE(release.record.held);
  EXPECT_EQ(release.record.token, FencingToken(6));
  EXPECT_FALSE(machine.held(start_time + 2s));
  EXPECT_TRUE(only<action::Finished>(
                  machine.write_done(start_time + 2s, start_time + 2s, WriteOutcome::done, Revision(11)))
                  .given_back);
}

TEST(LockMachine, NeverReleasesWhatIsSomebodyElses) {
  LockMachine machine = holder();
  (void)machine.tick(start_time + 4s);
  // Somebody else is seen in the record while the renewal is under way, and the renewal gets no reply.
  (void)machine.observed(start_time + 5s, seen(20, others()));
  (void)machine.write_done(start_time + 6s, start_time + 4s, WriteOutcome::unknown, {});
  EXPECT_TRUE(only<action::Finished>(machine.end(start_time + 7s)).given_back);
}

TEST(LockMachine, ACancelledClaimGivesBackABidThatSucceededAfterwards) {
  LockMachine machine = claim();
  (void)machine.start();
  (void)machine.read_done(start_time, seen(9, others(false)));
  EXPECT_THAT(machine.end(start_time + 1s), IsEmpty());
  const auto release =
      only<action::Write>(machine.write_done(start_time + 2s, start_time, WriteOutcome::done, Revision(10)));
  EXPECT_FALSE(release.record.held);
}

TEST(LockMachine, StopsTryingToReleaseWhenTheLeaseHasRunOutAnyway) {
  LockMachine machine = holder();
  (void)machine.end(start_time + 2s);
  (void)machine.write_done(start_time + 3s, start_time + 2s, WriteOutcome::unknown, {});
  EXPECT_FALSE(only<action::Finished>(machine.tick(start_time + 12s)).given_back);
}

TEST(LockMachine, DoesNotSpinWhenTheServerRefusesARevisionThatItNamesItself) {
  LockMachine machine = claim();
  (void)machine.start();
  (void)machine.read_done(start_time, seen(9, others(false)));
  only<action::Read>(machine.write_done(start_time, start_time, WriteOutcome::conflict, {}));
  EXPECT_THAT(machine.read_done(start_time, seen(9, others(false))), IsEmpty());
  EXPECT_GT(machine.wake_at(), start_time + 100ms);
}

}  // namespace
}  // namespace litecluster::locks
