// One machine: its clock, its disk, the guard, the application, and the agent that the guard starts anew when
// it dies. The application writes by itself for as long as it is alive; only the guard's timer and its own
// agent's end stop it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "log/bucket_guard.hpp"
#include "sim/cluster/database.hpp"
#include "sim/cluster/simulation.hpp"

namespace litecluster::test::cluster {

class Agent;

/// What survives a crash of the agent, and, but for what was not synced, a power failure.
struct Disk {
  std::optional<Primary> primary;
  Replica replica;
  /// What the node remembers of the bucket.
  std::optional<log::BucketState> bucket;
};

class Host {
 public:
  Host(Simulation& simulation, std::size_t index);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  [[nodiscard]] std::size_t index() const { return index_; }
  [[nodiscard]] std::string name() const { return std::string(1, static_cast<char>('a' + index_)); }
  [[nodiscard]] Disk& disk() { return disk_; }
  [[nodiscard]] Agent* agent() { return agent_.get(); }

  [[nodiscard]] base::BootTime boot_time() const;
  [[nodiscard]] base::WallTime wall_time() const;
  [[nodiscard]] Time true_time(base::BootTime local) const;
  void step_wall_clock(Time by) { wall_offset_ += by; }

  // Faults.
  void power_on();
  void power_failure();
  void tear_records();
  void crash_agent();
  /// The agent alone, or everything on the machine.
  void pause(Time until, bool whole);
  void resume();
  /// The operator's hand: nothing runs any more; everything is as it was.
  void stop();
  void start();

  /// The agent has ended by itself, because the bucket is not the one that it was.
  void refused(const std::string& reason);
  /// Why the node does not do what it should, as it tells the operator; empty: it sees nothing wrong.
  [[nodiscard]] std::string problem(bool of_promotions = true) const;
  void note_accepted() { refusal_.clear(); }
  /// It has said that something is wrong.
  void note_said() { said_ = true; }
  /// That nobody answers is no news.
  void note_said(const Error& error) {
    const ErrorCode code = error.code();
    said_ = said_ || (code != ErrorCode::unavailable && code != ErrorCode::cancelled &&
                      code != ErrorCode::deadline_exceeded);
  }
  void forget_said() { said_ = false; }
  [[nodiscard]] bool said() const { return said_; }

  // Events. Those of the agent wait while it is stopped, and are lost with it.
  [[nodiscard]] std::uint32_t agent_life() const { return agent_life_; }
  void agent_at(Time time, std::uint32_t life, Scheduler::Action action);
  void agent_at(Time time, Scheduler::Action action) { agent_at(time, agent_life_, std::move(action)); }
  void machine_at(Time time, Scheduler::Action action);

  // The guard, as the agent uses it.
  void arm() { armed_ = true; }
  void disarm() { armed_ = false; }
  void share_deadline(base::BootTime deadline);
  void withdraw_deadline() { deadline_.reset(); }
  void start_application();
  void stop_application();
  [[nodiscard]] bool application_runs() const { return application_runs_; }
  /// Not in the moment in which a machine goes on: its guard has not had its turn yet.
  [[nodiscard]] bool application_can_act() const {
    return application_runs_ && !machine_paused() && simulation_.now() > resumed_at_;
  }
  [[nodiscard]] bool machine_paused() const { return simulation_.now() < machine_paused_until_; }
  [[nodiscard]] bool agent_paused() const { return simulation_.now() < agent_paused_until_; }

  // What the judge looks at.
  Time leads_until = 0;
  /// What readers of the standby saw last; a database that was put aside does not count.
  Txid standby_seen;

 private:
  void start_agent();
  void end_agent();
  void guard_wakes();
  void write();
  void schedule_write();

  Simulation& simulation_;
  std::size_t index_;
  Time clock_offset_ = 0;
  std::int64_t clock_ppm_ = 0;
  Time wall_offset_ = 0;
  Disk disk_;
  std::unique_ptr<Agent> agent_;
  std::uint32_t agent_life_ = 0;
  std::uint32_t machine_life_ = 0;
  bool powered_ = false;
  std::string refusal_;
  bool said_ = false;
  std::uint64_t family_ = 0;
  std::uint32_t number_ = 0;
  Time agent_paused_until_ = 0;
  Time machine_paused_until_ = 0;
  Time resumed_at_ = 0;
  std::vector<Scheduler::Action> missed_by_agent_;
  std::vector<Scheduler::Action> missed_by_machine_;
  bool armed_ = false;
  std::optional<base::BootTime> deadline_;
  bool application_runs_ = false;
  std::uint32_t application_life_ = 0;
};

}  // namespace litecluster::test::cluster
