// A whole cluster in a simulation of one thread: two to five nodes with clocks of their own, each made of the
// state machines that run in production, over a model of JetStream and of a database. One seed decides all; a
// run reproduces exactly.
//
// A run has three parts. In the first, everything fails: messages are lost, late and doubled; reads are
// stale; the servers are away; paths are cut one way or both; agents die; power fails and takes away what was
// not synced; agents, or whole machines, are stopped for longer than a lease (in the slow runs for longer
// than the log keeps its raw objects); wall clocks are set; backends do not start, or do not end; operators
// ask for hand-overs. Then all is well: within a stated time somebody leads and writes go through. Then
// clients stop: all nodes come to equal content, and each write ever acknowledged is accounted for. judge.hpp
// says what is checked at every step.
//
// The parts that wait for servers run on fibers (fiber.hpp), the rest is events:
//   host.hpp            machine, clock, disk, guard, application
//   agent.hpp           App::Impl and DatabaseRole: the steps of promotion and demotion
//   lease.hpp           LeaseStore          follower.hpp   Follower and ReplicaFeeder
//   leader.hpp          LeaderSession, Publisher, Maintainer
//   log_watch.hpp       LogWatcher          bucket.hpp     NatsObjectBucket
//   server.hpp          JetStream           database.hpp   Database, Replica, judge_former_primary()
//
// Two profiles: servers that keep what they acknowledged, and servers that lose it (losses.cpp).
//
// shrink.hpp makes a run that broke a promise smaller.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sim/cluster/reduction.hpp"
#include "sim/cluster/simulation.hpp"

namespace litecluster::test::cluster {

struct Outcome {
  std::string violation;  ///< empty when every promise was kept
  Statistics statistics;
  Numbers faults;    ///< that happened, of the planned ones
  Numbers troubles;  ///< that happened by chance
  std::size_t nodes = 0;
  Time heal_at = 0;

  /// How much went wrong.
  [[nodiscard]] std::size_t size() const { return faults.size() + troubles.size(); }
};

class World {
 public:
  explicit World(PlantedBug bug = PlantedBug::none, Profile profile = Profile::faithful);
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World();

  [[nodiscard]] Profile profile() const { return simulation_.profile; }
  Outcome run(std::uint64_t seed, const Reduction& reduction = {});
  /// The same run again, as lines of text for a person.
  std::string history(std::uint64_t seed, const Reduction& reduction = {});

 private:
  void set_up(std::uint64_t seed);
  void choose_settings();
  void schedule_faults();
  void schedule_fault(std::uint32_t number, Time time);
  void cut(Host& host, Time from);
  void ask_for_hand_over(Host& host);
  void heal();
  void members_hear();
  void schedule_losses();
  void schedule_loss(std::uint32_t number);
  void lose_log();
  void lose_records();
  void lose_bucket();
  void note_loss();
  void operator_looks();
  void begin_log_anew();
  void start_with(Host& chosen, const std::optional<Content>& content);
  [[nodiscard]] Host* leading() const;
  void check_end();
  void check_log();
  void account();

  Simulation simulation_;
  std::size_t states_at_heal_ = 0;
  std::size_t history_at_heal_ = 0;
  bool lost_ = false;  ///< servers have lost something
};

}  // namespace litecluster::test::cluster
