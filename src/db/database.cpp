#include "db/database.hpp"

#include <utility>

#include "db/database_implementation.hpp"

namespace litecluster::db {

std::string_view to_string(AttachOutcome outcome) {
  switch (outcome) {
    case AttachOutcome::continued: return "continued";
    case AttachOutcome::compared: return "compared";
    case AttachOutcome::verified: return "verified";
    case AttachOutcome::complete: return "complete";
  }
  return "?";
}

std::string_view to_string(DatabaseHealth health) {
  switch (health) {
    case DatabaseHealth::attached: return "attached";
    case DatabaseHealth::replaced: return "replaced";
    case DatabaseHealth::deleted: return "deleted";
    case DatabaseHealth::wal_lost: return "wal_lost";
    case DatabaseHealth::wal_broken: return "wal_broken";
  }
  return "?";
}

Database::Implementation::Implementation(DatabaseOptions options, std::unique_ptr<CaptureState> state,
                                         Connections connections, std::unique_ptr<ChangeNotifier> notifier)
    : options_(std::move(options)),
      wal_path_(options_.path.string() + "-wal"),
      index_path_(options_.path.string() + "-shm"),
      state_(std::move(state)),
      connections_(std::move(connections)),
      notifier_(std::move(notifier)),
      policy_(options_.checkpoint),
      wake_(options_.poll_interval) {}

Database::Database(std::unique_ptr<Implementation> implementation)
    : implementation_(std::move(implementation)) {}
Database::~Database() = default;

Result<std::unique_ptr<Database>> Database::attach(DatabaseOptions options, std::optional<LogEnd> log_end,
                                                   const Context& context) {
  if (options.state_directory.empty()) {
    options.state_directory =
        options.path.parent_path() / ("." + options.path.filename().string() + "-litecluster");
  }
  if (auto fine = check_location(options.path); !fine) return std::unexpected(fine.error());
  auto state = CaptureState::open(options.state_directory);
  if (!state) return std::unexpected(state.error());
  const auto file = file_status(options.path);
  if (!file) return std::unexpected(file.error());
  if (auto fine = check_content(options.path, options.switch_to_wal, options.busy_timeout); !fine) {
    return std::unexpected(fine.error());
  }
  const auto open = [&options](std::chrono::milliseconds timeout) {
    return WalConnection::open(options.path, timeout);
  };
  auto first = open(options.busy_timeout);
  auto second = open(options.busy_timeout);
  auto barrier = open(options.busy_timeout);
  auto worker = open(options.busy_timeout);
  for (const auto* opened : {&first, &second, &barrier, &worker}) {
    if (!*opened) return std::unexpected(opened->error().within("attach to database"));
  }
  barrier->connection().set_busy_timeout(std::chrono::milliseconds(0));
  auto notifier = ChangeNotifier::create(options.path);
  if (!notifier) return std::unexpected(notifier.error());
  auto implementation = std::make_unique<Implementation>(
      std::move(options), std::move(*state),
      Implementation::Connections{.pins = {std::move(*first), std::move(*second)},
                                  .barrier = std::move(*barrier),
                                  .worker = std::move(*worker)},
      std::move(*notifier));
  if (auto begun = implementation->begin(*file, log_end, context); !begun) {
    return std::unexpected(begun.error());
  }
  return std::unique_ptr<Database>(new Database(std::move(implementation)));
}

const AttachReport& Database::attach_report() const {
  return implementation_->attach_report();
}
std::uint32_t Database::page_size() const {
  return implementation_->page_size();
}
Position Database::position() const {
  return implementation_->position();
}
Txid Database::acknowledged() const {
  return implementation_->acknowledged();
}
DatabaseStatistics Database::statistics() const {
  return implementation_->statistics();
}
Result<std::optional<CapturedTransaction>> Database::capture() {
  return implementation_->capture();
}
Result<CapturedTransaction> Database::capture_fence() {
  return implementation_->capture_fence();
}
Status Database::note_file(Txid txid, Checksum file_checksum) {
  return implementation_->note_file(txid, file_checksum);
}
Status Database::acknowledge(Txid txid, Epoch epoch) {
  return implementation_->acknowledge(txid, epoch);
}
Result<bool> Database::wait_for_change(const Context& context) {
  return implementation_->wait_for_change(context);
}
void Database::interrupt() {
  implementation_->interrupt();
}
bool Database::changed() const {
  return implementation_->changed();
}
std::uint64_t Database::uncaptured_bytes() const {
  return implementation_->uncaptured_bytes();
}
DatabaseHealth Database::health() const {
  return implementation_->health();
}
CheckpointStep Database::checkpoint_due(base::BootTime now) {
  return implementation_->checkpoint_due(now);
}
std::optional<base::BootTime> Database::checkpoint_wake_at() const {
  return implementation_->checkpoint_wake_at();
}
Result<CheckpointReport> Database::checkpoint(CheckpointStep step) {
  return implementation_->checkpoint(step);
}
Result<OpenedSnapshot> Database::open_snapshot() {
  return implementation_->open_snapshot();
}

Position Database::Implementation::position() const {
  const base::MutexLock lock(mutex_);
  return shared_.position;
}

Txid Database::Implementation::acknowledged() const {
  const base::MutexLock lock(mutex_);
  return shared_.acknowledged;
}

DatabaseHealth Database::Implementation::health() const {
  const base::MutexLock lock(mutex_);
  return shared_.health;
}

std::uint64_t Database::Implementation::uncaptured_bytes() const {
  const auto header = connections_.worker.try_header();
  if (!header) return 0;
  const base::MutexLock lock(mutex_);
  const bool same = salts_of(*header) == shared_.salts;
  const std::uint32_t captured = same ? shared_.frame : 0;
  return header->frame_max <= captured ? 0 : (header->frame_max - captured) * wal::frame_size(page_size_);
}

// A WAL that was started anew and is still empty brings nothing: what it held was captured (docs/capture.md).
bool Database::Implementation::changed() const {
  {
    const base::MutexLock lock(mutex_);
    if (shared_.waiting) return true;
  }
  return uncaptured_bytes() > 0;
}

DatabaseStatistics Database::Implementation::statistics() const {
  const auto header = connections_.worker.try_header();
  const std::uint64_t uncaptured = uncaptured_bytes();
  const base::MutexLock lock(mutex_);
  DatabaseStatistics statistics = shared_.statistics;
  statistics.page_size = page_size_;
  statistics.wal_frames = header ? header->frame_max : 0;
  statistics.wal_frames_copied = connections_.worker.copied_frames();
  statistics.wal_frames_uncaptured = static_cast<std::uint32_t>(uncaptured / wal::frame_size(page_size_));
  return statistics;
}

Result<bool> Database::Implementation::wait_for_change(const Context& context) {
  base::BootTime now = base::BootClock::now();
  const base::BootTime give_up = now + options_.poll_interval;
  for (;;) {
    if (auto status = context.status("wait for a commit"); !status) return std::unexpected(status.error());
    if (const DatabaseHealth state = health(); state != DatabaseHealth::attached) {
      return failure(ErrorCode::failed_precondition, "wait for a commit", options_.path.string(),
                     "the database is " + std::string(to_string(state)) + "; attach again");
    }
    if (notifier_->take_wake()) return false;
    const ChangeNotifier::Seen seen = notifier_->drain();
    if (seen.renamed || now >= give_up) {
      if (auto same = check_files(); !same) return std::unexpected(same.error());
    }
    if (changed()) {
      wake_.found();
      return true;
    }
    if (now >= give_up) return false;
    if (seen.written) {
      wake_.reported(now);
    } else {
      wake_.silent(now);
    }
    const WakeSchedule::Next next = wake_.next(now);
    notifier_->wait(std::min<base::Duration>(next.delay, give_up - now), next.listen, context);
    now = base::BootClock::now();
  }
}

}  // namespace litecluster::db
