#include "membership/roster.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace litecluster::membership {
namespace {

using namespace std::chrono_literals;
using base::BootTime;
using testing::ElementsAre;
using testing::IsEmpty;

class RosterTest : public ::testing::Test {
 protected:
  static BootTime at(base::Duration since) { return BootTime(100s) + since; }
  static Record record(const std::string& node, std::uint64_t joined = 0,
                       RecordState state = RecordState::alive) {
    Record record;
    record.member.id = {node, "i", Revision(joined)};
    record.state = state;
    record.lease = 3000ms;
    return record;
  }
  std::vector<std::string> events() {
    std::vector<std::string> texts;
    for (const RosterEvent& event : roster_.take_events()) {
      const char* kind = event.kind == RosterEvent::Kind::joined ? "joined "
                         : event.kind == RosterEvent::Kind::left ? "left "
                                                                 : "changed ";
      texts.push_back(kind + event.member.id.node + (event.reason.empty() ? "" : ": " + event.reason));
    }
    return texts;
  }
  /// Our own renewals, which show that the watch works.
  void hear_until(base::Duration end) {
    for (; own_ < end; own_ += 1s) {
      roster_.record_seen(at(own_), Revision(1000 + ++revision_), record("me", 1));
      roster_.tick(at(own_));
    }
  }
  Roster roster_{1s};
  base::Duration own_ = 0s;
  std::uint64_t revision_ = 0;
};

TEST_F(RosterTest, AMemberJoinsWithItsRecordAndLeavesWithItsGoodbye) {
  roster_.record_seen(at(0s), Revision(1), record("a"));
  roster_.record_seen(at(1s), Revision(2), record("a", 1, RecordState::left));
  EXPECT_THAT(events(), ElementsAre("joined a", "left a: said goodbye"));
}

TEST_F(RosterTest, SilenceOfOneLeaseByTheOwnClockIsLeaving) {
  roster_.record_seen(at(0s), Revision(1), record("a"));
  hear_until(3s);
  EXPECT_THAT(events(), ElementsAre("joined a", "joined me"));
  hear_until(4s);
  EXPECT_THAT(events(), ElementsAre("left a: silent"));
  EXPECT_FALSE(roster_.is_over({"a", "i", Revision(1)})) << "silent is not over";
}

TEST_F(RosterTest, AnObserverThatHearsNothingKeepsWhatItKnewAndCountsAnew) {
  roster_.record_seen(at(0s), Revision(1), record("a"));
  roster_.tick(at(10s));
  EXPECT_THAT(events(), ElementsAre("joined a"));
  own_ = 10s;
  hear_until(12s);
  EXPECT_THAT(events(), ElementsAre("joined me")) << "a may be heard any moment";
  hear_until(14s);
  EXPECT_THAT(events(), ElementsAre("left a: silent"));
}

TEST_F(RosterTest, ANewLifeIsLeavingAndJoiningAndProvesThatTheOldOneIsOver) {
  roster_.record_seen(at(0s), Revision(1), record("a"));
  roster_.record_seen(at(1s), Revision(5), record("a"));
  EXPECT_THAT(events(), ElementsAre("joined a", "left a: restarted", "joined a"));
  EXPECT_TRUE(roster_.is_over({"a", "i", Revision(1)}));
  EXPECT_FALSE(roster_.is_over({"a", "i", Revision(5)}));
  EXPECT_FALSE(roster_.is_over({"a", "i", Revision(9)})) << "a life we have not heard of yet";
}

TEST_F(RosterTest, OldRevisionsAreIgnored) {
  roster_.record_seen(at(0s), Revision(5), record("a", 5, RecordState::left));
  roster_.record_seen(at(1s), Revision(4), record("a", 4));
  EXPECT_THAT(events(), IsEmpty());
  EXPECT_THAT(roster_.members(), IsEmpty());
}

TEST_F(RosterTest, RecordsFromBeforeTheStartCountByTheirAgeOnTheServer) {
  const ServerTime server(1000s);
  roster_.record_seen(at(0s), Revision(1), record("dead"), {.initial = true, .written_at = server - 1h});
  roster_.record_seen(at(0s), Revision(2), record("fresh"), {.initial = true, .written_at = server - 1s});
  EXPECT_FALSE(roster_.settled());
  EXPECT_THAT(events(), IsEmpty());
  roster_.record_seen(at(100ms), Revision(3), record("me"), {.initial = false, .written_at = server});
  EXPECT_TRUE(roster_.settled());
  EXPECT_THAT(events(), ElementsAre("joined fresh", "joined me"));
}

TEST_F(RosterTest, RecordsThatNobodyNeedsAreForgottenOncePerRevision) {
  roster_.record_seen(at(0s), Revision(1), record("a", 1, RecordState::left));
  EXPECT_THAT(roster_.take_forgettable(at(59min)), IsEmpty());
  EXPECT_EQ(roster_.take_forgettable(at(61min)).size(), 1U);
  EXPECT_THAT(roster_.take_forgettable(at(62min)), IsEmpty());
  roster_.record_deleted(at(63min), Revision(2), "a");
  EXPECT_THAT(roster_.take_forgettable(at(130min)), IsEmpty());
  EXPECT_EQ(roster_.find("a"), nullptr);
}

TEST_F(RosterTest, WhatAMemberSaysAnewIsAChange) {
  roster_.record_seen(at(0s), Revision(1), record("a"));
  Record renewed = record("a", 1);
  roster_.record_seen(at(1s), Revision(2), renewed);
  const std::uint64_t before = roster_.generation();
  roster_.record_seen(at(2s), Revision(3), renewed);
  EXPECT_EQ(roster_.generation(), before) << "a mere renewal";
  renewed.member.role = Role::active;
  roster_.record_seen(at(3s), Revision(4), renewed);
  EXPECT_THAT(events(), ElementsAre("joined a", "changed a"));
}

TEST_F(RosterTest, AfterALossOfHistorySmallerRevisionsCount) {
  roster_.record_seen(at(0s), Revision(500), record("a"));
  roster_.record_seen(at(0s), Revision(501), record("b"));
  roster_.record_seen(at(0s), Revision(502), record("dead", 0, RecordState::left));
  static_cast<void>(events());
  roster_.history_lost();
  EXPECT_THAT(events(), IsEmpty()) << "those who are here stay here";
  const ServerTime stored(1000s);
  roster_.record_seen(at(1s), Revision(3), record("a"), {.initial = true, .written_at = stored});
  EXPECT_THAT(events(), ElementsAre("left a: restarted"));
  roster_.record_seen(at(1s), Revision(4), record("me", 1), {.written_at = stored + 1s});
  EXPECT_THAT(events(), ElementsAre("joined a", "joined me"));
  roster_.record_seen(at(1s), Revision(2), record("a"));
  EXPECT_EQ(roster_.find("a")->revision, Revision(3)) << "from then on they only grow again";
  own_ = 2s;
  hear_until(4s);
  EXPECT_THAT(events(), ElementsAre("left a: silent", "left b: silent")) << "nobody heard of either again";
}

}  // namespace
}  // namespace litecluster::membership
