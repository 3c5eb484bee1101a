// The agent of one node: stands for App::Impl and app::DatabaseRole (src/app/node.cpp, database_role.cpp),
// around the real RoleMachine, Elector, Appender and fence_log(). The steps of a promotion and a demotion are
// those of the driver, in its order, with a moment of disk work between two durable ones so that a crash can
// fall there.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "app/role_machine.hpp"
#include "log/fence.hpp"
#include "sim/cluster/follower.hpp"
#include "sim/cluster/leader.hpp"
#include "sim/cluster/lease.hpp"
#include "sim/cluster/process.hpp"

namespace litecluster::test::cluster {

class Agent {
 public:
  Agent(Simulation& simulation, Host& host, election::Incarnation incarnation);
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;
  /// Ends its threads first, wherever they wait.
  ~Agent() { process_.kill(); }

  void start();

  // News.
  void database_changed();
  // What comes before the agent has looked at the bucket is nobody's.
  void log_news(std::uint64_t sequence, std::uint32_t starts) { watch_.news(sequence, starts); }
  void lease_news(std::uint64_t revision, const std::optional<election::LeaderRecord>& record) {
    if (begun_) lease_.observed(revision, record);
  }
  void connection_changed(bool connected) {
    if (begun_) lease_.connection_changed(connected);
  }
  /// The operator's word.
  void step_down(const std::string& successor);
  void members_heard();

  [[nodiscard]] app::Stage stage() const { return machine_.stage(); }
  [[nodiscard]] bool leads() const { return machine_.stage() == app::Stage::active && lease_.leads(); }
  [[nodiscard]] std::optional<Position> position() const;
  [[nodiscard]] std::string state_text() const;
  /// What it reports as wrong; empty: nothing.
  [[nodiscard]] std::string problem(bool of_promotions) const;

 private:
  [[nodiscard]] Disk& disk() { return process_.host().disk(); }
  [[nodiscard]] Simulation& simulation() { return process_.simulation(); }

  // App::Impl.
  [[nodiscard]] Status open_bucket();
  [[nodiscard]] Status check_bucket(bool write_later);
  [[nodiscard]] bool bucket_is_the_same();
  void begin();
  void refuse(const Error& error);
  void work();
  void note_problem(std::string& problem, const Status& done);
  void tick();
  void won(Epoch epoch);
  void lost(const election::LostLeadership& lost);
  void wish_step_down(const std::string& reason);
  void cancel_obsolete_step();
  [[nodiscard]] Status carry_out(app::Step step, const Context& context);
  [[nodiscard]] Status start_backend();
  [[nodiscard]] Status stop_backend();
  [[nodiscard]] Status release_lease(const Context& context);
  [[nodiscard]] Status become_standby(const Context& context);

  // app::DatabaseRole.
  [[nodiscard]] Status follow(const Context& context);
  [[nodiscard]] Status settle_primary(const Context& context);
  [[nodiscard]] Result<bool> replay_replaces(const Context& context, const log::LogView& view, Txid from,
                                             Txid to, const std::vector<std::uint8_t>& pages);
  void primary_to_replica(const FormerPrimary& judged);
  void put_aside();
  [[nodiscard]] bool overtaken();
  [[nodiscard]] Status catch_up(const Context& context);
  [[nodiscard]] Status fence(const Context& context, Epoch epoch);
  [[nodiscard]] Status fence_with_replica(const Context& context, std::optional<log::LogView> view);
  [[nodiscard]] Status fence_in_place(const Context& context, std::optional<log::LogView> view, Epoch epoch);
  [[nodiscard]] Status seal_replica();
  [[nodiscard]] Status install_primary();
  [[nodiscard]] Status attach_capture();
  [[nodiscard]] Status final_sync(const Context& context);
  void detach_capture();
  void let_go();
  [[nodiscard]] std::unique_ptr<log::Appender> make_appender(Epoch epoch);
  void disk_work();

  Process process_;
  SimulatedBucket bucket_;
  LogWatch watch_;
  Lease lease_;
  app::RoleMachine machine_;
  std::optional<Context> step_context_;
  election::ReleaseReason release_reason_ = election::ReleaseReason::stepped_down;
  std::string successor_;
  std::string incarnation_;
  bool owes_release_ = false;
  bool begun_ = false;
  std::optional<log::BucketGuard> bucket_guard_;
  std::optional<Error> refused_;
  Time bucket_checked_ = 0;
  std::string step_problem_;
  std::string follow_problem_;
  std::string promotion_problem_;  // of its last try

  std::unique_ptr<Follower> follower_;
  std::unique_ptr<Feeder> feeder_;  // of the follower that was stopped
  bool dormant_ = false;            // the primary holds more than the log, which nobody else has continued
  Position dormant_position_;
  bool in_place_ = false;
  bool attached_ = false;
  bool handed_over_ = false;
  End fence_;
  std::optional<log::NewFile> fence_file_;
  Txid fence_file_txid_;
  std::unique_ptr<log::Appender> appender_;
  std::unique_ptr<LeaderSession> session_;
  std::optional<Position> last_position_;
};

}  // namespace litecluster::test::cluster
