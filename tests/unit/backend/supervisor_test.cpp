#include "backend/supervisor.hpp"

#include <gtest/gtest.h>

#include <optional>

namespace litecluster::backend {
namespace {

using namespace std::chrono_literals;

class SupervisorTest : public ::testing::Test {
 protected:
  static SupervisorConfig config() {
    SupervisorConfig made;
    made.has_probe = true;
    return made;
  }
  [[nodiscard]] base::BootTime at(base::Duration since) const { return base::BootTime(50s) + since; }
  void take(Supervisor::Actions span) { last_.assign(span.begin(), span.end()); }
  template <typename Kind>
  [[nodiscard]] std::optional<Kind> get() const {
    for (const SupervisorAction& action : last_) {
      if (const Kind* found = std::get_if<Kind>(&action)) return *found;
    }
    return std::nullopt;
  }
  void run_healthy() {
    take(supervisor_.start(at(0s)));
    ASSERT_TRUE(get<StartProcess>());
    take(supervisor_.process_started(at(0s)));
    ASSERT_TRUE(get<ProbeHealth>());
    take(supervisor_.probe_finished(true, {}, at(0s)));
    ASSERT_TRUE(get<BecameHealthy>());
  }

  Supervisor supervisor_{config()};
  std::vector<SupervisorAction> last_;
};

TEST_F(SupervisorTest, ProbesSoonAfterTheStartAndOftenUntilHealthy) {
  take(supervisor_.start(at(0s)));
  take(supervisor_.process_started(at(0s)));
  EXPECT_TRUE(get<ProbeHealth>());
  take(supervisor_.probe_finished(false, "refused", at(1ms)));
  EXPECT_EQ(get<SetTimer>()->at, at(21ms));
  take(supervisor_.tick(at(21ms)));
  EXPECT_TRUE(get<ProbeHealth>());
  take(supervisor_.probe_finished(true, {}, at(22ms)));
  EXPECT_TRUE(get<BecameHealthy>());
}

TEST_F(SupervisorTest, IsHealthyAtOnceWithoutAProbe) {
  Supervisor supervisor{SupervisorConfig{}};
  take(supervisor.start(at(0s)));
  take(supervisor.process_started(at(0s)));
  EXPECT_TRUE(get<BecameHealthy>());
}

TEST_F(SupervisorTest, StopsByTermThenKill) {
  run_healthy();
  take(supervisor_.stop(at(1s)));
  EXPECT_EQ(get<SignalProcess>()->signal, StopSignal::terminate);
  EXPECT_FALSE(get<Stopped>());
  take(supervisor_.tick(at(11s)));
  EXPECT_EQ(get<SignalProcess>()->signal, StopSignal::kill);
  take(supervisor_.process_exited("signal 9", at(11s)));
  EXPECT_TRUE(get<Stopped>());
  EXPECT_EQ(supervisor_.state(), SupervisorState::stopped);
}

TEST_F(SupervisorTest, IsStoppedAtOnceWhenNothingRuns) {
  take(supervisor_.stop(at(1s)));
  EXPECT_TRUE(get<Stopped>());
}

TEST_F(SupervisorTest, StartsACrashedProcessAgainWithBackOff) {
  run_healthy();
  take(supervisor_.process_exited("exit status 1", at(5s)));
  EXPECT_TRUE(get<BecameUnhealthy>());
  EXPECT_FALSE(get<StartProcess>());
  ASSERT_TRUE(get<SetTimer>());
  const base::BootTime again = get<SetTimer>()->at;
  EXPECT_GE(again, at(5'050ms));
  EXPECT_LE(again, at(5'100ms));
  take(supervisor_.tick(again));
  EXPECT_TRUE(get<StartProcess>());
}

TEST_F(SupervisorTest, RestartsAProcessThatDoesNotAnswer) {
  run_healthy();
  for (int round = 1; round <= 2; ++round) {
    take(supervisor_.tick(at(round * 1s)));
    take(supervisor_.probe_finished(false, "silent", at(round * 1s)));
    EXPECT_FALSE(get<SignalProcess>());
  }
  take(supervisor_.tick(at(3s)));
  take(supervisor_.probe_finished(false, "silent", at(3s)));
  EXPECT_TRUE(get<SignalProcess>());
  take(supervisor_.process_exited("signal 15", at(3s)));
  EXPECT_FALSE(get<GaveUp>());
  EXPECT_TRUE(get<SetTimer>());
}

TEST_F(SupervisorTest, ForgivesASingleBadProbe) {
  run_healthy();
  for (int round = 1; round <= 20; ++round) {
    take(supervisor_.tick(at(round * 1s)));
    take(supervisor_.probe_finished(round % 2 == 0, "slow", at(round * 1s)));
    EXPECT_FALSE(get<SignalProcess>());
  }
}

TEST_F(SupervisorTest, GivesUpWhenItDoesNotGetHealthyInTime) {
  take(supervisor_.start(at(0s)));
  take(supervisor_.process_started(at(0s)));
  take(supervisor_.probe_finished(false, "refused", at(1s)));
  take(supervisor_.tick(at(30s)));
  EXPECT_TRUE(get<SignalProcess>());
  take(supervisor_.process_exited("signal 15", at(30s)));
  ASSERT_TRUE(get<GaveUp>());
  EXPECT_EQ(get<GaveUp>()->reason, "not healthy in time: refused");
  EXPECT_EQ(supervisor_.state(), SupervisorState::given_up);
}

TEST_F(SupervisorTest, GivesUpAProcessThatKeepsCrashingBeforeItIsHealthy) {
  take(supervisor_.start(at(0s)));
  base::BootTime now = at(0s);
  int starts = 1;
  while (!get<GaveUp>()) {
    ASSERT_LE(now, at(31s));
    take(supervisor_.process_exited("exit status 1", now));
    ASSERT_TRUE(get<SetTimer>() || get<GaveUp>());
    while (!get<StartProcess>() && !get<GaveUp>()) {
      now = get<SetTimer>()->at;
      take(supervisor_.tick(now));
    }
    ++starts;
  }
  EXPECT_GT(starts, 5);
  EXPECT_LT(starts, 50);
}

TEST_F(SupervisorTest, GivesUpAProcessThatCrashesTooOften) {
  run_healthy();
  base::BootTime now = at(1s);
  for (int round = 1; round <= 3; ++round) {
    take(supervisor_.process_exited("exit status 1", now));
    ASSERT_FALSE(get<GaveUp>()) << round;
    now = get<SetTimer>()->at;
    take(supervisor_.tick(now));
    take(supervisor_.process_started(now));
    take(supervisor_.probe_finished(true, {}, now));
  }
  take(supervisor_.process_exited("exit status 1", now));
  EXPECT_TRUE(get<GaveUp>());
}

TEST_F(SupervisorTest, ForgetsCrashesThatAreLongPast) {
  run_healthy();
  for (int round = 1; round <= 10; ++round) {
    base::BootTime now = at(round * 70s);
    take(supervisor_.process_exited("exit status 1", now));
    ASSERT_FALSE(get<GaveUp>()) << round;
    now = get<SetTimer>()->at;
    take(supervisor_.tick(now));
    take(supervisor_.process_started(now));
    take(supervisor_.probe_finished(true, {}, now));
  }
}

TEST_F(SupervisorTest, DoesNotStartAgainWhatIsBeingStopped) {
  run_healthy();
  take(supervisor_.process_exited("exit status 1", at(1s)));
  take(supervisor_.stop(at(1s)));
  EXPECT_TRUE(get<Stopped>());
  take(supervisor_.tick(at(60s)));
  EXPECT_FALSE(get<StartProcess>());
}

TEST_F(SupervisorTest, ReportsAProgramThatCannotBeStarted) {
  take(supervisor_.start(at(0s)));
  take(supervisor_.process_failed("not found", at(0s)));
  take(supervisor_.tick(at(30s)));
  ASSERT_TRUE(get<GaveUp>());
  EXPECT_EQ(get<GaveUp>()->reason, "not healthy in time: not found");
}

}  // namespace
}  // namespace litecluster::backend
