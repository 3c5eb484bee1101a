#include "app/former_primary.hpp"

#include <ranges>
#include <utility>

#include "base/logging.hpp"
#include "db/capture_state.hpp"
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

// The state in the log with which to compare, chosen so that what is stored stays usable: comparing with a
// state that capture does not know would make it forget those that it does. Nothing: the last one that it
// knows to be in the log.
Result<std::optional<db::LogEnd>> choose_base(const FormerPrimaryQuestion& question) {
  const log::Object* ours = last_written_by(question.view, question.node);
  const auto state = db::CaptureState::open(question.database.state_directory);
  if (!state) return std::unexpected(state.error());
  const auto acknowledged = (*state)->acknowledged();
  if ((*state)->known()) {
    const bool stored = ours != nullptr && ours->checksum && ours->name.max <= (*state)->last().txid &&
                        ours->name.max >= acknowledged.value_or(Txid(0));
    if (stored) return log_end_of(*ours);
    if (acknowledged) return std::optional<db::LogEnd>();
  }
  return ours != nullptr && ours->checksum ? log_end_of(*ours) : log_end_of(question.view.end());
}

// The newest state in the log with this content, as far as its checksum tells. Equal changes of two pages
// cancel each other out in it, so it proves nothing about commits that certainly came after a state of the
// log and are in no object of ours: those are commits that the log does not have, whatever they add up to.
const log::Object* state_with(const log::LogView& view, Checksum content, bool is_newer) {
  return is_newer ? nullptr : view.find_state(content);
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
  const db::AttachReport report = (*database)->attach_report();
  const bool is_newer = report.content_is_newer || report.outcome == db::AttachOutcome::verified;
  const Txid reached = (*database)->acknowledged();
  std::optional<db::CapturedTransaction> difference;
  Position content = (*database)->position();
  // One capture may hold a part of what there is.
  while (true) {
    auto captured = (*database)->capture();
    if (!captured) return std::unexpected(captured.error());
    if (!*captured) break;
    content = (*captured)->position();
    if (!difference) difference = std::move(**captured);
  }
  if (!difference && !reached.is_zero()) {
    return FormerPrimary{.worth = PrimaryWorth::prefix,
                         .position = content,
                         .epoch = *base ? (*base)->epoch : report.stored_epoch,
                         .difference = std::nullopt};
  }
  if (const log::Object* state = state_with(question.view, content.checksum, is_newer)) {
    base::log_info("the former primary is at a state of the log",
                   {{"txid", to_string(state->name.max)}, {"end", to_string(end.txid)}});
    return FormerPrimary{.worth = PrimaryWorth::prefix,
                         .position = {state->name.max, content.checksum},
                         .epoch = log_end_of(*state).epoch,
                         .difference = std::nullopt};
  }
  const bool nobody_else_wrote = end.author && end.author->node == question.node && reached >= end.txid;
  const bool ahead = end.txid.is_zero() || (nobody_else_wrote && is_newer);
  return FormerPrimary{.worth = ahead ? PrimaryWorth::ahead : PrimaryWorth::diverged,
                       .position = {end.txid, end.checksum.value_or(Checksum())},
                       .epoch = log_end_of(end).epoch,
                       .difference = std::move(difference)};
}

}  // namespace litecluster::app
