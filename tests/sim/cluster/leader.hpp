// What a leader runs on its database: stands for replication::LeaderSession, Publisher and Maintainer
// (src/replication/leader_session.cpp, publisher.cpp, maintainer.cpp, src/log/maintenance.cpp), around the
// real Appender, Batcher, CompactionSchedule, plan_retention(), RetentionClock, SettledSequence and
// snapshot_due().
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "log/appender.hpp"
#include "log/compaction_schedule.hpp"
#include "log/retention.hpp"
#include "log/settled_sequence.hpp"
#include "replication/batcher.hpp"
#include "sim/cluster/bucket.hpp"
#include "sim/cluster/log_watch.hpp"

namespace litecluster::test::cluster {

class LeaderSession {
 public:
  LeaderSession(Process& process, SimulatedBucket& bucket, LogWatch& watch,
                std::unique_ptr<log::Appender> appender, std::function<void(const Error&)> on_fatal);

  void database_changed();
  /// In a fiber: waits until everything that is committed now is in the log. Error: deadline_exceeded, not
  /// before `until`.
  [[nodiscard]] Status sync(const Context& context, std::optional<Time> until = std::nullopt);
  /// In a fiber: ends its threads.
  void stop();
  [[nodiscard]] Position position() const { return acknowledged_; }
  /// What it reports as wrong; empty: nothing.
  [[nodiscard]] const std::string& problem() const {
    return append_problem_.empty() ? round_problem_ : append_problem_;
  }

 private:
  struct Item {
    Position position;
    std::optional<Checksum> pre_apply;
    log::Payload payload;
  };

  [[nodiscard]] Primary& primary() const { return *process_.host().disk().primary; }
  void run_capture();
  void run_append();
  void run_maintenance();
  [[nodiscard]] bool capture();
  [[nodiscard]] Status round();
  [[nodiscard]] Status compact_all(base::WallTime now);
  [[nodiscard]] Status compact(const log::CompactionJob& job);
  [[nodiscard]] Status remove(const std::vector<log::Object>& objects);
  [[nodiscard]] Status snapshot();
  [[nodiscard]] Status put(const log::NewObject& object, const LogFile& file);
  [[nodiscard]] Result<bool> find_hole();
  [[nodiscard]] Status wait_acknowledged(const Context& context, Txid txid,
                                         std::optional<Time> until = std::nullopt);
  void fail(const Error& error);

  Process& process_;
  SimulatedBucket& bucket_;
  LogWatch& watch_;
  std::unique_ptr<log::Appender> appender_;
  log::Author author_;
  std::function<void(const Error&)> on_fatal_;
  replication::Batcher batcher_;
  log::CompactionSchedule schedule_;
  log::RetentionPolicy retention_;
  log::SettledSequence settled_;
  std::optional<log::RetentionClock> retention_clock_;
  std::deque<Item> outbox_;
  Position acknowledged_;
  std::string append_problem_;
  std::string round_problem_;
  std::optional<Error> fatal_;
  std::optional<Error> deposed_;
  Context stop_ = Context::background();
  int threads_ = 3;
};

}  // namespace litecluster::test::cluster
