#include "backend/guard_machine.hpp"

#include <gtest/gtest.h>
#include <signal.h>

#include <vector>

namespace litecluster::backend {
namespace {

using namespace std::chrono_literals;

constexpr int killed = SIGKILL;        // as a wait status
constexpr int exited_well = 0;         // as a wait status
constexpr int exited_with_2 = 2 << 8;  // as a wait status

class GuardMachineTest : public ::testing::Test {
 protected:
  [[nodiscard]] base::BootTime at(base::Duration since) const { return base::BootTime(100s) + since; }
  [[nodiscard]] GuardView view(base::Duration since) {
    view_ = {.now = at(since), .lease_deadline = deadline_, .agent_heartbeat = heartbeat_};
    return view_;
  }
  /// With what follows at once when the fences start nothing.
  void take(GuardMachine::Actions span) {
    last_.assign(span.begin(), span.end());
    if (!fences_through_ || count(GuardAct::fence) == 0) return;
    const auto more = machine_.fences_done(view_);
    last_.insert(last_.end(), more.begin(), more.end());
  }
  [[nodiscard]] int count(GuardAct act) const {
    return static_cast<int>(std::ranges::count(last_, act, &GuardAction::act));
  }
  [[nodiscard]] std::int64_t number(GuardAct act) const {
    const auto found = std::ranges::find(last_, act, &GuardAction::act);
    return found == last_.end() ? -1 : found->number;
  }
  /// An agent that leads until 10 s, with its backend.
  void lead() {
    take(machine_.start(view(0s)));
    EXPECT_EQ(number(GuardAct::start_agent), 1);
    deadline_ = at(10s);
    take(machine_.arm_ordered(true, view(1s)));
    take(machine_.start_ordered(view(1s)));
    EXPECT_EQ(count(GuardAct::start_backend), 1);
  }

  GuardMachine machine_{GuardConfig{}};
  base::BootTime deadline_{};
  base::BootTime heartbeat_{};
  GuardView view_{};
  bool fences_through_ = true;
  std::vector<GuardAction> last_;
};

TEST_F(GuardMachineTest, KillsTheBackendAndDropsTheAddressAtTheDeadline) {
  lead();
  take(machine_.tick(view(9'999ms)));
  EXPECT_EQ(count(GuardAct::signal_backend), 0);
  take(machine_.tick(view(10s)));
  EXPECT_EQ(count(GuardAct::fence), 1);
  EXPECT_EQ(number(GuardAct::signal_backend), SIGKILL);
  EXPECT_EQ(count(GuardAct::tell_fenced), 1);
}

TEST_F(GuardMachineTest, SetsItsTimerToTheDeadlineAndMovesItWithIt) {
  lead();
  EXPECT_EQ(last_.back().at, at(10s));
  deadline_ = at(13s);
  take(machine_.tick(view(10s)));
  EXPECT_EQ(count(GuardAct::fence), 0);
  EXPECT_EQ(last_.back().at, at(13s));
}

TEST_F(GuardMachineTest, FencesAgainUntilTheAgentHasDisarmed) {
  lead();
  take(machine_.tick(view(10s)));
  take(machine_.tick(view(10'500ms)));
  EXPECT_EQ(count(GuardAct::fence), 1);
  take(machine_.arm_ordered(false, view(10'600ms)));
  take(machine_.tick(view(12s)));
  EXPECT_EQ(count(GuardAct::fence), 0);
}

TEST_F(GuardMachineTest, LooksAtNoDeadlineOnceDisarmed) {
  lead();
  take(machine_.backend_exited(exited_well, view(2s)));
  take(machine_.arm_ordered(false, view(2s)));
  take(machine_.tick(view(20s)));
  EXPECT_EQ(count(GuardAct::fence), 0);
}

TEST_F(GuardMachineTest, KillsABackendThatIsStillThereWhenTheAgentDisarms) {
  lead();
  take(machine_.arm_ordered(false, view(2s)));
  EXPECT_EQ(number(GuardAct::signal_backend), SIGKILL);
}

TEST_F(GuardMachineTest, StartsNoBackendOfALeaseThatWasGivenBackMeanwhile) {
  take(machine_.start(view(0s)));
  take(machine_.arm_ordered(true, view(40s)));
  take(machine_.start_ordered(view(40s)));
  EXPECT_EQ(count(GuardAct::start_backend), 0);
  EXPECT_EQ(count(GuardAct::refuse_backend), 1);
}

TEST_F(GuardMachineTest, StartsABackendThatMayRunAsLongAsItsAgent) {
  take(machine_.start(view(0s)));
  deadline_ = base::BootTime::max();
  take(machine_.arm_ordered(true, view(1s)));
  take(machine_.start_ordered(view(1s)));
  EXPECT_EQ(count(GuardAct::start_backend), 1);
}

TEST_F(GuardMachineTest, DropsWhatWasLeftBehindBeforeTheFirstAgent) {
  fences_through_ = false;
  take(machine_.start(view(0s)));
  EXPECT_EQ(count(GuardAct::fence), 1);
  EXPECT_EQ(count(GuardAct::start_agent), 0);
  take(machine_.fences_done(view(1s)));
  EXPECT_EQ(number(GuardAct::start_agent), 1);
  EXPECT_EQ(count(GuardAct::renew_family), 0);
}

TEST_F(GuardMachineTest, StartsTheNextAgentOnlyWhenTheFencesAreThrough) {
  lead();
  fences_through_ = false;
  take(machine_.agent_exited(killed, view(3s)));
  take(machine_.backend_exited(killed, view(3s)));
  EXPECT_EQ(count(GuardAct::start_agent), 0);
  take(machine_.tick(view(4s)));
  EXPECT_EQ(count(GuardAct::start_agent), 0);
  take(machine_.fences_done(view(5s)));
  EXPECT_EQ(number(GuardAct::start_agent), 2);
  EXPECT_EQ(count(GuardAct::renew_family), 0);
}

TEST_F(GuardMachineTest, TheNextAgentIsOfAnotherFamilyWhenTheFencesDoNotEnd) {
  lead();
  fences_through_ = false;
  take(machine_.agent_exited(killed, view(3s)));
  take(machine_.backend_exited(killed, view(3s)));
  ASSERT_EQ(last_.back().act, GuardAct::set_timer);
  EXPECT_EQ(last_.back().at, at(13s));
  take(machine_.tick(view(13s)));
  EXPECT_EQ(count(GuardAct::renew_family), 1);
  EXPECT_EQ(number(GuardAct::start_agent), 2);
  take(machine_.fences_done(view(14s)));
  EXPECT_EQ(count(GuardAct::start_agent), 0);
}

TEST_F(GuardMachineTest, EndsOnlyWhenTheFencesAreThrough) {
  lead();
  fences_through_ = false;
  take(machine_.backend_exited(exited_well, view(2s)));
  take(machine_.agent_exited(exited_well, view(3s)));
  EXPECT_EQ(count(GuardAct::exit), 0);
  take(machine_.fences_done(view(4s)));
  EXPECT_EQ(number(GuardAct::exit), 0);
  EXPECT_EQ(count(GuardAct::exit), 1);
}

TEST_F(GuardMachineTest, RefusesABackendWithoutALease) {
  take(machine_.start(view(0s)));
  take(machine_.start_ordered(view(1s)));
  EXPECT_EQ(count(GuardAct::refuse_backend), 1);
  deadline_ = at(2s);
  take(machine_.arm_ordered(true, view(3s)));
  EXPECT_EQ(count(GuardAct::fence), 1);
  take(machine_.start_ordered(view(3s)));
  EXPECT_EQ(count(GuardAct::refuse_backend), 1);
}

TEST_F(GuardMachineTest, StartsTheNextAgentOnlyWhenTheBackendOfTheDeadOneIsGone) {
  lead();
  take(machine_.agent_exited(killed, view(3s)));
  EXPECT_EQ(count(GuardAct::fence), 1);
  EXPECT_EQ(number(GuardAct::signal_backend), SIGKILL);
  EXPECT_EQ(count(GuardAct::start_agent), 0);
  take(machine_.backend_exited(killed, view(3'010ms)));
  EXPECT_EQ(number(GuardAct::start_agent), 2);
}

TEST_F(GuardMachineTest, StartsACrashedAgentAtOnceAndThenWithBackOff) {
  take(machine_.start(view(0s)));
  take(machine_.agent_exited(killed, view(1s)));
  EXPECT_EQ(number(GuardAct::start_agent), 2);
  take(machine_.agent_exited(killed, view(1'100ms)));
  EXPECT_EQ(count(GuardAct::start_agent), 0);
  ASSERT_EQ(last_.back().act, GuardAct::set_timer);
  EXPECT_GE(last_.back().at, at(1'200ms));
  take(machine_.tick(view(2s)));
  EXPECT_EQ(number(GuardAct::start_agent), 3);
  heartbeat_ = at(7s);
  take(machine_.agent_exited(killed, view(7s)));
  EXPECT_EQ(number(GuardAct::start_agent), 4) << "it had been well for long enough";
}

TEST_F(GuardMachineTest, BacksOffFromAnAgentThatLivedLongAndWasNeverWell) {
  take(machine_.start(view(0s)));
  take(machine_.agent_exited(killed, view(1s)));
  EXPECT_EQ(number(GuardAct::start_agent), 2);
  take(machine_.agent_exited(killed, view(60s)));
  EXPECT_EQ(count(GuardAct::start_agent), 0);
}

TEST_F(GuardMachineTest, EndsWithAnAgentThatIsDone) {
  lead();
  take(machine_.agent_exited(exited_well, view(3s)));
  EXPECT_EQ(count(GuardAct::exit), 0) << "the backend is still there";
  take(machine_.backend_exited(killed, view(3'010ms)));
  EXPECT_EQ(number(GuardAct::exit), 0);
}

TEST_F(GuardMachineTest, DoesNotRestartAnAgentWithABadConfiguration) {
  take(machine_.start(view(0s)));
  take(machine_.agent_exited(exited_with_2, view(1s)));
  EXPECT_EQ(number(GuardAct::exit), 2);
}

TEST_F(GuardMachineTest, PassesTermToTheAgentAndKillsAllWhenItTakesTooLong) {
  lead();
  take(machine_.stop_requested(SIGTERM, view(2s)));
  EXPECT_EQ(number(GuardAct::signal_agent), SIGTERM);
  deadline_ = at(100s);
  take(machine_.tick(view(62s)));
  EXPECT_EQ(number(GuardAct::signal_agent), SIGKILL);
  EXPECT_EQ(number(GuardAct::signal_backend), SIGKILL);
  take(machine_.agent_exited(killed, view(62s)));
  take(machine_.backend_exited(killed, view(62s)));
  EXPECT_EQ(number(GuardAct::exit), 128 + SIGKILL);
}

TEST_F(GuardMachineTest, KillsAllAtTheSecondSignal) {
  lead();
  take(machine_.stop_requested(SIGINT, view(2s)));
  take(machine_.stop_requested(SIGINT, view(3s)));
  EXPECT_EQ(number(GuardAct::signal_agent), SIGKILL);
}

TEST_F(GuardMachineTest, TakesASignalRightBehindTheFirstForTheSameRequest) {
  lead();
  take(machine_.stop_requested(SIGTERM, view(2s)));
  take(machine_.stop_requested(SIGTERM, view(2'001ms)));
  EXPECT_EQ(count(GuardAct::signal_agent), 0);
  take(machine_.stop_requested(SIGTERM, view(2'501ms)));
  EXPECT_EQ(number(GuardAct::signal_agent), SIGKILL);
}

TEST_F(GuardMachineTest, KillsAnAgentWhoseHeartStoodStill) {
  GuardConfig config;
  config.agent_silence_max = 5s;
  machine_ = GuardMachine(config);
  take(machine_.start(view(0s)));
  heartbeat_ = at(3s);
  take(machine_.tick(view(5s)));
  EXPECT_EQ(count(GuardAct::signal_agent), 0);
  EXPECT_EQ(last_.back().at, at(8s));
  take(machine_.tick(view(8s)));
  EXPECT_EQ(number(GuardAct::signal_agent), SIGKILL);
  take(machine_.tick(view(9s)));
  EXPECT_EQ(count(GuardAct::signal_agent), 0) << "once is enough";
}

TEST_F(GuardMachineTest, TellsTheAgentHowTheBackendEnded) {
  lead();
  take(machine_.backend_exited(exited_with_2, view(3s)));
  EXPECT_EQ(number(GuardAct::tell_exited), exited_with_2);
  take(machine_.start_ordered(view(4s)));
  EXPECT_EQ(count(GuardAct::start_backend), 1);
}

}  // namespace
}  // namespace litecluster::backend
