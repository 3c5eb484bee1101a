#include "replication/follower.hpp"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/backoff.hpp"
#include "base/logging.hpp"
#include "base/mutex.hpp"
#include "base/random.hpp"
#include "log/log_watcher.hpp"
#include "replication/lag_meter.hpp"

namespace litecluster::replication {

namespace {

// How often a follower that hears nothing looks for itself.
constexpr base::Duration look_interval = std::chrono::seconds(1);

class FollowerImplementation final : public Follower {
 public:
  FollowerImplementation(FollowerOptions options, db::Replica replica, log::ObjectBucket& bucket)
      : options_(std::move(options)), meter_(options_.stall_after), position_(replica.position()) {
    meter_.applied(position_.txid, base::system_clock().boot_time());
    ReplicaFeederOptions feeder = options_.feeder;
    if (feeder.seed_path.empty()) feeder.seed_path = options_.replica.path.string() + ".seed";
    feeder.on_applied = [this](const db::ReplicaPosition& position) { applied(position); };
    feeder.on_unusable = [this](const log::ObjectName& name) { watcher_->forget(name); };
    feeder_ = std::make_unique<ReplicaFeeder>(std::move(feeder), std::move(replica), bucket);
    watcher_ = std::make_unique<log::LogWatcher>(bucket, [this] { log_changed(); });
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
      changed_.wait_for(lock, context.remaining(look_interval));
    }
    return {};
  }

  [[nodiscard]] std::unique_ptr<ReplicaFeeder> stop() override {
    stop_.cancel();
    log_changed();
    if (thread_.joinable()) thread_.join();
    watcher_.reset();
    // The feeder goes on without us.
    if (feeder_) feeder_->drop_callbacks();
    return std::move(feeder_);
  }

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
      changed_.notify_all();
    }
    if (options_.on_applied) options_.on_applied(position);
  }

  void run() {
    base::Backoff backoff(options_.retry_initial, options_.retry_cap);
    while (!stop_.done()) {
      const std::uint64_t changes = changes_seen();
      const Result<Advance> step = advance();
      note(step);
      if (!step) {
        wait_for_change(changes, backoff.next(base::random_u64()));
      } else {
        backoff.reset();
        if (*step == Advance::up_to_date) wait_for_change(changes, look_interval);
      }
    }
  }

  Result<Advance> advance() {
    if (auto complete = watcher_->wait_complete(stop_.with_timeout(look_interval)); !complete) {
      if (const auto why = watcher_->status(); !why) return std::unexpected(why.error());
      return std::unexpected(complete.error());
    }
    const FollowWork work = watcher_->with_view([this](const log::LogView& view) {
      const base::MutexLock lock(mutex_);
      meter_.log_reaches(view.end().txid, base::system_clock().boot_time());
      log_epoch_ = view.highest_epoch();
      return feeder_->plan(view);
    });
    return feeder_->carry_out(stop_, work);
  }

  void note(const Result<Advance>& step) {
    const auto watching = watcher_->status();
    const base::MutexLock lock(mutex_);
    if (!watching) meter_.connection_lost();
    if (step && watching) {
      problem_.reset();
      return;
    }
    const Error& error = step ? watching.error() : step.error();
    if (error.code() == ErrorCode::cancelled) return;
    if (!problem_ || problem_->code() != error.code()) {
      base::log_warning("cannot follow the log, trying again", {{"reason", error.message()}});
    }
    problem_ = error;
  }

  std::uint64_t changes_seen() const {
    const base::MutexLock lock(mutex_);
    return changes_;
  }

  void wait_for_change(std::uint64_t seen, base::Duration limit) {
    base::MutexLock lock(mutex_);
    if (changes_ == seen && !stop_.done()) changed_.wait_for(lock, limit);
  }

  FollowerOptions options_;
  Context stop_ = Context::background();
  mutable base::Mutex mutex_;
  base::ConditionVariable changed_;
  LagMeter meter_ LITECLUSTER_GUARDED_BY(mutex_);
  db::ReplicaPosition position_ LITECLUSTER_GUARDED_BY(mutex_);
  Epoch log_epoch_ LITECLUSTER_GUARDED_BY(mutex_);
  std::optional<Error> problem_ LITECLUSTER_GUARDED_BY(mutex_);
  std::uint64_t changes_ LITECLUSTER_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<ReplicaFeeder> feeder_;  // used by the thread until stop()
  std::unique_ptr<log::LogWatcher> watcher_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Follower>> Follower::start(FollowerOptions options, log::ObjectBucket& bucket) {
  auto replica = db::Replica::open(options.replica);
  if (!replica) return std::unexpected(replica.error());
  return std::make_unique<FollowerImplementation>(std::move(options), std::move(*replica), bucket);
}

}  // namespace litecluster::replication
