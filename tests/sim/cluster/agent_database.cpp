// The database's part of an agent: app::DatabaseRole, replication::fence_with_replica() and DatabaseFence.
#include <algorithm>
#include <set>
#include <utility>

#include "log/restore.hpp"
#include "log/restore_plan.hpp"
#include "sim/cluster/agent.hpp"

namespace litecluster::test::cluster {

// Between two durable steps: a crash can fall here.
void Agent::disk_work() {
  process_.work(simulation().schedule.between(0, process_.unit() / 100));
}

void Agent::let_go() {
  if (session_) session_->stop();
  session_.reset();
  attached_ = false;
  handed_over_ = false;
  appender_.reset();
  feeder_.reset();
  fence_file_.reset();
}

Status Agent::follow(const Context& context) {
  let_go();
  dormant_ = false;
  last_position_.reset();
  if (follower_) return {};
  // A watcher that lives is kept: what it knows need not be read again.
  if (!watch_.live()) watch_.start();
  if (disk().primary) {
    if (auto settled = settle_primary(context); !settled) return settled;
    if (dormant_) return {};
  }
  follower_ = std::make_unique<Follower>(process_, bucket_, watch_);
  return {};
}

Status Agent::settle_primary(const Context& context) {
  if (auto complete = watch_.wait_complete(context, 5 * process_.unit()); !complete) return complete;
  const log::LogView view = watch_.view();
  const auto replay = [&](Txid from, Txid to, const std::vector<std::uint8_t>& pages) {
    return replay_replaces(context, view, from, to, pages);
  };
  auto judged = judge_former_primary(*disk().primary, view, process_.host().name(), replay);
  if (!judged) return std::unexpected(judged.error());
  if (simulation().bug == PlantedBug::former_primary_trusted) {
    judged = FormerPrimary{Worth::prefix, {view.end().txid, view.end().checksum.value_or(Checksum())}, {}};
  }
  disk_work();
  switch (judged->worth) {
    case Worth::prefix: primary_to_replica(*judged); return {};
    case Worth::diverged: put_aside(); return {};
    case Worth::ahead: break;
  }
  simulation().trace("{}: holds commits that the log does not have", process_.host().name());
  dormant_ = true;
  dormant_position_ = judged->position;
  return {};
}

Result<bool> Agent::replay_replaces(const Context& context, const log::LogView& view, Txid from, Txid to,
                                    const std::vector<std::uint8_t>& pages) {
  if (from >= to) return pages.empty();
  const auto plan = log::plan_onward(view, from, log::RestoreTarget::at(to));
  if (!plan) return false;
  std::set<std::uint8_t> brought;
  for (const log::Object& object : plan->objects) {
    const auto bytes = bucket_.fetch(context, object);
    if (!bytes && bytes.error().code() == ErrorCode::not_found) return false;
    if (!bytes) return std::unexpected(bytes.error());
    if (object.name.min <= from) continue;
    for (const LogFile::Page& page : LogFile::decode(*bytes).pages) brought.insert(page.number);
  }
  return std::ranges::all_of(pages, [&](std::uint8_t page) { return brought.contains(page); });
}

void Agent::primary_to_replica(const FormerPrimary& judged) {
  Host& host = process_.host();
  Content content = disk().primary->content();
  simulation().trace("{}: the former primary is at TXID {}", host.name(), judged.position.txid.value());
  if (content.checksum != judged.position.checksum && simulation().bug == PlantedBug::none) {
    simulation().judge.violated("a former primary was taken for what it is not");
  }
  // The same content by way of commits that undid each other.
  const auto state = simulation().judge.state_at(judged.position.txid.value(), content);
  if (state) {
    simulation().judge.excused(content.state, *state);
    content.state = *state;
  }
  disk().replica = Replica();
  disk().replica.become(content, judged.position.txid, judged.epoch, judged.file, judged.doubtful_to);
  disk().replica.sync();
  disk().primary.reset();
  simulation().judge.standby_at(disk().replica, Txid());
  host.standby_seen = disk().replica.txid();
}

void Agent::put_aside() {
  simulation().trace("{}: diverged commits are kept aside", process_.host().name());
  ++simulation().statistics.diverged;
  process_.host().note_said();
  simulation().judge.kept_aside(disk().primary->content(), process_.host().index());
  disk().primary.reset();
  // Its readers had seen the database that is no more; the standby begins where its own copy is.
  process_.host().standby_seen = Txid();
}

bool Agent::overtaken() {
  if (!follower_ && !dormant_ && !session_) return true;
  // A watch that has ended does not see who overtakes.
  return dormant_ && (!watch_.status() || watch_.view().end().txid > dormant_position_.txid);
}

Status Agent::catch_up(const Context& context) {
  in_place_ = std::exchange(dormant_, false);
  if (!in_place_) {
    if (simulation().bug == PlantedBug::lead_without_reading && follower_) return {};
    if (follower_) return follower_->catch_up(context);
    return failure(ErrorCode::failed_precondition, "catch up", {}, "nobody follows");
  }
  if (auto complete = watch_.wait_complete(context, 30 * process_.unit()); !complete) return complete;
  if (watch_.view().end().txid != dormant_position_.txid) {
    return failure(ErrorCode::conflict, "catch up", {}, "others have written since it was looked at");
  }
  attached_ = true;
  return disk().primary->attach(end_of(watch_.view().end()), false);
}

std::unique_ptr<log::Appender> Agent::make_appender(Epoch epoch) {
  const log::Author author{.epoch = epoch, .node = process_.host().name(), .incarnation = incarnation_};
  return std::make_unique<log::Appender>(bucket_, author, watch_.read_end());
}

Status Agent::fence(const Context& context, Epoch epoch) {
  if (!in_place_ && follower_) {
    follower_->stop();
    feeder_ = std::make_unique<Feeder>(process_, bucket_, watch_);
    follower_.reset();
  }
  std::optional<log::LogView> view;
  if (watch_.live()) {
    view = watch_.view();
    if (feeder_ && view->end().txid < disk().replica.txid()) view.reset();
  } else if (!watch_.status()) {
    watch_.start();
  }
  appender_ = make_appender(epoch);
  if (!in_place_ && disk().replica.empty()) {
    const auto read = log::read_log(context, bucket_);
    if (!read) return std::unexpected(read.error());
    if (read->end().txid.is_zero()) {
      disk().primary.emplace(Content::fresh());
      if (auto attached = disk().primary->attach(end_of(read->end()), false); !attached) return attached;
      attached_ = true;
      in_place_ = true;
    }
  }
  return in_place_ ? fence_in_place(context, std::move(view), epoch)
                   : fence_with_replica(context, std::move(view));
}

Status Agent::fence_with_replica(const Context& context, std::optional<log::LogView> view) {
  const auto apply = [this](const Context& inner, const log::LogView& log, Txid txid) -> Status {
    if (simulation().bug == PlantedBug::lead_without_reading) return {};
    return feeder_->advance_to(inner, log, txid);
  };
  std::optional<base::Bytes> bytes;
  const auto make_file = [&](const Context&, Txid txid) -> Result<log::NewFile> {
    if (disk().replica.empty()) return failure(ErrorCode::failed_precondition, "fence", {}, "no database");
    const Content& content = disk().replica.content();
    const LogFile file{.min = txid,
                       .max = txid,
                       .before = content.checksum,
                       .after = content.state,
                       .pages = {{0, content.pages[0]}}};
    bytes = file.encode(process_.host().wall_time());
    return log::NewFile{
        .payload = log::Payload(*bytes), .pre_apply = content.checksum, .checksum = content.checksum};
  };
  const auto fenced =
      log::fence_log(context, bucket_, *appender_, {.apply = apply, .make_file = make_file}, std::move(view));
  if (!fenced) return std::unexpected(fenced.error());
  simulation().judge.acknowledged(*fenced);
  if (disk().replica.txid() < fenced->name.max) {
    if (bytes) {
      if (auto applied = feeder_->apply(*fenced, *bytes); !applied) return applied;
    } else {
      const auto log = log::read_log(context, bucket_);
      if (!log) return std::unexpected(log.error());
      if (auto applied = feeder_->advance_to(context, *log, fenced->name.max); !applied) return applied;
    }
  }
  watch_.add(*fenced);
  fence_ = end_of(*fenced);
  return {};
}

Status Agent::fence_in_place(const Context& context, std::optional<log::LogView> view, Epoch epoch) {
  Primary& primary = *disk().primary;
  if (primary.attachment() == Attachment::complete && !primary.log_end().is_zero()) {
    return failure(ErrorCode::conflict, "fence", {}, "it cannot be proven to follow from the log's end");
  }
  const auto apply = [&](const Context&, const log::LogView&, Txid txid) -> Status {
    if (primary.log_end() == txid) return {};
    return failure(ErrorCode::conflict, "take over log", to_string(txid), "somebody else appended meanwhile");
  };
  const auto make_file = [&](const Context&, Txid txid) -> Result<log::NewFile> {
    if (fence_file_ && fence_file_txid_ == txid) return *fence_file_;
    const Captured captured = primary.capture_fence();
    if (captured.position.txid != txid) {
      return failure(ErrorCode::conflict, "take over log", to_string(txid), "attach it anew");
    }
    fence_file_txid_ = txid;
    fence_file_ = log::NewFile{.payload = log::Payload(captured.file.encode(process_.host().wall_time())),
                               .pre_apply = captured.file.pre_apply(),
                               .checksum = captured.position.checksum};
    primary.note_file(txid, fence_file_->payload);
    return *fence_file_;
  };
  const auto fenced =
      log::fence_log(context, bucket_, *appender_, {.apply = apply, .make_file = make_file}, std::move(view));
  if (!fenced) return std::unexpected(fenced.error());
  simulation().judge.acknowledged(*fenced);
  watch_.add(*fenced);
  primary.acknowledge(fenced->name.max, epoch);
  return {};
}

Status Agent::seal_replica() {
  if (in_place_ || !feeder_) return {};
  if (disk().replica.position_is_doubtful()) {
    return failure(ErrorCode::failed_precondition, "hand over replica", {}, "its position is a guess");
  }
  disk_work();
  disk().replica.sync();
  handed_over_ = true;
  feeder_.reset();
  return {};
}

Status Agent::install_primary() {
  if (in_place_) return {};
  if (disk().primary) put_aside();
  disk_work();
  disk().primary.emplace(disk().replica.content());
  disk().primary->record_hand_over({disk().replica.txid(), disk().replica.content().checksum,
                                    disk().replica.epoch(), disk().replica.file()});
  disk().replica = Replica();
  disk_work();
  return {};
}

Status Agent::attach_capture() {
  if (!attached_) {
    auto attached = disk().primary->attach(fence_, std::exchange(handed_over_, false));
    if (!attached) return attached;
    attached_ = true;
  }
  disk_work();
  session_ = std::make_unique<LeaderSession>(process_, bucket_, watch_, std::move(appender_),
                                             [this](const Error& error) { wish_step_down(error.message()); });
  return {};
}

Status Agent::final_sync(const Context& context) {
  if (!session_ || simulation().bug == PlantedBug::no_final_sync) return {};
  if (!simulation().lossy()) return session_->sync(context);
  while (true) {
    if (auto same = bucket_guard_->status("log"); !same) return same;
    auto synced = session_->sync(context, process_.now() + 3 * process_.unit());
    if (synced || context.done() || synced.error().code() != ErrorCode::deadline_exceeded) return synced;
    static_cast<void>(bucket_is_the_same());
  }
}

void Agent::detach_capture() {
  const auto last = position();
  let_go();
  last_position_ = last;
}

}  // namespace litecluster::test::cluster
