#include "replication/follow_plan.hpp"

#include <utility>

#include "log/catch_up_plan.hpp"
#include "log/restore_plan.hpp"

namespace litecluster::replication {

namespace {

Error another_state(Txid applied) {
  return Error(
      ErrorCode::failed_precondition, "follow", "TXID " + to_string(applied),
      "the log has another state there than the replica; either the bucket lost its end, and went on "
      "from an earlier one, or the replica follows another log");
}

// The raw objects that follow `applied` without a gap, as many as are taken at once; they end where one was
// made on another state than the one before it leads to.
std::vector<log::Object> raw_run(const log::LogView& view, Txid applied) {
  std::vector<log::Object> run;
  for (Txid txid = applied.next(); run.size() < raw_objects_ahead_max; txid = txid.next()) {
    const log::Object* object = view.find(log::ObjectName::raw(txid));
    if (object == nullptr) break;
    if (!run.empty() && !log::was_made_on(*object, run.back())) break;
    run.push_back(*object);
  }
  return run;
}

// As far as the log leads: what lies behind a hole may come later.
FollowWork reseed(const log::LogView& view, std::string reason) {
  auto plan = log::plan_reachable(view);
  if (!plan) return Stuck{plan.error()};
  return Reseed{std::move(plan->objects), std::move(reason)};
}

// What the first object on the way says of where it starts from.
Status check_start(const std::vector<log::Object>& objects, Txid applied,
                   const std::optional<AppliedState>& state) {
  if (!state || objects.empty()) return {};
  return check_made_on(objects.front(), applied, *state);
}

}  // namespace

Status check_made_on(const log::Object& object, Txid applied, const AppliedState& state) {
  if (log::was_made_on(object, applied, state.checksum, state.file)) return {};
  return std::unexpected(another_state(applied));
}

Status check_same_state(const log::LogView& view, Txid applied, const AppliedState& state) {
  const log::LogEnd end = view.end();
  bool same = end.txid != applied || log::agree(end.checksum, state.checksum);
  if (const log::Object* const raw = view.find(log::ObjectName::raw(applied))) {
    const bool this_one =
        log::agree(raw->checksum, state.checksum) && log::agree(raw->file_checksum, state.file);
    // What came where the log had passed already says nothing of what follows.
    same = same && (this_one || view.out_of_turn(*raw));
  }
  if (same) return {};
  return std::unexpected(another_state(applied));
}

FollowWork plan_follow(const log::LogView& view, Txid applied, bool trusted,
                       std::optional<AppliedState> state) {
  const Txid end = view.end().txid;
  if (end.is_zero() && applied.is_zero()) return UpToDate{};
  if (!trusted) {
    if (end.is_zero()) {
      return Stuck{
          Error(ErrorCode::not_found, "re-seed", "replica", "the log holds nothing to start again from")};
    }
    return reseed(view, "the replica's content is not trusted");
  }
  const auto same = state ? check_same_state(view, applied, *state) : Status();
  if (!same) return Stuck{same.error()};
  if (applied == end) return UpToDate{};
  if (applied > end) {
    return Stuck{Error(ErrorCode::failed_precondition, "follow", "TXID " + to_string(applied),
                       "the log ends before it, at TXID " + to_string(end) +
                           "; either the bucket lost its end, or the replica follows another log")};
  }
  if (applied.is_zero()) return reseed(view, "the replica is empty");
  auto run = raw_run(view, applied);
  const bool near = end.value() - applied.value() <= raw_objects_ahead_max;
  if (auto start = check_start(run, applied, state); !start) return Stuck{start.error()};
  if (near && !run.empty()) return ApplyObjects{std::move(run)};
  auto plan = log::plan_catch_up(view, applied);
  if (plan && !plan->reseed) {
    if (auto start = check_start(plan->objects, applied, state); !start) return Stuck{start.error()};
    return ApplyObjects{std::move(plan->objects)};
  }
  // Better to the hole in small steps than over it in one large one.
  if (!run.empty()) return ApplyObjects{std::move(run)};
  // Over a hole in the log a snapshot may lead on, if only as far as the next hole.
  auto reachable = log::plan_reachable(view);
  if (reachable && reachable->txid() > applied) {
    return Reseed{std::move(reachable->objects), "the log no longer reaches back to the replica"};
  }
  if (!plan) return Stuck{plan.error()};
  return Stuck{reachable ? Error(ErrorCode::gap, "follow", "TXID " + to_string(applied.next()),
                                 "no object of the log leads on from the replica")
                         : reachable.error()};
}

}  // namespace litecluster::replication
