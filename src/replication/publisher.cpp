#include "replication/publisher.hpp"

#include <algorithm>
#include <deque>
#include <list>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "base/backoff.hpp"
#include "base/heap.hpp"
#include "base/logging.hpp"
#include "base/mutex.hpp"
#include "base/random.hpp"
#include "ltx/encoder.hpp"
#include "replication/captured_payload.hpp"

namespace litecluster::replication {

namespace {

// While an append is in flight the WAL is looked at now and then, to capture a lot of it ahead; the looks
// grow rarer when the append takes long, because then NATS is away.
constexpr base::Duration look_initial = std::chrono::milliseconds(2);
constexpr base::Duration look_cap = std::chrono::milliseconds(100);

// Memory is given back when nothing was captured for so long.
constexpr base::Duration calm_before_release = std::chrono::milliseconds(900);

// An append that takes longer is told by problem().
constexpr base::Duration answer_patience = std::chrono::seconds(5);

// Somebody who waits in sync() or open_snapshot(). `target` is set once everything committed before the
// request is captured; the wait ends when the log has acknowledged that TXID.
struct Request {
  bool wants_snapshot = false;
  std::optional<Txid> target;
  std::optional<db::DatabaseSnapshot> snapshot;
};

// What attaching found may be captured already, and is not acknowledged by that. The checksum of an earlier
// TXID is not known until the next acknowledgement.
Position acknowledged_of(const db::Database& database) {
  const Position captured = database.position();
  const Txid txid = database.acknowledged();
  return txid == captured.txid ? captured : Position{txid, Checksum()};
}

class PublisherImplementation final : public Publisher {
 public:
  PublisherImplementation(PublisherOptions options, std::unique_ptr<db::Database> database,
                          std::unique_ptr<AppendTarget> target, Outbox outbox)
      : options_(std::move(options)),
        database_(std::move(database)),
        target_(std::move(target)),
        encoder_(options_.encoding),
        batcher_(options_.batch, base::system_clock().boot_time()),
        outbox_(std::move(outbox)),
        acknowledged_(acknowledged_of(*database_)) {
    capture_thread_ = std::thread([this] { run_capture(); });
    append_thread_ = std::thread([this] { run_append(); });
  }

  ~PublisherImplementation() override { static_cast<void>(stop()); }

  [[nodiscard]] Position position() const override {
    const base::MutexLock lock(mutex_);
    return acknowledged_;
  }

  [[nodiscard]] Status sync(const Context& context) override {
    const auto done = wait_for(context, false);
    if (!done) return std::unexpected(done.error());
    return {};
  }

  [[nodiscard]] Result<db::DatabaseSnapshot> open_snapshot(const Context& context) override {
    auto done = wait_for(context, true);
    if (!done) return std::unexpected(done.error());
    return std::move(**done);
  }

  [[nodiscard]] std::optional<Error> fatal() const override {
    const base::MutexLock lock(mutex_);
    return fatal_;
  }

  [[nodiscard]] std::optional<Error> problem() const override {
    const base::MutexLock lock(mutex_);
    for (const auto* one : {&append_problem_, &capture_problem_, &spool_problem_, &wal_problem_}) {
      if (*one) return *one;
    }
    return unanswered();
  }

  void depose(const Error& reason) override {
    const base::MutexLock lock(mutex_);
    if (!deposed_) deposed_ = reason;
    changed_.notify_all();
  }

  [[nodiscard]] PublisherStatistics statistics() const override {
    const base::MutexLock lock(mutex_);
    PublisherStatistics result = statistics_;
    result.outbox_items = outbox_.size();
    result.outbox_bytes = outbox_.memory_bytes() + outbox_.disk_bytes();
    return result;
  }

  void on_fatal(std::function<void(const Error&)> callback) override {
    std::optional<Error> ended;
    {
      const base::MutexLock lock(mutex_);
      on_fatal_ = callback;
      ended = fatal_;
    }
    if (ended && callback) callback(*ended);
  }

  [[nodiscard]] std::unique_ptr<db::Database> stop() override {
    stop_.cancel();
    wake();
    if (capture_thread_.joinable()) capture_thread_.join();
    if (append_thread_.joinable()) append_thread_.join();
    // So that the next one to attach knows without asking the log. It asks when this fails.
    if (database_) static_cast<void>(acknowledge());
    captured_.clear();
    const base::MutexLock lock(mutex_);
    return std::move(database_);
  }

 private:
  using Requests = std::list<std::shared_ptr<Request>>;

  // An append waits for a server by itself; that it does is worth telling.
  std::optional<Error> unanswered() const LITECLUSTER_REQUIRES(mutex_) {
    if (!append_started_) return std::nullopt;
    const base::Duration waited = base::system_clock().boot_time() - *append_started_;
    if (waited < answer_patience) return std::nullopt;
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(waited).count();
    return Error(ErrorCode::unavailable, "append to the log", "TXID " + to_string(acknowledged_.txid.next()),
                 "not acknowledged for " + std::to_string(seconds) + " s");
  }

  void wake() {
    const base::MutexLock lock(mutex_);
    wakeups_ += 1;
    changed_.notify_all();
    if (database_) database_->interrupt();
  }

  Result<std::optional<db::DatabaseSnapshot>> wait_for(const Context& context, bool snapshot) {
    auto request = std::make_shared<Request>();
    request->wants_snapshot = snapshot;
    // A Context without a deadline can still be cancelled: that has to end the wait below.
    const auto registration = context.on_cancel([this] { wake(); });
    {
      const base::MutexLock lock(mutex_);
      requests_.push_back(request);
    }
    wake();
    base::MutexLock lock(mutex_);
    while (true) {
      if (request->target && acknowledged_.txid >= *request->target) {
        requests_.remove(request);
        return std::move(request->snapshot);
      }
      std::optional<Error> error = fatal_;
      if (const auto status = context.status("sync"); !status) error = status.error();
      if (stop_.done()) error = Error(ErrorCode::cancelled, "sync", "", "the publisher was stopped");
      if (error) {
        requests_.remove(request);
        return std::unexpected(*error);
      }
      changed_.wait_for(lock, context.remaining(std::chrono::seconds(1)));
    }
  }

  // The capture thread.

  void run_capture() {
    base::Duration look = look_initial;
    while (!stop_.done() && !fatal()) {
      const base::BootTime now = base::system_clock().boot_time();
      const auto step = capture_step(now);
      set_capture_problem(step);
      if (!step) {
        if (stop_.done()) return;
        if (!is_transient(step.error())) {
          fail(step.error());
          return;
        }
        stop_.wait_for(std::chrono::milliseconds(200));
        continue;
      }
      if (*step) {
        look = look_initial;
        continue;
      }
      if (const auto waited = wait_for_work(now, look); !waited) {
        if (stop_.done()) return;
        fail(waited.error());
        return;
      }
    }
  }

  static bool is_transient(const Error& error) {
    return error.code() == ErrorCode::io || error.code() == ErrorCode::busy ||
           error.code() == ErrorCode::resource_exhausted || error.code() == ErrorCode::permission_denied;
  }

  // Does what is due; true when it did something.
  Result<bool> capture_step(base::BootTime now) {
    if (auto acknowledged = acknowledge(); !acknowledged) return std::unexpected(acknowledged.error());
    if (auto stored = store_captured(); !stored) return std::unexpected(stored.error());
    const Requests requests = waiting_requests();
    bool due = false;
    {
      const base::MutexLock lock(mutex_);
      if (database_->changed()) batcher_.changed(database_->uncaptured_bytes());
      if (!requests.empty()) batcher_.sync_requested();
      due = batcher_.capture_due(now) || !requests.empty();
    }
    if (due) {
      const auto complete = requests.empty() ? capture_next() : capture_all();
      if (!complete) return std::unexpected(complete.error());
      if (*complete) {
        for (const auto& request : requests) {
          if (auto served = serve(*request); !served) return std::unexpected(served.error());
        }
      }
      due = *complete;
    }
    if (const auto step = database_->checkpoint_due(now); step != db::CheckpointStep::none && has_room()) {
      auto report = database_->checkpoint(step);
      if (!report) return std::unexpected(report.error());
      due = due || !report->captured.empty();
      for (auto& captured : report->captured) captured_.push_back(std::move(captured));
      if (auto stored = store_captured(); !stored) return std::unexpected(stored.error());
    }
    update_statistics();
    return due;
  }

  Status acknowledge() {
    Txid txid;
    {
      const base::MutexLock lock(mutex_);
      txid = acknowledged_.txid;
    }
    if (txid <= database_->acknowledged()) return {};
    return database_->acknowledge(txid, options_.epoch);
  }

  Requests waiting_requests() {
    const base::MutexLock lock(mutex_);
    Requests waiting = requests_;
    waiting.remove_if([](const auto& request) { return request->target.has_value(); });
    return waiting;
  }

  // Captures what one TXID may hold; the rest stays in the WAL until that is under way, which needs neither
  // memory nor a spool. False when there is no room for it.
  Result<bool> capture_next() {
    if (!has_room()) return false;
    const auto produced = capture_one();
    if (!produced) return std::unexpected(produced.error());
    return true;
  }

  // Captures to the end of what is committed when this is called; false when the outbox is full before.
  Result<bool> capture_all() {
    while (has_room()) {
      const auto produced = capture_one();
      if (!produced) return std::unexpected(produced.error());
      if (!*produced) return true;
    }
    return false;
  }

  // False when there was nothing to capture.
  Result<bool> capture_one() {
    auto captured = database_->capture();
    if (!captured) return std::unexpected(captured.error());
    if (!*captured) {
      const base::MutexLock lock(mutex_);
      batcher_.captured(base::system_clock().boot_time(), false);
      return false;
    }
    captured_at_ = base::system_clock().boot_time();
    captured_.push_back(std::move(**captured));
    if (auto stored = store_captured(); !stored) return std::unexpected(stored.error());
    return true;
  }

  bool has_room() const {
    const base::MutexLock lock(mutex_);
    return outbox_.has_room();
  }

  // A capture is recorded by now, and no later one would hold it again. So one that cannot be stored stays
  // the first to be stored, and nothing is captured before it is.
  Status store_captured() {
    while (!captured_.empty()) {
      if (auto stored = store(captured_.front()); !stored) return stored;
      captured_.pop_front();
    }
    return {};
  }

  Status store(const db::CapturedTransaction& captured) {
    auto payload = encode_payload(*database_, captured, encoder_, options_.outbox.directory, stop_);
    if (!payload) {
      return std::unexpected(payload.error().within("encode", "TXID " + to_string(captured.txid())));
    }
    const base::MutexLock lock(mutex_);
    batcher_.captured(base::system_clock().boot_time(), true);
    const auto pushed = outbox_.push({.position = captured.position(),
                                      .pre_apply = captured.pre_apply(),
                                      .created_at = captured.description().captured_at,
                                      .payload = std::move(*payload)});
    // The item is kept all the same; that the disk is full is worth telling.
    spool_problem_ = pushed ? std::nullopt : std::optional(pushed.error());
    changed_.notify_all();
    return {};
  }

  Status serve(Request& request) {
    std::optional<db::DatabaseSnapshot> snapshot;
    if (request.wants_snapshot) {
      auto opened = database_->open_snapshot();
      if (!opened) {
        // More was committed meanwhile than a snapshot takes with it: capture that, and try again.
        const bool later = opened.error().code() == ErrorCode::failed_precondition &&
                           database_->health() == db::DatabaseHealth::attached;
        return later ? Status() : std::unexpected(opened.error());
      }
      if (opened->captured) captured_.push_back(std::move(*opened->captured));
      if (auto stored = store_captured(); !stored) return stored;
      snapshot = std::move(opened->snapshot);
    }
    const base::MutexLock lock(mutex_);
    request.snapshot = std::move(snapshot);
    request.target = database_->position().txid;
    changed_.notify_all();
    return {};
  }

  // Sleeps until something may be due.
  Status wait_for_work(base::BootTime now, base::Duration& look) {
    base::BootTime until;
    bool busy = false;
    std::uint64_t wakeups = 0;
    {
      const base::MutexLock lock(mutex_);
      until = batcher_.wake_at();
      busy = !batcher_.idle();
      wakeups = wakeups_;
    }
    if (const auto checkpoint = database_->checkpoint_wake_at()) until = std::min(until, *checkpoint);
    if (!busy && !database_->changed()) {
      if (now - captured_at_ >= calm_before_release) release_memory();
      const auto changed =
          database_->wait_for_change(stop_.with_timeout(std::max(until - now, base::Duration(1))));
      if (changed || changed.error().code() == ErrorCode::deadline_exceeded) return {};
      return std::unexpected(changed.error());
    }
    const base::Duration pause =
        std::clamp(until - now, base::Duration(std::chrono::microseconds(100)), look);
    look = std::min(look * 2, look_cap);
    base::MutexLock lock(mutex_);
    if (wakeups == wakeups_) changed_.wait_for(lock, pause);
    return {};
  }

  // Nothing was captured for a while. The buffers of what was appended before are free by now, but the
  // allocator keeps them, some 50 MiB after a large backlog.
  void release_memory() {
    std::uint64_t appended = 0;
    {
      const base::MutexLock lock(mutex_);
      appended = statistics_.appended_bytes;
    }
    if (appended - released_at_ < base::bytes_worth_releasing) return;
    released_at_ = appended;
    base::release_free_memory();
  }

  void set_capture_problem(const Result<bool>& step) {
    const base::MutexLock lock(mutex_);
    capture_problem_ = step ? std::nullopt : std::optional(step.error());
  }

  void update_statistics() {
    const auto database = database_->statistics();
    // One that is copied back entirely is written over by the next commit.
    const bool is_done = database.wal_frames == database.wal_frames_copied;
    const std::uint64_t wal_bytes =
        is_done ? 0 : std::uint64_t{database.wal_frames} * (database.page_size + 24U);
    const base::MutexLock lock(mutex_);
    statistics_.database = database;
    wal_problem_.reset();
    if (wal_bytes > options_.wal_bytes_max) {
      wal_problem_ = Error(ErrorCode::resource_exhausted, "checkpoint", "WAL",
                           "it has grown to " + std::to_string(wal_bytes) +
                               " bytes; somebody holds a read transaction, or the log takes nothing");
    }
  }

  // The append thread.

  void run_append() {
    base::Backoff backoff(options_.retry_initial, options_.retry_cap);
    while (!stop_.done()) {
      auto item = take();
      if (!item) return;
      const auto appended = append(*item);
      if (appended) {
        backoff.reset();
        appended_well(*item);
      } else if (is_final(appended.error())) {
        fail(appended.error());
        return;
      } else if (!stop_.done()) {
        append_failed(appended.error());
        stop_.wait_for(backoff.next(base::random_u64()));
      }
    }
  }

  // The log is somebody else's, or not there any more; the item is not in this form.
  static bool is_final(const Error& error) {
    return error.code() == ErrorCode::deposed || error.code() == ErrorCode::gap ||
           error.code() == ErrorCode::invalid_argument;
  }

  // Waits for an item; nothing when this is the end.
  std::optional<OutboxItem> take() {
    std::optional<Error> end;
    {
      base::MutexLock lock(mutex_);
      while (!stop_.done() && !fatal_ && !end) {
        end = deposed_;
        if (!end && !outbox_.empty() && batcher_.append_due()) {
          auto item = outbox_.front();
          if (item) {
            batcher_.append_started();
            append_started_ = base::system_clock().boot_time();
            return std::move(*item);
          }
          // It can only be had from the database, by attaching anew.
          end = item.error();
        }
        if (!end) changed_.wait(lock);
      }
    }
    if (end) fail(*end);
    return std::nullopt;
  }

  Status append(const OutboxItem& item) { return target_->append(stop_, item); }

  void appended_well(const OutboxItem& item) {
    {
      const base::MutexLock lock(mutex_);
      batcher_.append_finished();
      append_started_.reset();
      outbox_.pop();
      acknowledged_ = item.position;
      append_problem_.reset();
      statistics_.appended += 1;
      statistics_.appended_bytes += item.payload.size();
    }
    wake();
  }

  void append_failed(const Error& error) {
    const base::MutexLock lock(mutex_);
    batcher_.append_failed();
    append_started_.reset();
    if (!append_problem_ || append_problem_->code() != error.code()) {
      base::log_warning("append failed and is tried again", {{"reason", error.message()}});
    }
    append_problem_ = error;
    statistics_.retries += 1;
  }

  void fail(const Error& error) {
    std::function<void(const Error&)> callback;
    {
      const base::MutexLock lock(mutex_);
      if (fatal_) return;
      fatal_ = error;
      callback = on_fatal_;
      changed_.notify_all();
    }
    base::log_error("publishing has ended", {{"reason", error.message()}});
    if (callback) callback(error);
  }

  PublisherOptions options_;
  std::unique_ptr<db::Database> database_;  // used by the capture thread, except for its thread-safe members
  std::unique_ptr<AppendTarget> target_;    // used by the append thread
  ltx::Encoder encoder_;                    // used by the capture thread
  std::uint64_t released_at_ = 0;           // used by the capture thread: appended bytes
  base::BootTime captured_at_{};            // used by the capture thread
  std::deque<db::CapturedTransaction> captured_;  // used by the capture thread: not yet in the outbox
  Context stop_ = Context::background();

  mutable base::Mutex mutex_;
  base::ConditionVariable changed_;
  Batcher batcher_ LITECLUSTER_GUARDED_BY(mutex_);
  Outbox outbox_ LITECLUSTER_GUARDED_BY(mutex_);
  Requests requests_ LITECLUSTER_GUARDED_BY(mutex_);
  Position acknowledged_ LITECLUSTER_GUARDED_BY(mutex_);
  std::optional<Error> fatal_ LITECLUSTER_GUARDED_BY(mutex_);
  std::optional<Error> deposed_ LITECLUSTER_GUARDED_BY(mutex_);
  std::optional<base::BootTime> append_started_ LITECLUSTER_GUARDED_BY(mutex_);
  std::optional<Error> append_problem_ LITECLUSTER_GUARDED_BY(mutex_);
  std::optional<Error> capture_problem_ LITECLUSTER_GUARDED_BY(mutex_);
  std::optional<Error> spool_problem_ LITECLUSTER_GUARDED_BY(mutex_);
  std::optional<Error> wal_problem_ LITECLUSTER_GUARDED_BY(mutex_);
  PublisherStatistics statistics_ LITECLUSTER_GUARDED_BY(mutex_);
  std::function<void(const Error&)> on_fatal_ LITECLUSTER_GUARDED_BY(mutex_);
  std::uint64_t wakeups_ LITECLUSTER_GUARDED_BY(mutex_) = 0;

  std::thread capture_thread_;
  std::thread append_thread_;
};

}  // namespace

Result<std::unique_ptr<Publisher>> Publisher::start(PublisherOptions options,
                                                    std::unique_ptr<db::Database> database,
                                                    std::unique_ptr<AppendTarget> target) {
  auto outbox = Outbox::open(options.outbox);
  if (!outbox) return std::unexpected(outbox.error());
  return std::make_unique<PublisherImplementation>(std::move(options), std::move(database), std::move(target),
                                                   std::move(*outbox));
}

}  // namespace litecluster::replication
