#include "membership/session.hpp"

#include <gtest/gtest.h>

namespace litecluster::membership {
namespace {

using namespace std::chrono_literals;
using base::BootTime;

// Heartbeat 1 s, so the lease is 3 s and the deadline 2.4 s after the last renewal was sent.
class SessionTest : public ::testing::Test {
 protected:
  static BootTime at(base::Duration since) { return BootTime(100s) + since; }
  static Session make(std::string dead = {}) {
    return Session({.node = "a", .incarnation = "me", .heartbeat = 1s, .dead_incarnation = std::move(dead)});
  }
  static Record other(const std::string& incarnation, RecordState state = RecordState::alive) {
    Record record;
    record.member.id = {"a", incarnation, Revision()};
    record.state = state;
    record.lease = 3000ms;
    return record;
  }
  /// The one action of the kind among all that wait.
  template <typename Action>
  static std::optional<Action> take(Session& session) {
    for (SessionAction& action : session.take_actions()) {
      if (auto* found = std::get_if<Action>(&action)) return std::move(*found);
    }
    return std::nullopt;
  }
  static Session live() {
    Session session = make();
    session.start(at(0s));
    session.read_done(at(0s), {});
    session.written(at(100ms), WriteOutcome::done, Revision(5));
    EXPECT_TRUE(take<SessionJoined>(session));
    return session;
  }
};

TEST_F(SessionTest, AFreeNameIsTakenAndTheFirstRevisionNamesTheLife) {
  Session session = make();
  session.start(at(0s));
  EXPECT_TRUE(take<ReadRecord>(session));
  session.read_done(at(10ms), {});
  const auto write = take<WriteRecord>(session);
  ASSERT_TRUE(write);
  EXPECT_EQ(write->expected, Revision());
  EXPECT_TRUE(write->record.member.id.joined.is_zero());
  session.written(at(20ms), WriteOutcome::done, Revision(5));
  EXPECT_EQ(take<SessionJoined>(session)->id.joined, Revision(5));
  EXPECT_EQ(session.deadline(), at(10ms + 2400ms)) << "counted from before the write was sent";
}

TEST_F(SessionTest, ARenewalIsDueAfterAHeartbeatAndExtendsTheDeadlineFromWhenItWasSent) {
  Session session = live();
  EXPECT_EQ(session.next_tick(), at(1s));
  session.tick(at(1s));
  const auto write = take<WriteRecord>(session);
  ASSERT_TRUE(write);
  EXPECT_EQ(write->expected, Revision(5));
  EXPECT_EQ(write->record.member.id.joined, Revision(5));
  session.written(at(2s), WriteOutcome::done, Revision(6));
  EXPECT_EQ(session.deadline(), at(1s + 2400ms));
}

TEST_F(SessionTest, PastItsDeadlineItLapsesWhateverComesAfterwards) {
  Session session = live();
  session.tick(at(1s));
  static_cast<void>(session.take_actions());
  session.written(at(2400ms), WriteOutcome::done, Revision(6));
  EXPECT_TRUE(take<SessionLapsed>(session)) << "an answer that comes too late does not help";
  EXPECT_FALSE(session.live());
}

TEST_F(SessionTest, AnUnknownOutcomeIsReadBackAndDoesNotExtendTheDeadline) {
  Session session = live();
  session.tick(at(1s));
  static_cast<void>(session.take_actions());
  session.written(at(1500ms), WriteOutcome::unknown, Revision());
  EXPECT_TRUE(take<ReadRecord>(session));
  EXPECT_EQ(session.deadline(), at(2400ms));
  Record mine = other("me");
  mine.member.id.joined = Revision(5);
  session.read_done(at(1600ms), {Revision(6), mine});
  const auto write = take<WriteRecord>(session);
  ASSERT_TRUE(write);
  EXPECT_EQ(write->expected, Revision(6)) << "it had been stored";
}

TEST_F(SessionTest, BeingExpelledEndsTheLifeAndANewOneBeginsOnceSettled) {
  Session session = live();
  session.record_seen(at(200ms), {Revision(9), other("me", RecordState::expelled)});
  EXPECT_TRUE(take<SessionLapsed>(session));
  session.tick(at(10s));
  EXPECT_FALSE(take<ReadRecord>(session)) << "not before all is let go";
  session.settled(at(10s));
  EXPECT_TRUE(take<ReadRecord>(session));
  session.read_done(at(10s), {Revision(9), other("me", RecordState::expelled)});
  const auto write = take<WriteRecord>(session);
  ASSERT_TRUE(write);
  EXPECT_EQ(write->expected, Revision(9));
  EXPECT_NE(write->record.member.id.incarnation, "me");
}

TEST_F(SessionTest, ANameThatIsRenewedByAnotherProcessIsRefused) {
  Session session = make();
  session.start(at(0s));
  session.read_done(at(0s), {Revision(5), other("you")});
  EXPECT_FALSE(take<WriteRecord>(session));
  session.record_seen(at(1s), {Revision(6), other("you")});
  const auto refused = take<SessionRefused>(session);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->error.code(), ErrorCode::already_exists);
}

TEST_F(SessionTest, ASilentNameIsTakenOverAfterOneWholeLeaseAtTheRevisionSeen) {
  Session session = make();
  session.start(at(0s));
  session.read_done(at(0s), {Revision(5), other("you")});
  static_cast<void>(session.take_actions());
  session.tick(at(2900ms));
  session.read_done(at(2990ms), {Revision(5), other("you")});
  EXPECT_FALSE(take<WriteRecord>(session));
  session.tick(at(3s));
  session.read_done(at(3s), {Revision(5), other("you")});
  const auto write = take<WriteRecord>(session);
  ASSERT_TRUE(write);
  EXPECT_EQ(write->expected, Revision(5));
}

TEST_F(SessionTest, ANameIsTakenAtOnceWhenItsHolderSaidGoodbyeOrIsKnownToBeDead) {
  for (const OwnRecord& own :
       {OwnRecord{Revision(5), other("you", RecordState::left)}, OwnRecord{Revision(5), other("you"), true},
        OwnRecord{Revision(5), other("dead")}, OwnRecord{Revision(5), std::nullopt}}) {
    Session session = make("dead");
    session.start(at(0s));
    session.read_done(at(0s), own);
    const auto write = take<WriteRecord>(session);
    ASSERT_TRUE(write);
    EXPECT_EQ(write->expected, Revision(5));
  }
}

TEST_F(SessionTest, AnotherProcessThatTookTheNameEndsThisOneForGood) {
  Session session = live();
  session.record_seen(at(200ms), {Revision(9), other("you")});
  EXPECT_TRUE(take<SessionLapsed>(session));
  session.settled(at(300ms));
  EXPECT_TRUE(take<SessionRefused>(session));
}

TEST_F(SessionTest, TheResultOfAFormerLifesWriteIsNotTakenForThatOfTheNewOne) {
  Session session = live();
  session.tick(at(1s));
  EXPECT_TRUE(take<WriteRecord>(session));
  session.tick(at(2400ms));
  EXPECT_TRUE(take<SessionLapsed>(session));
  session.record_seen(at(2450ms), {Revision(9), other("me", RecordState::expelled)});
  session.settled(at(2500ms));
  EXPECT_FALSE(take<ReadRecord>(session)) << "one operation at a time: the write is still under way";
  session.record_seen(at(2550ms), {Revision(9), other("me", RecordState::expelled)});
  EXPECT_FALSE(take<WriteRecord>(session));
  session.written(at(2600ms), WriteOutcome::done, Revision(10));
  EXPECT_FALSE(session.live()) << "it belongs to the life that is over";
  EXPECT_TRUE(take<ReadRecord>(session));
}

TEST_F(SessionTest, AGoodbyeIsWrittenAtTheOwnRevisionAndEndsIt) {
  Session session = live();
  session.leave(at(200ms));
  const auto write = take<WriteRecord>(session);
  ASSERT_TRUE(write);
  EXPECT_EQ(write->record.state, RecordState::left);
  EXPECT_EQ(write->expected, Revision(5));
  session.written(at(300ms), WriteOutcome::done, Revision(6));
  EXPECT_TRUE(take<SessionLeft>(session));
  EXPECT_FALSE(session.live());
}

TEST_F(SessionTest, OldNewsAndAStaleAnswerDoNotEndALife) {
  Session session = live();
  session.record_seen(at(200ms), {Revision(3), other("you")});
  EXPECT_TRUE(session.live());
  session.tick(at(1s));
  static_cast<void>(session.take_actions());
  session.written(at(1100ms), WriteOutcome::conflict, Revision());
  session.read_done(at(1200ms), {Revision(3), other("you", RecordState::left)});
  EXPECT_TRUE(session.live());
  EXPECT_TRUE(session.next_tick().has_value()) << "it is read again in a moment";
}

TEST_F(SessionTest, AnUrgentChangeIsSentAtOnceOrRightAfterTheWriteUnderWay) {
  Session session = live();
  Record content;
  content.ring = {.partitions = 8, .released = RingVersion(4)};
  session.describe(at(200ms), content, true);
  EXPECT_EQ(take<WriteRecord>(session)->record.ring.released, RingVersion(4));
  content.ring.released = RingVersion(5);
  session.describe(at(210ms), content, true);
  EXPECT_FALSE(take<WriteRecord>(session));
  session.written(at(220ms), WriteOutcome::done, Revision(6));
  EXPECT_EQ(take<WriteRecord>(session)->record.ring.released, RingVersion(5));
}

/// The number of writes within `duration` when the server refuses each at once, and each read succeeds.
int writes_of_a_refused(Session& session, BootTime from, base::Duration duration, const OwnRecord& own,
                        WriteOutcome outcome) {
  int writes = 0;
  BootTime now = from;
  while (now < from + duration) {
    bool acted = false;
    for (const SessionAction& action : session.take_actions()) {
      acted = true;
      if (std::holds_alternative<ReadRecord>(action)) session.read_done(now, own);
      if (std::holds_alternative<WriteRecord>(action)) {
        if (++writes > 1000) return writes;
        session.written(now, outcome, Revision());
      }
    }
    if (acted) continue;
    if (!session.next_tick()) return writes;
    now = std::max(now, *session.next_tick());
    session.tick(now);
  }
  return writes;
}

TEST_F(SessionTest, AClaimThatIsRefusedAtOnceIsTriedAgainAQuarterOfAHeartbeatLater) {
  for (const WriteOutcome outcome : {WriteOutcome::unknown, WriteOutcome::conflict}) {
    Session session = make();
    session.start(at(0s));
    const int writes = writes_of_a_refused(session, at(0s), 10s, {}, outcome);
    EXPECT_GE(writes, 39);
    EXPECT_LE(writes, 42);
  }
}

TEST_F(SessionTest, ARenewalThatIsRefusedAtOnceIsTriedAgainAQuarterOfAHeartbeatLater) {
  Session session = live();
  Record mine = other("me");
  mine.member.id.joined = Revision(5);
  session.tick(at(1s));
  EXPECT_LE(writes_of_a_refused(session, at(1s), 1400ms, {Revision(5), mine}, WriteOutcome::unknown), 6);
  EXPECT_FALSE(session.live());
}

TEST_F(SessionTest, AFirstConflictIsReadBackAtOnce) {
  Session session = make();
  session.start(at(0s));
  session.read_done(at(0s), {});
  static_cast<void>(session.take_actions());
  session.written(at(1ms), WriteOutcome::conflict, Revision());
  EXPECT_TRUE(take<ReadRecord>(session));
}

}  // namespace
}  // namespace litecluster::membership
