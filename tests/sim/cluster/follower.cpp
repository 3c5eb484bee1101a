#include "sim/cluster/follower.hpp"

#include <algorithm>
#include <utility>

#include "log/restore.hpp"
#include "log/restore_plan.hpp"

namespace litecluster::test::cluster {

namespace {

constexpr int replans_max = 20;

}  // namespace

// Feeder.

replication::AppliedState Feeder::applied_state() const {
  return {replica().content().checksum, replica().file()};
}

replication::FollowWork Feeder::plan(const log::LogView& view) const {
  const bool unchecked = process_.simulation().bug == PlantedBug::applied_unchecked;
  const auto known =
      unchecked || replica().position_is_doubtful() ? std::nullopt : std::optional(applied_state());
  return replication::plan_follow(view, replica().txid(), !replica().distrusted(), known);
}

Result<bool> Feeder::carry_out(const Context& context, const replication::FollowWork& work) {
  if (std::holds_alternative<replication::UpToDate>(work)) {
    if (replica().empty() || !replica().position_is_doubtful()) return false;
    replica().distrust();
    return true;
  }
  if (const auto* stuck = std::get_if<replication::Stuck>(&work)) return std::unexpected(stuck->reason);
  Status done;
  if (const auto* apply = std::get_if<replication::ApplyObjects>(&work)) {
    done = apply_objects(context, apply->objects);
  } else {
    done = seed(context, std::nullopt);
  }
  if (!done) return std::unexpected(done.error());
  return true;
}

Status Feeder::advance_to(const Context& context, const log::LogView& view, Txid txid) {
  while (replica().distrusted() || replica().txid() < txid) {
    if (auto alive = context.status("catch up"); !alive) return alive;
    replication::FollowWork work = plan(view);
    if (auto* apply = std::get_if<replication::ApplyObjects>(&work)) {
      std::erase_if(apply->objects, [&](const log::Object& object) { return object.name.max > txid; });
      if (!apply->objects.empty()) {
        if (auto applied = apply_objects(context, apply->objects); !applied) return applied;
        continue;
      }
    }
    if (const auto* stuck = std::get_if<replication::Stuck>(&work)) return std::unexpected(stuck->reason);
    if (auto seeded = seed(context, txid); !seeded) return seeded;
  }
  if (replica().txid() == txid) {
    return replication::check_same_state(view, txid, applied_state());
  }
  return failure(ErrorCode::failed_precondition, "catch up", to_string(txid), "the replica is beyond it");
}

Status Feeder::apply_objects(const Context& context, const std::vector<log::Object>& objects) {
  return bucket_.get_many(context, objects, 0, [&](std::size_t index, Result<base::Bytes> bytes) -> Status {
    if (bytes) return apply(objects[index], *bytes);
    if (bytes.error().code() == ErrorCode::not_found) return unusable(objects[index], bytes.error(), false);
    return std::unexpected(bytes.error());
  });
}

Status Feeder::apply(const log::Object& object, base::ByteView bytes) {
  const Txid before = replica().txid();
  const StateId state = replica().content().state;
  const PlantedBug bug = process_.simulation().bug;
  const auto same = replication::check_made_on(object, before, applied_state());
  if (!same && bug != PlantedBug::former_primary_trusted && bug != PlantedBug::applied_unchecked) {
    if (replica().position_is_doubtful()) replica().distrust();
    return same;
  }
  auto applied =
      replica().apply(object, LogFile::decode(bytes),
                      bug == PlantedBug::former_primary_trusted || bug == PlantedBug::applied_unchecked);
  if (applied) {
    moved(before, state);
    return {};
  }
  if (applied.error().code() == ErrorCode::already_exists) return {};
  if (applied.error().code() == ErrorCode::gap) return applied;
  // Its position was no more than a guess: the next thing to do is to seed it.
  if (applied.error().code() == ErrorCode::corrupt && replica().position_is_doubtful()) {
    replica().distrust();
    return applied;
  }
  return unusable(object, applied.error(), true);
}

std::unexpected<Error> Feeder::unusable(const log::Object& object, const Error& error, bool for_good) {
  process_.simulation().trace("{}: {} is unusable: {}", process_.host().name(), to_string(object.name),
                              error.message());
  process_.host().note_said();
  watch_.view().forget(object.name);
  bad_objects_.add({object, error, for_good}, process_.host().boot_time());
  return std::unexpected(error);
}

void Feeder::moved(Txid before, StateId state) {
  Host& host = process_.host();
  const Txid txid = replica().txid();
  // Whoever notices first tells the operator.
  const bool said =
      std::ranges::any_of(process_.simulation().hosts, [](const auto& node) { return node->said(); });
  if (process_.simulation().judge.standby_moved(state, replica().content().state, said)) {
    ++process_.simulation().statistics.overwritten;
  }
  process_.simulation().trace("{}: standby at TXID {}", host.name(), txid.value());
  process_.simulation().judge.standby_at(replica(), std::max(before, host.standby_seen));
  host.standby_seen = txid;
  bad_objects_.passed(txid);
  process_.change();
}

// log::restore() and Replica::seed().
Status Feeder::seed(const Context& context, std::optional<Txid> target) {
  Content content = Content::fresh();
  std::optional<log::Object> last;
  Txid reached;
  for (int plans = 0; plans <= replans_max; ++plans) {
    auto view = log::read_log(context, bucket_);
    if (!view) return std::unexpected(view.error());
    for (const log::Object& bad : bad_objects_.passed_over()) view->forget(bad.name);
    const auto plan =
        target ? log::plan_restore(*view, log::RestoreTarget::at(*target)) : log::plan_reachable(*view);
    if (!plan) return std::unexpected(plan.error());
    bool vanished = false;
    for (const log::Object& object : plan->objects) {
      if (object.name.max <= reached) continue;
      const auto bytes = bucket_.fetch(context, object);
      if (!bytes && bytes.error().code() != ErrorCode::not_found) return std::unexpected(bytes.error());
      vanished = !bytes;
      if (vanished) break;
      apply_pages(content, LogFile::decode(*bytes));
      last = object;
      reached = object.name.max;
    }
    if (vanished) continue;
    if (last->checksum && *last->checksum != content.checksum) {
      return failure(ErrorCode::corrupt, "seed the replica", to_string(last->name),
                     "its checksum is another");
    }
    if (!target && bad_objects_.passed_over().empty() && reached < replica().txid()) {
      return failure(ErrorCode::unavailable, "seed the replica", {}, "the servers list no more");
    }
    const auto info = bucket_.info(context, log::ObjectName::raw(reached));
    const Epoch epoch = info && info->author ? info->author->epoch : Epoch();
    // A seed that comes from an old listing can be older than what is in doubt.
    if (replica().distrusted()) process_.host().standby_seen = Txid();
    const Txid before = replica().distrusted() ? Txid() : replica().txid();
    const StateId state = replica().content().state;
    const bool torn = replica().torn();
    process_.work(process_.simulation().schedule.between(0, process_.unit() / 50));
    const bool raw = last->name.level == log::raw_level;
    replica().become(content, reached, epoch, raw ? last->file_checksum : std::nullopt);
    ++process_.simulation().statistics.seeds;
    // What nobody else has went with the power.
    if (torn && process_.simulation().lossy()) process_.simulation().judge.excused(state, content.state);
    moved(before, state);
    return {};
  }
  return failure(ErrorCode::unavailable, "restore", {}, "objects keep vanishing");
}

// Follower.

Follower::Follower(Process& process, SimulatedBucket& bucket, LogWatch& watch)
    : process_(process), bucket_(bucket), watch_(watch), feeder_(process, bucket, watch) {
  process_.spawn([this] {
    run();
    ended_ = true;
  });
}

std::optional<std::uint64_t> Follower::lag() const {
  if (!watch_.live()) return std::nullopt;
  const std::uint64_t end = watch_.view().end().txid.value();
  const std::uint64_t applied = process_.host().disk().replica.txid().value();
  return end > applied ? end - applied : 0;
}

Status Follower::catch_up(const Context& context) {
  if (auto complete = watch_.wait_complete(context, 30 * process_.unit()); !complete) return complete;
  const Txid end = watch_.view().end().txid;
  Txid last = process_.host().disk().replica.txid();
  Time progress = process_.now();
  while (process_.host().disk().replica.txid() < end) {
    if (auto status = context.status("catch up"); !status) return status;
    const Txid applied = process_.host().disk().replica.txid();
    if (applied > last) progress = process_.now();
    last = applied;
    if (process_.now() - progress > 30 * process_.unit()) {
      return failure(ErrorCode::deadline_exceeded, "catch up", to_string(end), "no progress");
    }
    process_.wait(process_.unit());
  }
  return {};
}

void Follower::stop() {
  stop_.cancel();
  process_.change();
  while (!ended_) process_.wait(process_.unit());
}

void Follower::run() {
  Time pause = process_.unit() / 10;
  while (!stop_.done()) {
    seeding_ = false;
    const auto step = advance();
    if (stop_.done()) return;
    note(step);
    if (step) {
      pause = process_.unit() / 10;
      if (!*step) process_.wait(5 * process_.unit());
      continue;
    }
    process_.simulation().trace("{}: cannot follow: {}", process_.host().name(), step.error().message());
    // After a seed that failed even a change of the log does not hurry it.
    const Time until = process_.now() + pause;
    if (seeding_) {
      while (!stop_.done() && process_.now() < until) process_.wait_until(until);
    } else {
      process_.wait_until(until);
    }
    pause = std::min(pause * 2, seeding_ ? 30 * process_.unit() : 2 * process_.unit());
  }
}

void Follower::note(const Result<bool>& step) {
  problem_.clear();
  if (!step) {
    problem_ = step.error().message();
  } else if (!watch_.status()) {
    problem_ = watch_.status().error().message();
  } else if (!watch_.live()) {
    problem_ = "nothing is heard from the server";
  }
  if (!step) process_.host().note_said(step.error());
  if (!watch_.status()) process_.host().note_said();
}

Result<bool> Follower::advance() {
  if (auto complete = watch_.wait_complete(stop_, process_.unit()); !complete)
    return std::unexpected(complete.error());
  look_at_bad_objects();
  const replication::FollowWork work = feeder_.plan(watch_.view());
  seeding_ = std::holds_alternative<replication::Reseed>(work);
  return feeder_.carry_out(stop_, work);
}

void Follower::look_at_bad_objects() {
  auto& bad = feeder_.bad_objects();
  for (const log::Object& object : bad.take_due(process_.host().boot_time())) {
    const auto found = bucket_.info(stop_, object.name);
    if (!found && found.error().code() != ErrorCode::not_found) continue;
    bool usable = found.has_value();
    if (found && found->sequence == object.sequence) {
      usable = bad.try_again(object.name);
    } else {
      bad.forget(object.name);
    }
    if (usable) watch_.add(*found);
  }
}

}  // namespace litecluster::test::cluster
