#include "replication/maintainer.hpp"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "base/heap.hpp"
#include "base/logging.hpp"
#include "base/mutex.hpp"
#include "log/restore.hpp"
#include "log/restore_plan.hpp"
#include "log/settled_sequence.hpp"
#include "log/snapshot_schedule.hpp"
#include "ltx/encoder.hpp"
#include "replication/session_options.hpp"

namespace litecluster::replication {

namespace {

// Rounds are at least this far apart, however short the levels' intervals are.
constexpr base::Duration round_min = std::chrono::seconds(1);
constexpr base::Duration round_max = std::chrono::seconds(60);
constexpr base::Duration full_patience = std::chrono::minutes(10);
// Memory is given back when nothing was appended for so long.
constexpr base::Duration calm_before_release = std::chrono::seconds(1);
// For the commits between sync() and open_snapshot() to get into the log.
constexpr base::Duration snapshot_patience = std::chrono::seconds(30);

class MaintainerImplementation final : public Maintainer {
 public:
  MaintainerImplementation(MaintainerOptions options, log::CompactionSchedule schedule,
                           log::ObjectBucket& bucket, log::LogWatcher& watcher, Publisher& publisher)
      : options_(std::move(options)),
        schedule_(std::move(schedule)),
        bucket_(bucket),
        watcher_(watcher),
        publisher_(publisher),
        maintenance_(bucket, options_.author,
                     {.encoding = options_.encoding, .spool_directory = options_.spool_directory}),
        patience_(options_.retry),
        orphans_after_(base::system_clock().boot_time() + options_.orphan_grace),
        thread_([this] { run(); }) {}

  ~MaintainerImplementation() override {
    stop_.cancel();
    thread_.join();
  }

  [[nodiscard]] Result<log::Object> snapshot(const Context& context) override {
    const base::MutexLock one_at_a_time(snapshot_mutex_);
    // A snapshot holds the WAL, so it is opened only when the log takes what it needs in front of it.
    if (auto synced = publisher_.sync(context); !synced) return std::unexpected(synced.error());
    auto opened = publisher_.open_snapshot(context.with_timeout(snapshot_patience));
    if (!opened) return std::unexpected(opened.error());
    ltx::Encoder encoder(options_.encoding);
    const auto object =
        maintenance_.put_snapshot(context, opened->position().txid, opened->captured_at(),
                                  opened->position().checksum, [&](ltx::Sink& sink) -> Status {
                                    const auto encoded = opened->encode(encoder, sink, context);
                                    if (!encoded) return std::unexpected(encoded.error());
                                    return {};
                                  });
    untidy_ = true;
    if (!object) return std::unexpected(object.error().within("create snapshot"));
    watcher_.add(*object);
    base::log_info("snapshot written", {{"txid", to_string(object->name.max)}, {"bytes", object->size}});
    return object;
  }

  [[nodiscard]] std::optional<Error> problem() const override {
    const base::MutexLock lock(mutex_);
    return problem_;
  }

 private:
  void run() {
    while (!stop_.done()) {
      const Status done = round();
      {
        const base::MutexLock lock(mutex_);
        problem_ =
            done || done.error().code() == ErrorCode::cancelled ? std::nullopt : std::optional(done.error());
      }
      if (untidy_) release_memory();
      stop_.wait_for(time_to_next(done));
    }
  }

  // The buffers of a merge or a snapshot are free by now, but the allocator keeps them. While commits come,
  // whoever publishes them would have to ask for that memory again.
  void release_memory() {
    const std::uint64_t appended = publisher_.statistics().appended;
    if (stop_.wait_for(calm_before_release) || publisher_.statistics().appended != appended) return;
    untidy_ = false;
    base::release_free_memory();
  }

  base::Duration time_to_next(const Status& done) {
    const bool lasts = !done && !may_pass(done.error()) && done.error().code() != ErrorCode::not_found;
    if (!lasts) patience_ = options_.retry;
    // A merge that cannot succeed fetches its inputs each time.
    const auto longer = std::max(patience_, std::min<base::Duration>(patience_ * 2, round_max));
    if (!done) return std::exchange(patience_, lasts ? longer : patience_);
    const base::WallTime now = base::system_clock().wall_time();
    return std::clamp(base::Duration(schedule_.next_time(now) - now), round_min, round_max);
  }

  // No part waits for ever for another one that cannot succeed; the first error is told.
  Status round() {
    if (auto complete = watcher_.wait_complete(stop_); !complete) return complete;
    auto kept = keep_log();
    if (!kept && (kept.error().code() == ErrorCode::deposed || stop_.done())) return kept;
    auto tidied = remove_orphans();
    return kept ? tidied : kept;
  }

  Status keep_log() {
    const base::WallTime wall = base::system_clock().wall_time();
    const base::BootTime boot = base::system_clock().boot_time();
    settled_.note(boot, watcher_.seen());
    if (!retention_clock_) {
      const auto newest = watcher_.with_view([](const log::LogView& view) { return view.end().created_at; });
      retention_clock_.emplace(newest, wall, boot);
    }
    // First: nothing is removed from a log that cannot be restored, and that is an error.
    const auto hole = find_hole();
    if (!hole) return std::unexpected(hole.error());
    if (*hole) {
      if (const auto written = snapshot(stop_); !written) return std::unexpected(written.error());
    }
    const auto report =
        log::run_maintenance(stop_, maintenance_, watcher_, schedule_, options_.retention,
                             retention_clock_->at(wall, boot, options_.retention), settled_.at(boot));
    if (!report) return std::unexpected(report.error().within("maintain the log"));
    untidy_ = untidy_ || report->compactions + report->removals > 0;
    const auto maintained = report->status();
    const bool needed = needs_way_around(report->failed_compaction);
    // In a bucket that is full, the room that retention makes is for commits.
    const bool full = !maintained && maintained.error().code() == ErrorCode::resource_exhausted;
    Status snapshotted;
    if ((needed && boot >= way_around_after_) || (!full && is_snapshot_due())) {
      if (const auto written = snapshot(stop_); !written) {
        snapshotted = std::unexpected(written.error());
        // Each try fills the bucket until it is refused.
        if (written.error().code() == ErrorCode::resource_exhausted) way_around_after_ = boot + full_patience;
      }
    }
    if (maintained) return snapshotted;
    return std::unexpected(maintained.error().within("maintain the log"));
  }

  bool is_snapshot_due() const {
    const Txid position = publisher_.position().txid;
    return watcher_.with_view([&](const log::LogView& view) {
      // What was appended a moment ago may not be in the view yet, and may be a complete state itself.
      if (view.end().txid < position) return false;
      return log::snapshot_due(view, position, base::system_clock().wall_time(), options_.snapshot_interval);
    });
  }

  // What cannot be merged cannot be read by others either: they need a snapshot from behind it. Once that is
  // there, the merge may fail as often as it likes.
  bool needs_way_around(const std::optional<log::FailedCompaction>& failed) {
    const bool unreadable = failed && failed->is_unreadable();
    const auto suspect = unreadable ? std::optional(failed->job.output()) : std::nullopt;
    // A server that lags behind its peers may not have all bytes yet; the second time is believed.
    const bool again = std::exchange(suspect_, suspect) == suspect;
    if (!unreadable || !again) return false;
    const bool is_there = watcher_.with_view([&suspect](const log::LogView& view) {
      const auto& snapshots = view.level(log::snapshot_level);
      return !snapshots.empty() && snapshots.rbegin()->first.max >= suspect->max;
    });
    if (is_there) return false;
    base::log_error(
        "the log holds what cannot be read; a snapshot is written, states from before it may be lost",
        {{"bucket", bucket_.name()}, {"reason", failed->error.message()}});
    return true;
  }

  // Objects that vanished from the bucket, or two histories that meet: without a new snapshot nobody could
  // start from the log any more.
  Result<bool> find_hole() {
    const auto has_hole = [](const log::LogView& view) {
      const auto& snapshots = view.level(log::snapshot_level);
      const Txid after = snapshots.empty() ? Txid(0) : snapshots.rbegin()->first.max;
      if (!view.gaps(after).empty()) return true;
      const auto plan = log::plan_restore(view, log::RestoreTarget::latest());
      return !plan && plan.error().code() == ErrorCode::gap;
    };
    if (!watcher_.with_view(has_hole)) return false;
    // The watch may have missed something; a listing decides.
    const auto view = log::read_log(stop_, bucket_);
    if (!view) return std::unexpected(view.error());
    if (!has_hole(*view)) return false;
    base::log_error("the log has a hole; a snapshot is written, states from before it may be lost",
                    {{"bucket", bucket_.name()}});
    return true;
  }

  // Now and then only: it reads the subjects of the whole bucket.
  Status remove_orphans() {
    if (base::system_clock().boot_time() < orphans_after_) return {};
    orphans_after_ = base::system_clock().boot_time() + options_.orphan_grace;
    const auto removed = bucket_.remove_orphans(stop_, options_.orphan_grace);
    if (!removed) return std::unexpected(removed.error());
    if (*removed > 0) base::log_info("removed the bytes of unfinished objects", {{"count", *removed}});
    return {};
  }

  MaintainerOptions options_;
  log::CompactionSchedule schedule_;
  log::ObjectBucket& bucket_;
  log::LogWatcher& watcher_;
  Publisher& publisher_;
  log::Maintenance maintenance_;
  base::Duration patience_;                 // used by the thread
  std::optional<log::ObjectName> suspect_;  // used by the thread: the merge that could not be made
  base::BootTime way_around_after_{};       // used by the thread
  base::BootTime orphans_after_;
  log::SettledSequence settled_;                        // used by the thread
  std::optional<log::RetentionClock> retention_clock_;  // used by the thread
  Context stop_ = Context::background();
  std::atomic<bool> untidy_ = false;  // memory was used that may be given back
  base::Mutex snapshot_mutex_;
  mutable base::Mutex mutex_;
  std::optional<Error> problem_ LITECLUSTER_GUARDED_BY(mutex_);
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace

Result<std::unique_ptr<Maintainer>> Maintainer::start(MaintainerOptions options, log::ObjectBucket& bucket,
                                                      log::LogWatcher& watcher, Publisher& publisher) {
  auto schedule = log::CompactionSchedule::create(options.compaction);
  if (!schedule) return std::unexpected(schedule.error());
  return std::make_unique<MaintainerImplementation>(std::move(options), std::move(*schedule), bucket, watcher,
                                                    publisher);
}

}  // namespace litecluster::replication
