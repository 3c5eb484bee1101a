#include "replication/follower.hpp"

#include <algorithm>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "base/backoff.hpp"
#include "base/heap.hpp"
#include "base/logging.hpp"
#include "base/mutex.hpp"
#include "base/random.hpp"
#include "log/log_watcher.hpp"
#include "replication/bad_objects.hpp"
#include "replication/lag_meter.hpp"

namespace litecluster::replication {

namespace {

// How often a follower that hears nothing looks for itself.
constexpr base::Duration look_interval = std::chrono::seconds(1);

// Between two pieces of a scrub: it takes a small part of a processor and of the disk.
constexpr base::Duration scrub_pause = std::chrono::milliseconds(20);

class FollowerImplementation final : public Follower {
 public:
  FollowerImplementation(FollowerOptions options, db::Replica replica, log::ObjectBucket& bucket,
                         std::shared_ptr<log::LogWatcher> watcher)
      : options_(std::move(options)),
        bucket_(bucket),
        meter_(options_.stall_after),
        position_(replica.position()) {
    meter_.applied(position_.txid, base::system_clock().boot_time());
    ReplicaFeederOptions feeder = options_.feeder;
    if (feeder.seed_path.empty()) feeder.seed_path = options_.replica.path.string() + ".seed";
    feeder.on_applied = [this](const db::ReplicaPosition& position) { applied(position); };
    feeder.on_unusable = [this](const UnusableObject& bad) { unusable(bad); };
    feeder.passed_over = [this] {
      const base::MutexLock lock(mutex_);
      return bad_objects_.passed_over();
    };
    feeder_ = std::make_unique<ReplicaFeeder>(std::move(feeder), std::move(replica), bucket);
    watcher_ = watcher ? std::move(watcher) : std::make_shared<log::LogWatcher>(bucket, [] {});
    watcher_->listen([this] { log_changed(); });
    thread_ = std::thread([this] { run(); });
  }

  ~FollowerImplementation() override { static_cast<void>(stop()); }

  [[nodiscard]] db::ReplicaPosition position() const override {
    const base::MutexLock lock(mutex_);
    return position_;
  }

  [[nodiscard]] Lag lag() const override {
    const base::MutexLock lock(mutex_);
    return meter_.lag(base::system_clock().boot_time());
  }

  [[nodiscard]] Epoch log_epoch() const override {
    const base::MutexLock lock(mutex_);
    return log_epoch_;
  }

  [[nodiscard]] std::optional<Error> problem() const override {
    const base::MutexLock lock(mutex_);
    if (auto bad = bad_objects_.problem()) return bad;
    if (problem_) return problem_;
    if (!meter_.stalled(base::system_clock().boot_time())) return std::nullopt;
    return Error(ErrorCode::deadline_exceeded, "follow", "log",
                 "no progress at TXID " + to_string(position_.txid) + " while the log goes on");
  }

  [[nodiscard]] Status catch_up(const Context& context) override {
    if (auto complete = watcher_->wait_complete(context); !complete) return complete;
    const Txid end = watcher_->with_view([](const log::LogView& view) { return view.end().txid; });
    const auto registration = context.on_cancel([this] { log_changed(); });
    base::MutexLock lock(mutex_);
    while (position_.txid < end) {
      if (auto status = context.status("catch up"); !status) return status;
      if (stop_.done()) return failure(ErrorCode::cancelled, "catch up", "", "the follower was stopped");
      if (meter_.stalled(base::system_clock().boot_time())) {
        return failure(ErrorCode::deadline_exceeded, "catch up", "TXID " + to_string(end),
                       "no progress beyond TXID " + to_string(position_.txid) +
                           (problem_ ? ": " + problem_->message() : std::string()));
      }
      changed_.wait_for(lock, context.remaining(look_interval));
    }
    return {};
  }

  [[nodiscard]] std::unique_ptr<ReplicaFeeder> stop() override {
    stop_.cancel();
    log_changed();
    if (thread_.joinable()) thread_.join();
    // Feeder and watcher go on without us.
    if (watcher_) watcher_->listen(nullptr);
    if (feeder_) feeder_->drop_callbacks();
    return std::move(feeder_);
  }

  [[nodiscard]] std::shared_ptr<log::LogWatcher> take_watcher() override { return std::move(watcher_); }

 private:
  void log_changed() {
    const base::MutexLock lock(mutex_);
    changes_ += 1;
    changed_.notify_all();
  }

  void applied(const db::ReplicaPosition& position) {
    {
      const base::MutexLock lock(mutex_);
      position_ = position;
      meter_.applied(position.txid, base::system_clock().boot_time());
      bad_objects_.passed(position.txid);
      changed_.notify_all();
    }
    if (options_.on_applied) options_.on_applied(position);
  }

  void unusable(const UnusableObject& bad) {
    watcher_->forget(bad.object.name);
    const base::MutexLock lock(mutex_);
    bad_objects_.add(bad, base::system_clock().boot_time());
  }

  void run() {
    base::Backoff backoff(options_.retry_initial, options_.retry_cap);
    base::Backoff seed_backoff(options_.retry_initial, options_.seed_retry_cap);
    while (!stop_.done()) {
      const std::uint64_t changes = changes_seen();
      seeding_ = false;
      const Result<Advance> step = advance();
      note(step);
      if (step) {
        backoff.reset();
        seed_backoff.reset();
        if (*step == Advance::up_to_date) rest(changes);
      } else if (seeding_) {
        stop_.wait_for(seed_backoff.next(base::random_u64()));
      } else if (is_local(step.error().code())) {
        stop_.wait_for(backoff.next(base::random_u64()));
      } else {
        wait_for_change(changes, backoff.next(base::random_u64()));
      }
    }
  }

  // What no change of the log can mend.
  static bool is_local(ErrorCode code) {
    return code == ErrorCode::resource_exhausted || code == ErrorCode::io || code == ErrorCode::busy ||
           code == ErrorCode::permission_denied;
  }

  // Objects that were bad: gone, replaced, or to be tried again.
  void look_at_bad_objects() {
    std::vector<log::Object> due;
    {
      const base::MutexLock lock(mutex_);
      due = bad_objects_.take_due(base::system_clock().boot_time());
    }
    for (const log::Object& object : due) {
      const auto now = bucket_.info(stop_.with_timeout(look_interval), object.name);
      if (!now && now.error().code() != ErrorCode::not_found) continue;
      bool usable = now.has_value();
      {
        const base::MutexLock lock(mutex_);
        if (now && now->sequence == object.sequence) {
          usable = bad_objects_.try_again(object.name);
        } else {
          bad_objects_.forget(object.name);
        }
      }
      if (usable) watcher_->add(*now);
    }
  }

  // Nothing to apply: a good time to look at what was applied long ago.
  void rest(std::uint64_t changes) {
    auto more = feeder_->scrub();
    if (more && !*more) more = scrub_again();
    if (!more) note(std::unexpected(more.error()));
    const bool busy = !more || *more;
    if (wait_for_change(changes, busy ? scrub_pause : look_interval) || busy) return;
    if (fetched_ < base::bytes_worth_releasing) return;
    fetched_ = 0;
    base::release_free_memory();
  }

  // One small piece after each pause, however often there is nothing to apply.
  Result<bool> scrub_again() {
    const base::BootTime now = base::system_clock().boot_time();
    if (scrub_at_ == base::BootTime()) scrub_at_ = now + options_.scrub_interval;
    if (options_.scrub_interval <= base::Duration::zero() || now < scrub_at_) return false;
    const auto more = feeder_->scrub_again();
    scrub_at_ = now + (more && *more ? scrub_pause : options_.scrub_interval);
    return more;
  }

  Result<Advance> advance() {
    if (auto complete = watcher_->wait_complete(stop_.with_timeout(look_interval)); !complete) {
      if (const auto why = watcher_->status(); !why) return std::unexpected(why.error());
      return std::unexpected(complete.error());
    }
    look_at_bad_objects();
    const bool watching = watcher_->status().has_value();
    const FollowWork work = watcher_->with_view([&](const log::LogView& view) {
      const base::MutexLock lock(mutex_);
      if (watching) {
        const Txid end = std::max(view.end().txid, bad_objects_.end());
        meter_.log_reaches(end, base::system_clock().boot_time());
      }
      log_epoch_ = view.highest_epoch();
      feeder_->replica().note_log_end(view.end().txid);
      return feeder_->plan(view);
    });
    seeding_ = std::holds_alternative<Reseed>(work);
    if (seeding_) fetched_ += base::bytes_worth_releasing;
    if (const auto* apply = std::get_if<ApplyObjects>(&work)) {
      for (const log::Object& object : apply->objects) fetched_ += object.size;
    }
    return feeder_->carry_out(stop_, work);
  }

  void note(const Result<Advance>& step) {
    const auto watching = watcher_->status();
    const base::MutexLock lock(mutex_);
    if (!watching) meter_.connection_lost();
    if (step && watching) {
      if (problem_ && bad_objects_.empty())
        base::log_info("following again", {{"txid", to_string(position_.txid)}});
      problem_.reset();
      return;
    }
    const Error& error = step ? watching.error() : step.error();
    if (error.code() == ErrorCode::cancelled) return;
    if (!problem_ || problem_->code() != error.code() || problem_->subject() != error.subject()) {
      base::log_warning("cannot follow the log, trying again", {{"reason", error.message()}});
    }
    problem_ = error;
  }

  std::uint64_t changes_seen() const {
    const base::MutexLock lock(mutex_);
    return changes_;
  }

  // False when there was none.
  bool wait_for_change(std::uint64_t seen, base::Duration limit) {
    base::MutexLock lock(mutex_);
    if (changes_ == seen && !stop_.done()) changed_.wait_for(lock, limit);
    return changes_ != seen || stop_.done();
  }

  FollowerOptions options_;
  log::ObjectBucket& bucket_;
  Context stop_ = Context::background();
  mutable base::Mutex mutex_;
  base::ConditionVariable changed_;
  LagMeter meter_ LITECLUSTER_GUARDED_BY(mutex_);
  db::ReplicaPosition position_ LITECLUSTER_GUARDED_BY(mutex_);
  Epoch log_epoch_ LITECLUSTER_GUARDED_BY(mutex_);
  std::optional<Error> problem_ LITECLUSTER_GUARDED_BY(mutex_);
  BadObjects bad_objects_ LITECLUSTER_GUARDED_BY(mutex_);
  base::BootTime scrub_at_{};  // the thread's own: when the next piece may be read again
  std::uint64_t fetched_ = 0;  // the thread's own: bytes of objects since memory was given back
  bool seeding_ = false;       // the thread's own: its last step was to start the replica anew
  std::uint64_t changes_ LITECLUSTER_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<ReplicaFeeder> feeder_;  // used by the thread until stop()
  std::shared_ptr<log::LogWatcher> watcher_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Follower>> Follower::start(FollowerOptions options, log::ObjectBucket& bucket,
                                                  std::shared_ptr<log::LogWatcher> watcher) {
  auto replica = db::Replica::open(options.replica);
  if (!replica) return std::unexpected(replica.error());
  return std::make_unique<FollowerImplementation>(std::move(options), std::move(*replica), bucket,
                                                  std::move(watcher));
}

}  // namespace litecluster::replication
