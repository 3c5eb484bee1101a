#include "app/role_machine.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace litecluster::app {
namespace {

constexpr Equipment everything{.database = true, .backend = true, .vip = true};

Status failed() {
  return failure(ErrorCode::io, "step", "", "it failed");
}

// Runs steps until nothing is left to do; returns them in order.
std::vector<Step> run(RoleMachine& machine) {
  std::vector<Step> steps;
  while (const auto step = machine.next()) {
    steps.push_back(*step);
    machine.finished({});
  }
  return steps;
}

RoleMachine standby(const Equipment& equipment = everything) {
  RoleMachine machine(equipment);
  run(machine);
  return machine;
}

RoleMachine active(const Equipment& equipment = everything) {
  RoleMachine machine = standby(equipment);
  machine.won(Epoch(7));
  run(machine);
  return machine;
}

TEST(RoleMachine, StartsByBecomingAStandby) {
  RoleMachine machine(everything);
  EXPECT_EQ(run(machine), std::vector{Step::follow});
  EXPECT_EQ(machine.stage(), Stage::standby);
}

TEST(RoleMachine, PromotesStepByStep) {
  RoleMachine machine = standby();
  machine.won(Epoch(7));
  EXPECT_EQ(machine.stage(), Stage::promoting);
  EXPECT_EQ(run(machine),
            (std::vector{Step::catch_up, Step::fence, Step::seal_replica, Step::install_primary,
                         Step::attach_capture, Step::start_backend, Step::run_on_active, Step::raise_vip}));
  EXPECT_EQ(machine.stage(), Stage::active);
  EXPECT_EQ(machine.epoch(), Epoch(7));
}

TEST(RoleMachine, WithoutADatabaseThereIsNothingToPromoteButTheService) {
  RoleMachine machine = standby({.database = false, .backend = true, .vip = false});
  machine.won(Epoch(1));
  EXPECT_EQ(run(machine), (std::vector{Step::start_backend, Step::run_on_active}));
}

TEST(RoleMachine, StepsDownWithTheLeaseInHand) {
  RoleMachine machine = active();
  machine.step_down("operator");
  EXPECT_EQ(run(machine),
            (std::vector{Step::lower_vip, Step::stop_backend, Step::run_on_passive, Step::final_sync,
                         Step::detach_capture, Step::release_lease, Step::follow}));
  EXPECT_EQ(machine.stage(), Stage::standby);
  EXPECT_TRUE(machine.final_sync_succeeded());
  EXPECT_EQ(machine.reason(), "operator");
}

TEST(RoleMachine, AfterLosingTheLeaseNothingIsSyncedOrReleased) {
  RoleMachine machine = active();
  machine.lost(Epoch(7), "deadline");
  EXPECT_EQ(run(machine), (std::vector{Step::lower_vip, Step::stop_backend, Step::run_on_passive,
                                       Step::detach_capture, Step::follow}));
  EXPECT_FALSE(machine.final_sync_succeeded());
}

TEST(RoleMachine, ALossDuringTheFinalSyncMakesItObsolete) {
  RoleMachine machine = active();
  machine.step_down("operator");
  while (machine.next() != Step::final_sync) machine.finished({});
  EXPECT_FALSE(machine.step_is_obsolete());
  machine.lost(Epoch(7), "deadline");
  EXPECT_TRUE(machine.step_is_obsolete());
  machine.finished(failed());
  const auto rest = run(machine);
  EXPECT_EQ(std::count(rest.begin(), rest.end(), Step::release_lease), 0);
  EXPECT_FALSE(machine.final_sync_succeeded());
}

TEST(RoleMachine, RemembersThatCommitsWereLeftWithoutASync) {
  RoleMachine machine = active();
  machine.step_down("operator");
  while (machine.next() && machine.next() != Step::final_sync) machine.finished({});
  machine.finished(failed());
  run(machine);
  EXPECT_TRUE(machine.left_unsynced());
  machine.won(Epoch(8));
  EXPECT_TRUE(machine.left_unsynced()) << "of the term that is over, whatever came since";
  run(machine);
  machine.step_down("operator");
  run(machine);
  EXPECT_FALSE(machine.left_unsynced());
}

TEST(RoleMachine, NothingIsLeftUnsyncedWhereNothingWasCaptured) {
  RoleMachine machine = active({.database = false, .backend = true, .vip = false});
  machine.step_down("operator");
  run(machine);
  EXPECT_FALSE(machine.left_unsynced());
}

TEST(RoleMachine, ALossOfAnotherEpochIsIgnored) {
  RoleMachine machine = active();
  machine.lost(Epoch(6), "late message");
  EXPECT_EQ(machine.stage(), Stage::active);
}

TEST(RoleMachine, AFailedPromotionStepTakesBackWhatWasBegunAndReleases) {
  RoleMachine machine = standby();
  machine.won(Epoch(7));
  while (machine.next() != Step::start_backend) machine.finished({});
  machine.finished(failed());
  EXPECT_EQ(machine.stage(), Stage::demoting);
  EXPECT_EQ(run(machine), (std::vector{Step::stop_backend, Step::final_sync, Step::detach_capture,
                                       Step::release_lease, Step::follow}));
  EXPECT_NE(machine.reason().find("start_backend"), std::string::npos);
}

TEST(RoleMachine, ABackendThatCannotBeStoppedHoldsTheReleaseBack) {
  RoleMachine machine = active();
  machine.step_down("operator");
  machine.finished({});  // lower_vip
  for (int attempt = 0; attempt < 10; ++attempt) {
    EXPECT_EQ(machine.next(), Step::stop_backend);
    machine.finished(failed());
  }
  EXPECT_TRUE(machine.lease_held());
}

TEST(RoleMachine, ATermWonWhileTheLastOneIsLeftIsPromotedAfterwards) {
  RoleMachine machine = active();
  machine.lost(Epoch(7), "deadline");
  machine.won(Epoch(8));
  run(machine);
  EXPECT_EQ(machine.stage(), Stage::active);
  EXPECT_EQ(machine.epoch(), Epoch(8));
}

TEST(RoleMachine, ATermWonAndLostWhileTheLastOneIsLeftIsNotPromoted) {
  RoleMachine machine = active();
  machine.lost(Epoch(7), "deadline");
  machine.won(Epoch(8));
  machine.lost(Epoch(8), "deadline");
  run(machine);
  EXPECT_EQ(machine.stage(), Stage::standby);
}

TEST(RoleMachine, ShutdownOfALeaderReleasesAndDoesNotFollow) {
  RoleMachine machine = active();
  machine.shut_down();
  const auto steps = run(machine);
  EXPECT_EQ(steps.back(), Step::release_lease);
  EXPECT_EQ(machine.stage(), Stage::stopped);
  machine.won(Epoch(9));
  EXPECT_FALSE(machine.next().has_value());
}

TEST(RoleMachine, ShutdownEndsAStandbyThatCannotFollow) {
  RoleMachine machine(everything);
  machine.finished(failed());
  EXPECT_EQ(machine.next(), Step::follow);
  machine.shut_down();
  EXPECT_TRUE(machine.step_is_obsolete());
  machine.finished(failed());
  EXPECT_EQ(machine.stage(), Stage::stopped);
}

// What must hold for any course of events.
class Judge {
 public:
  void saw(Step step, const RoleMachine& machine) {
    switch (step) {
      case Step::start_backend: backend_ = true; break;
      case Step::run_on_active: ++on_active_; break;
      case Step::run_on_passive: ++on_passive_; break;
      case Step::raise_vip: vip_ = true; break;
      case Step::lower_vip: vip_ = false; break;
      case Step::release_lease:
      case Step::final_sync:
        EXPECT_FALSE(backend_) << to_string(step) << " while the backend may run";
        EXPECT_FALSE(vip_);
        EXPECT_TRUE(machine.lease_held() || machine.step_is_obsolete());
        break;
      case Step::follow:
      default: break;
    }
  }
  void ended(Step step, bool well) {
    if (step == Step::stop_backend && well) backend_ = false;
  }
  void at_rest(const RoleMachine& machine) const {
    if (machine.stage() == Stage::active) return;
    EXPECT_FALSE(backend_);
    EXPECT_FALSE(vip_);
    EXPECT_EQ(on_active_, on_passive_);
  }

 private:
  bool backend_ = false;
  bool vip_ = false;
  int on_active_ = 0;
  int on_passive_ = 0;
};

TEST(RoleMachine, KeepsItsRulesInEveryCourseOfEvents) {
  for (std::uint32_t seed = 0; seed < 20000; ++seed) {
    std::uint64_t state = seed * 2654435761ULL + 1;
    const auto random = [&](std::uint64_t below) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      return (state >> 33U) % below;
    };
    RoleMachine machine(Equipment{random(2) == 0, random(2) == 0, random(2) == 0});
    Judge judge;
    std::uint64_t epoch = 0;
    std::optional<Step> running;
    for (int event = 0; event < 80; ++event) {
      if (machine.next() != running || random(2) == 0) {
        running = machine.next();
        if (running) {
          judge.saw(*running, machine);
          const bool well = random(8) != 0;
          judge.ended(*running, well);
          machine.finished(well ? Status{} : failed());
        }
        running.reset();
      }
      switch (random(12)) {
        case 0: machine.won(Epoch(++epoch)); break;
        case 1: machine.lost(Epoch(epoch), "lost"); break;
        case 2: machine.step_down("asked"); break;
        case 3:
          if (random(10) == 0) machine.shut_down();
          break;
        default: break;
      }
      if (!machine.next()) judge.at_rest(machine);
    }
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace litecluster::app
