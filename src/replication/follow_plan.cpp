#include "replication/follow_plan.hpp"

#include <utility>

#include "log/catch_up_plan.hpp"

namespace litecluster::replication {

namespace {

// The raw objects that follow `applied` without a gap, when they lead to the end within the limit.
std::vector<log::Object> raw_run(const log::LogView& view, Txid applied, Txid end) {
  std::vector<log::Object> run;
  if (end.value() - applied.value() > raw_objects_ahead_max) return run;
  for (Txid txid = applied.next(); txid <= end; txid = txid.next()) {
    const log::Object* object = view.find(log::ObjectName::raw(txid));
    if (object == nullptr) break;
    run.push_back(*object);
  }
  return run;
}

FollowWork reseed(const log::LogView& view, std::string reason) {
  auto plan = log::plan_catch_up(view, Txid(0));
  if (!plan) return Stuck{plan.error()};
  return Reseed{std::move(plan->objects), std::move(reason)};
}

}  // namespace

FollowWork plan_follow(const log::LogView& view, Txid applied, bool trusted) {
  const Txid end = view.end().txid;
  if (end.is_zero() && applied.is_zero()) return UpToDate{};
  if (!trusted) {
    if (end.is_zero()) {
      return Stuck{
          Error(ErrorCode::not_found, "re-seed", "replica", "the log holds nothing to start again from")};
    }
    return reseed(view, "the replica's content is not trusted");
  }
  if (applied == end) return UpToDate{};
  if (applied > end) {
    return Stuck{Error(ErrorCode::failed_precondition, "follow", "TXID " + to_string(applied),
                       "the log ends before it, at TXID " + to_string(end) +
                           "; either the bucket lost its end, or the replica follows another log")};
  }
  if (!applied.is_zero()) {
    auto run = raw_run(view, applied, end);
    if (!run.empty()) return ApplyObjects{std::move(run)};
  }
  auto plan = log::plan_catch_up(view, applied);
  if (!plan) return Stuck{plan.error()};
  if (!plan->reseed) return ApplyObjects{std::move(plan->objects)};
  return Reseed{std::move(plan->objects),
                applied.is_zero() ? "the replica is empty" : "the log no longer reaches back to the replica"};
}

}  // namespace litecluster::replication
