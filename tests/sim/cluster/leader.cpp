#include "sim/cluster/leader.hpp"

#include <algorithm>
#include <utility>

#include "log/restore.hpp"
#include "log/restore_plan.hpp"
#include "log/snapshot_schedule.hpp"

namespace litecluster::test::cluster {

namespace {

constexpr std::size_t outbox_max = 20;

base::Duration at_least_a_second(Time time) {
  return std::max<base::Duration>(std::chrono::seconds(1), base::Duration(time));
}

log::CompactionSchedule make_schedule(Time unit) {
  log::CompactionOptions options;
  options.levels = {{1, at_least_a_second(4 * unit)}, {2, at_least_a_second(20 * unit)}};
  return *log::CompactionSchedule::create(options);
}

bool is_of_a_rival(const log::Object& object, const log::Author& author, Txid fence) {
  if (object.name.level != log::raw_level || object.author == author) return false;
  if (object.author && object.author->epoch > author.epoch) return true;
  if (object.name.max <= fence) return false;
  return !object.author || object.author->epoch >= author.epoch;
}

bool is_final(const Error& error) {
  return error.code() == ErrorCode::deposed || error.code() == ErrorCode::gap ||
         error.code() == ErrorCode::invalid_argument;
}

}  // namespace

LeaderSession::LeaderSession(Process& process, SimulatedBucket& bucket, LogWatch& watch,
                             std::unique_ptr<log::Appender> appender,
                             std::function<void(const Error&)> on_fatal)
    : process_(process),
      bucket_(bucket),
      watch_(watch),
      appender_(std::move(appender)),
      author_(appender_->author()),
      on_fatal_(std::move(on_fatal)),
      batcher_({}, process.host().boot_time()),
      schedule_(make_schedule(process.unit())) {
  retention_.raw_grace = log::raw_grace_min;
  retention_.retention = std::chrono::minutes(2);
  acknowledged_ = {primary().acknowledged(), {}};
  const auto thread = [this](void (LeaderSession::*run)()) {
    process_.spawn([this, run] {
      (this->*run)();
      --threads_;
      process_.change();
    });
  };
  thread(&LeaderSession::run_capture);
  thread(&LeaderSession::run_append);
  thread(&LeaderSession::run_maintenance);
  watch_.on_object([this, fence = appender_->end()](const log::Object& object) {
    if (!is_of_a_rival(object, author_, fence) || deposed_) return;
    deposed_ = Error(ErrorCode::deposed, "follow the log", to_string(object.name), "a rival writes");
    process_.change();
  });
}

void LeaderSession::database_changed() {
  process_.change();
}

void LeaderSession::stop() {
  watch_.on_object(nullptr);
  stop_.cancel();
  process_.change();
  while (threads_ > 0) process_.wait(process_.unit());
  if (acknowledged_.txid > primary().acknowledged()) primary().acknowledge(acknowledged_.txid, author_.epoch);
}

void LeaderSession::fail(const Error& error) {
  if (fatal_) return;
  fatal_ = error;
  process_.simulation().trace("{}: publishing has ended: {}", process_.host().name(), error.message());
  if (error.code() == ErrorCode::deposed) ++process_.simulation().statistics.deposed;
  if (error.code() == ErrorCode::gap) ++process_.simulation().statistics.gaps;
  process_.host().note_said(error);
  process_.change();
  on_fatal_(error);
}

// The capture thread.

bool LeaderSession::capture() {
  if (outbox_.size() >= outbox_max) return false;
  const auto captured = primary().capture();
  batcher_.captured(process_.host().boot_time(), captured.has_value());
  if (!captured) return false;
  const log::Payload payload(captured->file.encode(process_.host().wall_time()));
  primary().note_file(captured->position.txid, payload);
  outbox_.push_back(
      {.position = captured->position, .pre_apply = captured->file.pre_apply(), .payload = payload});
  process_.change();
  return true;
}

void LeaderSession::run_capture() {
  while (!stop_.done() && !fatal_) {
    if (acknowledged_.txid > primary().acknowledged()) {
      primary().acknowledge(acknowledged_.txid, author_.epoch);
    }
    if (primary().changed())
      batcher_.changed(process_.simulation().chance(5) ? std::uint64_t{2} << 20U : 100);
    if (batcher_.capture_due(process_.host().boot_time()) && capture()) continue;
    const Time due = process_.host().true_time(batcher_.wake_at());
    process_.wait_until(std::max(due, process_.now() + process_.unit() / 1000));
  }
}

// The append thread.

void LeaderSession::run_append() {
  Time pause = process_.unit() / 10;
  while (!stop_.done() && !fatal_) {
    const Status& watching = watch_.status();
    if (!deposed_ && !watching && watching.error().code() == ErrorCode::gap) deposed_ = watching.error();
    if (deposed_) return fail(*deposed_);
    if (outbox_.empty() || !batcher_.append_due()) {
      process_.wait(5 * process_.unit());
      continue;
    }
    const Item item = outbox_.front();
    batcher_.append_started();
    const auto appended = appender_->append(
        stop_, {.payload = item.payload, .pre_apply = item.pre_apply, .checksum = item.position.checksum});
    if (appended) {
      process_.simulation().judge.acknowledged(*appended);
      ++process_.simulation().statistics.appends;
      watch_.add(*appended);
      append_problem_.clear();
      pause = process_.unit() / 10;
      batcher_.append_finished();
      outbox_.pop_front();
      acknowledged_ = item.position;
      process_.change();
    } else if (is_final(appended.error())) {
      return fail(appended.error());
    } else if (!stop_.done()) {
      append_problem_ = appended.error().message();
      batcher_.append_failed();
      process_.wait(pause);
      pause = std::min(2 * pause, 2 * process_.unit());
    }
  }
}

Status LeaderSession::wait_acknowledged(const Context& context, Txid txid, std::optional<Time> until) {
  while (acknowledged_.txid < txid) {
    if (until && process_.now() >= *until) return failure(ErrorCode::deadline_exceeded, "sync", {}, {});
    if (fatal_) return std::unexpected(*fatal_);
    if (stop_.done()) return failure(ErrorCode::cancelled, "sync", {}, "the publisher was stopped");
    if (auto status = context.status("sync"); !status) return status;
    process_.wait(process_.unit());
  }
  return {};
}

Status LeaderSession::sync(const Context& context, std::optional<Time> until) {
  batcher_.sync_requested();
  const StateId state = primary().content().state;
  while (primary().changed() && !process_.simulation().states.leads_to(state, primary().captured_state())) {
    if (fatal_) return std::unexpected(*fatal_);
    if (stop_.done()) return failure(ErrorCode::cancelled, "sync", {}, "the publisher was stopped");
    if (until && process_.now() >= *until) return failure(ErrorCode::deadline_exceeded, "sync", {}, {});
    if (auto status = context.status("sync"); !status) return status;
    // One who waits does not wait for an append, only for room.
    if (!capture()) process_.wait(process_.unit() / 20);
  }
  return wait_acknowledged(context, primary().position().txid, until);
}

// The maintenance thread.

void LeaderSession::run_maintenance() {
  while (!stop_.done()) {
    const auto done = round();
    round_problem_ = done ? std::string() : done.error().message();
    if (!done) {
      process_.simulation().trace("{}: cannot maintain the log: {}", process_.host().name(),
                                  done.error().message());
    }
    const Time until = process_.now() + (done ? 4 : 2) * process_.unit();
    while (!stop_.done() && process_.now() < until) process_.wait_until(until);
  }
}

Status LeaderSession::round() {
  if (auto complete = watch_.wait_complete(stop_, 30 * process_.unit()); !complete) return complete;
  const base::WallTime wall = process_.host().wall_time();
  const base::BootTime boot = process_.host().boot_time();
  settled_.note(boot, watch_.seen());
  if (!retention_clock_) retention_clock_.emplace(watch_.view().end().created_at, wall, boot);
  const auto hole = find_hole();
  if (!hole) return std::unexpected(hole.error());
  if (*hole) {
    if (auto written = snapshot(); !written) return written;
  }
  const log::RetentionTimes times = retention_clock_->at(wall, boot, retention_);
  const Revision settled = settled_.at(boot);
  const Status compacted = compact_all(times.now);
  if (!compacted && (compacted.error().code() == ErrorCode::deposed || stop_.done())) return compacted;
  const auto removals = log::plan_retention(watch_.view(), retention_, times, settled);
  if (!removals) return std::unexpected(removals.error());
  if (auto removed = remove(*removals); !removed) return removed;
  if (!compacted) return compacted;
  const bool due = watch_.view().end().txid >= acknowledged_.txid &&
                   log::snapshot_due(watch_.view(), acknowledged_.txid, process_.host().wall_time(),
                                     at_least_a_second(25 * process_.unit()));
  return due ? snapshot() : Status();
}

Result<bool> LeaderSession::find_hole() {
  const auto has_hole = [](const log::LogView& view) {
    const auto& snapshots = view.level(log::snapshot_level);
    const Txid after = snapshots.empty() ? Txid(0) : snapshots.rbegin()->first.max;
    if (!view.gaps(after).empty()) return true;
    const auto plan = log::plan_restore(view, log::RestoreTarget::latest());
    return !plan && plan.error().code() == ErrorCode::gap;
  };
  if (!has_hole(watch_.view())) return false;
  const auto view = log::read_log(stop_, bucket_);
  if (!view) return std::unexpected(view.error());
  return has_hole(*view);
}

Status LeaderSession::compact_all(base::WallTime now) {
  while (true) {
    if (auto status = stop_.status("maintain the log"); !status) return status;
    if (watch_.view().highest_epoch() > author_.epoch) {
      return failure(ErrorCode::deposed, "maintain the log", {}, "a newer epoch owns it");
    }
    const auto job = schedule_.next(watch_.view(), now);
    if (!job) return {};
    if (auto compacted = compact(*job); !compacted) return compacted;
  }
}

Status LeaderSession::compact(const log::CompactionJob& job) {
  LogFile merged;
  Content pages;
  std::array<bool, page_count> present{};
  for (const log::Object& input : job.inputs) {
    const auto bytes = bucket_.fetch(stop_, input);
    if (!bytes) {
      if (bytes.error().code() == ErrorCode::not_found) watch_.view().forget(input.name);
      return std::unexpected(bytes.error());
    }
    const LogFile file = LogFile::decode(*bytes);
    for (const LogFile::Page& page : file.pages) {
      pages.pages[page.number] = page.value;
      present[page.number] = true;
    }
    if (merged.min.is_zero())
      merged = {.min = file.min, .max = file.max, .before = file.before, .after = 0, .pages = {}};
    merged.max = file.max;
    merged.after = file.after;
  }
  for (std::size_t page = 0; page < page_count; ++page) {
    if (present[page]) merged.pages.push_back({static_cast<std::uint8_t>(page), pages.pages[page]});
  }
  const log::Object& last = job.inputs.back();
  return put({.name = job.output(),
              .created_at = last.created_at,
              .author = author_,
              .checksum = last.checksum,
              .pre_apply = job.inputs.front().pre_apply,
              .previous_file = job.inputs.front().previous_file},
             merged);
}

Status LeaderSession::put(const log::NewObject& object, const LogFile& file) {
  const base::Bytes bytes = file.encode(object.created_at);
  auto stored = bucket_.put(stop_, object, bytes);
  if (!stored && stored.error().code() == ErrorCode::already_exists)
    stored = bucket_.info(stop_, object.name);
  if (!stored) return std::unexpected(stored.error());
  ++process_.simulation().statistics.merged;
  watch_.add(*stored);
  return {};
}

Status LeaderSession::remove(const std::vector<log::Object>& objects) {
  for (const log::Object& object : objects) {
    if (auto removed = bucket_.remove(stop_, object); !removed) return removed;
    ++process_.simulation().statistics.removed;
    watch_.view().forget(object.name);
  }
  return {};
}

Status LeaderSession::snapshot() {
  if (auto synced = sync(stop_); !synced) return synced;
  while (primary().changed()) {
    if (!capture()) process_.wait(process_.unit() / 20);
    if (auto status = stop_.status("snapshot"); !status) return status;
  }
  const Content content = primary().content();
  const Position position = primary().position();
  const base::WallTime time = process_.host().wall_time();
  if (auto known = wait_acknowledged(stop_, position.txid); !known) return known;
  LogFile file{.min = Txid(1), .max = position.txid, .before = {}, .after = content.state, .pages = {}};
  for (std::size_t page = 0; page < page_count; ++page) {
    file.pages.push_back({static_cast<std::uint8_t>(page), content.pages[page]});
  }
  return put({.name = log::ObjectName::snapshot(position.txid),
              .created_at = time,
              .author = author_,
              .checksum = position.checksum},
             file);
}

}  // namespace litecluster::test::cluster
