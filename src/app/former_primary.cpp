#include "app/former_primary.hpp"

#include <ranges>
#include <utility>

#include "app/replay_proof.hpp"
#include "base/logging.hpp"
#include "db/capture_state.hpp"
#include "db/replica_record.hpp"
#include "replication/session_options.hpp"

namespace litecluster::app {

using replication::log_end_of;

namespace {

const log::Object* last_written_by(const log::LogView& view, const std::string& node) {
  for (const auto& [name, object] : std::views::reverse(view.level(log::raw_level))) {
    if (object.author && object.author->node == node) return &object;
  }
  return nullptr;
}

// The state in the log with which to compare: the last one of this node's that capture recognises, so that
// what is stored stays usable (comparing with a state that capture does not know would make it forget those
// that it does). Otherwise the last one that it knows to be in the log, if there is any: as the log has it
// now, since others may have written over it. A state of somebody else's is compared with only when nothing
// is stored, and then proves nothing by itself.
Result<std::optional<db::LogEnd>> choose_base(const FormerPrimaryQuestion& question) {
  const log::Object* ours = last_written_by(question.view, question.node);
  const auto state = db::CaptureState::open(question.database.state_directory);
  if (!state) return std::unexpected(state.error());
  const auto acknowledged = (*state)->acknowledged();
  if ((*state)->known()) {
    const bool recognised = ours != nullptr && ours->checksum && !question.view.out_of_turn(*ours) &&
                            (*state)->recognises(ours->name.max, ours->file_checksum);
    if (recognised) return log_end_of(*ours);
    const log::Object* confirmed =
        acknowledged ? question.view.find(log::ObjectName::raw(*acknowledged)) : nullptr;
    return confirmed != nullptr ? std::optional(log_end_of(*confirmed)) : std::nullopt;
  }
  return ours != nullptr && ours->checksum ? log_end_of(*ours) : log_end_of(question.view.end());
}

// What attaching found.
struct Found {
  db::AttachReport report;
  /// The state that the log is known to have; 0: none.
  Txid acknowledged;
  Position content;
  std::optional<db::CapturedTransaction> difference;
  bool difference_is_whole = true;
};

Result<Found> look_at(db::Database& database) {
  Found found{.report = database.attach_report(),
              .acknowledged = database.acknowledged(),
              .content = database.position(),
              .difference = std::nullopt};
  // One capture may hold a part of what there is.
  while (true) {
    auto captured = database.capture();
    if (!captured) return std::unexpected(captured.error());
    if (!*captured) return found;
    found.content = (*captured)->position();
    if (found.difference) {
      found.difference_is_whole = false;
    } else {
      found.difference = std::move(**captured);
    }
  }
}

struct ProvenState {
  Txid txid;
  Epoch epoch;
  std::optional<Checksum> file{};
  Txid doubtful_to{};
};

// The state in the log that this content is, or leads to, beyond doubt.
Result<std::optional<ProvenState>> proven_state(const Context& context, const FormerPrimaryQuestion& question,
                                                const Found& found) {
  using Proven = std::optional<ProvenState>;
  const bool nothing_stored = found.report.outcome == db::AttachOutcome::complete;
  if (nothing_stored) {
    // A promotion that was killed between moving the replica and attaching to it.
    const auto replica = db::handed_over_position(question.replica_position, question.database.path);
    if (!replica) return std::unexpected(replica.error());
    if (*replica && (*replica)->checksum == found.content.checksum) {
      return Proven({.txid = (*replica)->txid, .epoch = (*replica)->epoch, .file = (*replica)->file});
    }
  }
  // Commits that certainly came after a state of the log, and are in no object of ours, are commits that the
  // log does not have, whatever they add up to.
  if (found.report.content_is_newer || !found.difference) return Proven();
  const log::Object* state = question.view.find_state(found.content.checksum);
  if (state == nullptr || question.view.out_of_turn(*state)) return Proven();
  ProvenState proven{.txid = state->name.max, .epoch = log_end_of(*state).epoch};
  if (nothing_stored) return found.difference->description().commit == 1 ? Proven(proven) : Proven();
  if (!found.difference_is_whole) return Proven();
  const auto replaces = replay_replaces(context, question.bucket, question.view, state->name.max,
                                        found.report.log_end, found.difference->pages());
  if (!replaces) return std::unexpected(replaces.error());
  proven.doubtful_to = found.report.log_end;
  return *replaces ? Proven(proven) : Proven();
}

}  // namespace

Result<FormerPrimary> judge_former_primary(const Context& context, const FormerPrimaryQuestion& question) {
  const auto base = choose_base(question);
  if (!base) return std::unexpected(base.error());
  const log::LogEnd end = question.view.end();
  auto database = db::Database::attach(question.database, *base, context);
  if (!database && database.error().code() == ErrorCode::corrupt) {
    base::log_error("the former primary is damaged", {{"reason", database.error().message()}});
    return FormerPrimary{.worth = PrimaryWorth::diverged, .position = {}, .epoch = {}, .difference = {}};
  }
  if (!database) return std::unexpected(database.error());
  auto found = look_at(**database);
  if (!found) return std::unexpected(found.error());
  if (!found->difference && !found->acknowledged.is_zero()) {
    return FormerPrimary{.worth = PrimaryWorth::prefix,
                         .position = found->content,
                         .epoch = *base ? (*base)->epoch : found->report.stored_epoch,
                         .file = *base ? (*base)->file_checksum : std::nullopt,
                         .difference = std::nullopt};
  }
  const auto state = proven_state(context, question, *found);
  if (!state) return std::unexpected(state.error());
  if (*state) {
    base::log_info("the former primary is at a state of the log",
                   {{"txid", to_string((*state)->txid)}, {"end", to_string(end.txid)}});
    return FormerPrimary{.worth = PrimaryWorth::prefix,
                         .position = {(*state)->txid, found->content.checksum},
                         .epoch = (*state)->epoch,
                         .file = (*state)->file,
                         .doubtful_to = (*state)->doubtful_to,
                         .difference = std::nullopt};
  }
  const bool nobody_else_wrote =
      end.author && end.author->node == question.node && found->acknowledged >= end.txid;
  const bool ahead = end.txid.is_zero() || (nobody_else_wrote && found->report.content_is_newer);
  if (found->difference && found->difference->description().complete) found->difference.reset();
  return FormerPrimary{.worth = ahead ? PrimaryWorth::ahead : PrimaryWorth::diverged,
                       .position = {end.txid, end.checksum.value_or(Checksum())},
                       .epoch = log_end_of(end).epoch,
                       .difference = std::move(found->difference)};
}

}  // namespace litecluster::app
