// A standby's way through the log: stands for replication::ReplicaFeeder and replication::Follower
// (src/replication/replica_feeder.cpp, follower.cpp), around the real plan_follow(), plan_restore(),
// BadObjects and LogView.
#pragma once

#include <optional>

#include "log/fence.hpp"
#include "replication/bad_objects.hpp"
#include "replication/follow_plan.hpp"
#include "sim/cluster/bucket.hpp"
#include "sim/cluster/log_watch.hpp"

namespace litecluster::test::cluster {

/// Brings the replica on the disk forward. In fibers.
class Feeder {
 public:
  Feeder(Process& process, SimulatedBucket& bucket, LogWatch& watch)
      : process_(process), bucket_(bucket), watch_(watch) {}

  [[nodiscard]] replication::AppliedState applied_state() const;
  [[nodiscard]] replication::FollowWork plan(const log::LogView& view) const;
  /// True when something was done.
  [[nodiscard]] Result<bool> carry_out(const Context& context, const replication::FollowWork& work);
  [[nodiscard]] Status advance_to(const Context& context, const log::LogView& view, Txid txid);
  [[nodiscard]] Status apply(const log::Object& object, base::ByteView bytes);
  [[nodiscard]] replication::BadObjects& bad_objects() { return bad_objects_; }

 private:
  [[nodiscard]] Replica& replica() const { return process_.host().disk().replica; }
  [[nodiscard]] Status apply_objects(const Context& context, const std::vector<log::Object>& objects);
  [[nodiscard]] Status seed(const Context& context, std::optional<Txid> target);
  std::unexpected<Error> unusable(const log::Object& object, const Error& error, bool for_good);
  void moved(Txid before, StateId state);

  Process& process_;
  SimulatedBucket& bucket_;
  LogWatch& watch_;
  replication::BadObjects bad_objects_;
};

class Follower {
 public:
  Follower(Process& process, SimulatedBucket& bucket, LogWatch& watch);

  [[nodiscard]] Status catch_up(const Context& context);
  /// In a fiber: ends following and waits for the thread.
  void stop();
  [[nodiscard]] Feeder& feeder() { return feeder_; }
  /// Nothing while unknown.
  [[nodiscard]] std::optional<std::uint64_t> lag() const;
  /// Empty: none.
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  void note(const Result<bool>& step);
  void run();
  [[nodiscard]] Result<bool> advance();
  void look_at_bad_objects();

  Process& process_;
  SimulatedBucket& bucket_;
  LogWatch& watch_;
  Feeder feeder_;
  Context stop_ = Context::background();
  bool seeding_ = false;
  std::string problem_;
  bool ended_ = false;
};

}  // namespace litecluster::test::cluster
