#include "ring/participant.hpp"

#include <gtest/gtest.h>

namespace litecluster::ring {
namespace {

using namespace std::chrono_literals;
using base::BootTime;

const MemberId self{"a", "x", Revision(1)};
const MemberId other{"b", "y", Revision(2)};

class ParticipantTest : public ::testing::Test {
 protected:
  static BootTime at(base::Duration since) { return BootTime(100s) + since; }
  static std::shared_ptr<const Assignment> assignment(std::uint64_t version, std::vector<Slot> slots) {
    auto made = std::make_shared<Assignment>();
    made->version = RingVersion(version);
    made->members = {self, other};
    made->slots = std::move(slots);
    return made;
  }
  template <typename Action>
  std::optional<Action> take() {
    for (ParticipantAction& action : participant_.take_actions()) {
      if (auto* found = std::get_if<Action>(&action)) return std::move(*found);
    }
    return std::nullopt;
  }
  void own_both() {
    participant_.life_begun(at(0s), self, at(10s));
    participant_.assignment_seen(at(0s), assignment(1, {{0, 0, {}}, {0, 0, {}}}));
    ASSERT_EQ(take<RunOwn>()->partitions.size(), 2U);
    participant_.hook_done(at(0s), true);
  }
  Participant participant_{2};
};

TEST_F(ParticipantTest, OwnsOnlyWhatItHoldsAndIsMeantToKeep) {
  participant_.life_begun(at(0s), self, at(10s));
  participant_.assignment_seen(at(0s), assignment(1, {{0, 0, {}}, {1, 0, RingVersion(1)}}));
  EXPECT_EQ(take<RunOwn>()->partitions, std::vector{Partition(0)});
}

TEST_F(ParticipantTest, SaysThatItReleasedOnlyAfterTheHookHasReturned) {
  own_both();
  participant_.assignment_seen(at(1s), assignment(2, {{0, 0, {}}, {0, 1, RingVersion(2)}}));
  std::vector<ParticipantAction> actions = participant_.take_actions();
  ASSERT_EQ(actions.size(), 1U);
  EXPECT_EQ(std::get<RunRelease>(actions[0]).partitions, std::vector{Partition(1)});
  participant_.hook_done(at(2s), true);
  EXPECT_EQ(take<AcknowledgeRelease>()->version, RingVersion(2));
  EXPECT_EQ(participant_.state(Partition(0)), Participant::State::owned);
}

TEST_F(ParticipantTest, AnOlderVersionIsIgnored) {
  own_both();
  participant_.assignment_seen(at(1s), assignment(3, {{1, 1, {}}, {1, 1, {}}}));
  EXPECT_TRUE(take<RunRelease>());
  participant_.hook_done(at(1s), true);
  participant_.assignment_seen(at(2s), assignment(2, {{0, 0, {}}, {0, 0, {}}}));
  EXPECT_FALSE(take<RunOwn>());
}

TEST_F(ParticipantTest, LosingTheLifeReleasesEverythingAndThenSettles) {
  own_both();
  participant_.life_over(at(1s));
  EXPECT_TRUE(take<RunRelease>()->life_is_over);
  EXPECT_FALSE(take<RingSettled>());
  participant_.hook_done(at(2s), true);
  EXPECT_TRUE(take<RingSettled>());
}

TEST_F(ParticipantTest, TheDeadlineCountsEvenWhenNobodySaidThatTheLifeIsOver) {
  own_both();
  participant_.tick(at(10s));
  EXPECT_TRUE(take<RunRelease>());
}

TEST_F(ParticipantTest, NothingIsOwnedByNewsThatComeAfterTheDeadline) {
  participant_.life_begun(at(0s), self, at(10s));
  participant_.assignment_seen(at(11s), assignment(1, {{0, 0, {}}, {0, 0, {}}}));
  EXPECT_FALSE(take<RunOwn>());
}

TEST_F(ParticipantTest, ANewLifeOwnsNothingThatAnOldOneWasGiven) {
  own_both();
  participant_.life_over(at(1s));
  participant_.hook_done(at(1s), true);
  static_cast<void>(participant_.take_actions());
  participant_.life_begun(at(2s), {"a", "x-1", Revision(9)}, at(12s));
  EXPECT_FALSE(take<RunOwn>());
}

TEST_F(ParticipantTest, OnOwnIsCancelledWhenItsPartitionsAreTakenAwayAndReleasedIfItSucceededAllTheSame) {
  participant_.life_begun(at(0s), self, at(10s));
  participant_.assignment_seen(at(0s), assignment(1, {{0, 0, {}}, {0, 0, {}}}));
  static_cast<void>(participant_.take_actions());
  participant_.assignment_seen(at(1s), assignment(2, {{0, 0, {}}, {0, 1, RingVersion(2)}}));
  EXPECT_TRUE(take<CancelHook>());
  participant_.hook_done(at(1s), true);
  EXPECT_EQ(take<RunRelease>()->partitions, std::vector{Partition(1)});
}

TEST_F(ParticipantTest, OnOwnThatFailsIsTriedAgainLaterAndLater) {
  participant_.life_begun(at(0s), self, at(1h));
  participant_.assignment_seen(at(0s), assignment(1, {{0, 0, {}}, {1, 1, {}}}));
  static_cast<void>(participant_.take_actions());
  participant_.hook_done(at(0s), false);
  EXPECT_TRUE(participant_.failing());
  EXPECT_EQ(participant_.next_tick(), at(1s));
  participant_.tick(at(1s));
  EXPECT_TRUE(take<RunOwn>());
  participant_.hook_done(at(1s), false);
  EXPECT_EQ(participant_.next_tick(), at(3s));
  participant_.tick(at(3s));
  participant_.hook_done(at(3s), true);
  EXPECT_EQ(participant_.state(Partition(0)), Participant::State::owned);
}

TEST_F(ParticipantTest, AFailureIsForgottenWhenNothingOfItIsWantedAnyMore) {
  participant_.life_begun(at(0s), self, at(1h));
  participant_.assignment_seen(at(0s), assignment(1, {{0, 0, {}}, {1, 1, {}}}));
  participant_.hook_done(at(0s), false);
  participant_.tick(at(1s));
  EXPECT_TRUE(participant_.failing()) << "while it is tried again, too";
  participant_.hook_done(at(1s), false);
  participant_.assignment_seen(at(2s), assignment(2, {{0, 1, RingVersion(2)}, {1, 1, {}}}));
  EXPECT_FALSE(participant_.failing());
  EXPECT_EQ(participant_.next_tick(), at(1h)) << "nothing is due but the deadline";
  static_cast<void>(participant_.take_actions());
  participant_.assignment_seen(at(3s), assignment(3, {{0, 0, {}}, {1, 1, {}}}));
  EXPECT_TRUE(take<RunOwn>()) << "at once, when it comes back";
  participant_.hook_done(at(3s), false);
  EXPECT_EQ(participant_.next_tick(), at(4s)) << "the pauses begin anew";
}

TEST_F(ParticipantTest, AFailureEndsWithTheLife) {
  participant_.life_begun(at(0s), self, at(1h));
  participant_.assignment_seen(at(0s), assignment(1, {{0, 0, {}}, {1, 1, {}}}));
  participant_.hook_done(at(0s), false);
  participant_.life_over(at(100ms));
  EXPECT_FALSE(participant_.failing());
}

TEST_F(ParticipantTest, ACallThatWasCancelledIsNoFailure) {
  participant_.life_begun(at(0s), self, at(1h));
  participant_.assignment_seen(at(0s), assignment(1, {{0, 0, {}}, {0, 0, {}}}));
  participant_.assignment_seen(at(1s), assignment(2, {{0, 0, {}}, {0, 1, RingVersion(2)}}));
  static_cast<void>(participant_.take_actions());
  participant_.hook_done(at(1s), false);
  EXPECT_FALSE(participant_.failing());
  EXPECT_EQ(take<RunOwn>()->partitions, std::vector{Partition(0)}) << "what is left is owned at once";
}

}  // namespace
}  // namespace litecluster::ring
