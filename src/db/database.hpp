// The leader's database file, watched from outside of the program that writes it. docs/capture.md argues why
// what is done here is right; the words used there are used here.
//
//   auto database = Database::attach(options, end_of_log);     // compares with what is on disk
//   publish(*database->capture_fence());                       // a new leader's first object
//   while (database->wait_for_change(context)) {
//     while (auto captured = *database->capture()) publish(*captured);   // then acknowledge(txid, epoch)
//     const CheckpointStep step = database->checkpoint_due(now);
//     if (step != CheckpointStep::none) for (auto& captured : database->checkpoint(step)->captured)
//     publish(...);
//   }
//
// Three connections of our own do the work, none of which ever writes to the database: one holds the pin (a
// read transaction), one the write barrier, one probes and runs checkpoints.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/clock.hpp"
#include "db/captured_transaction.hpp"
#include "db/checkpoint_policy.hpp"
#include "db/handover.hpp"

namespace litecluster::db {

struct DatabaseOptions {
  std::filesystem::path path;
  /// Where page checksums and position are kept. Default: `.<file name>-litecluster` beside the database.
  std::filesystem::path state_directory{};
  /// Switch a database that is not in WAL mode to it, instead of refusing it.
  bool switch_to_wal = false;
  /// How long to try when another program holds the database exclusively at the moment of attaching.
  std::chrono::milliseconds busy_timeout{2000};
  /// How long checkpoint() tries to get the write barrier before it gives up until later.
  std::chrono::milliseconds barrier_timeout{100};
  /// How long checkpoint() tries to get the checkpoint lock while checkpoints of the application run.
  std::chrono::milliseconds checkpoint_patience{50};
  /// How long checkpoint() holds writers back while a reader of the application still needs an older state.
  /// Only done when the WAL has checkpoint.frames_urgent frames.
  std::chrono::milliseconds reader_patience{10};
  /// One capture ends at the first commit at or above so many bytes of WAL; the rest is the next capture.
  std::uint64_t capture_bytes_max = std::uint64_t{8} << 20U;
  /// Captures of at most so many bytes of WAL are held in memory, larger ones are read while encoded.
  std::uint64_t capture_memory_max = std::uint64_t{16} << 20U;
  /// The slow poll of wait_for_change(), a safety net below inotify.
  std::chrono::milliseconds poll_interval{1000};
  CheckpointLimits checkpoint{};
  /// From Replica::hand_over(), when the database was a replica until now: spares reading all of it.
  std::optional<Handover> handover{};
};

/// What the log is known to end with. txid 0: the log is empty.
struct LogEnd {
  Txid txid;
  /// Unknown when written by something that keeps none (Litestream).
  std::optional<Checksum> checksum{};
  /// Of the LTX file that ends the log: which of several attempts at this TXID it is. Unknown when written by
  /// something that does not say so.
  std::optional<Checksum> file_checksum{};
  Epoch epoch{};
};

/// How attach() made sure of what has changed since the end of the log.
enum class AttachOutcome {
  continued,  ///< the WAL still holds the place where capture stopped: goes on from there
  compared,   ///< every page was compared with its stored checksum: the first capture has those that differ
  verified,   ///< handed over at the log's end, or a single page, and has its checksum: nothing to send
  complete,   ///< nothing could be proven: the first capture holds every page
};
[[nodiscard]] std::string_view to_string(AttachOutcome outcome);

struct AttachReport {
  AttachOutcome outcome = AttachOutcome::complete;
  /// Why it was not a better one; empty when `continued`.
  std::string reason;
  std::uint32_t pages_read = 0;
  std::uint32_t pages_changed = 0;
  /// What differs from the stored state was certainly committed after it. Otherwise the content may just as
  /// well be older: a power failure can take commits away that the log has (capture_state.hpp).
  bool content_is_newer = false;
  /// Epoch of the stored state; 0 when nothing is stored or it is not known.
  Epoch stored_epoch{};
  /// The end of the log that the first capture follows, and the file that led there, as attach() was told.
  Txid log_end{};
  std::optional<Checksum> log_end_file{};
};

enum class DatabaseHealth {
  attached,
  replaced,    ///< another file lies under the database's name
  deleted,     ///< no file lies under the database's name
  wal_lost,    ///< the -wal or the -shm file was removed or replaced while in use
  wal_broken,  ///< frames are missing or damaged that must be there
};
[[nodiscard]] std::string_view to_string(DatabaseHealth health);

struct CheckpointReport {
  /// What was captured on the way; to be published in order before any later capture.
  std::vector<CapturedTransaction> captured;
  /// All frames were copied back and the next commit starts the WAL anew.
  bool restarts = false;
  /// Frames in the WAL, and how many of them are copied back into the database file.
  std::uint32_t frames = 0;
  std::uint32_t frames_copied = 0;
  /// How long writers were held; 0 when the barrier was not taken.
  std::chrono::nanoseconds held{0};
  /// What kept it from completing; empty when `restarts`.
  std::string obstacle;
};

struct OpenedSnapshot {
  /// Commits that the snapshot contains and that were not captured before; to be published first.
  std::optional<CapturedTransaction> captured;
  DatabaseSnapshot snapshot;
};

/// Sizes for health and metrics.
struct DatabaseStatistics {
  std::uint32_t page_size = 0;
  std::uint32_t page_count = 0;
  /// Frames in the WAL up to the last commit, those not yet captured, those copied back.
  std::uint32_t wal_frames = 0;
  std::uint32_t wal_frames_uncaptured = 0;
  std::uint32_t wal_frames_copied = 0;
  std::uint64_t captures = 0;
  std::uint64_t checkpoints = 0;
  std::chrono::nanoseconds held_max{0};
  std::chrono::nanoseconds held_total{0};
};

/// One thread at a time, except where a member says otherwise. Calls block for file I/O only, unless they
/// say otherwise.
class Database {
 public:
  /// Attaches to a database that other programs may be using. `log_end`: nullopt when it is not known; then
  /// the stored state is believed. Reading may be O(database), never while holding up a writer.
  /// Errors: not_found no such file; unsupported in-memory, network file system; failed_precondition not in
  /// WAL mode, no database yet, log behind what was acknowledged; permission_denied directory not writable;
  /// busy held exclusively by another program, or attached by another process of ours; corrupt not a
  /// database.
  [[nodiscard]] static Result<std::unique_ptr<Database>> attach(
      DatabaseOptions options, std::optional<LogEnd> log_end, const Context& context = Context::background());

  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  /// Lets go. Neither checkpoints nor deletes anything.
  ~Database();

  [[nodiscard]] const AttachReport& attach_report() const;
  [[nodiscard]] std::uint32_t page_size() const;
  /// Of the last capture. Thread-safe.
  [[nodiscard]] Position position() const;
  /// Of the last acknowledged capture. Thread-safe.
  [[nodiscard]] Txid acknowledged() const;
  [[nodiscard]] DatabaseStatistics statistics() const;

  /// What was committed since the last capture, as TXID position().txid + 1; nothing when there is nothing.
  /// Call it again until it says nothing. Errors: failed_precondition when health() is no longer `attached`
  /// (attach anew), io. After an io error the call may be repeated; nothing is skipped.
  [[nodiscard]] Result<std::optional<CapturedTransaction>> capture();
  /// The same, but never nothing: with no commits it holds page 1 as it is. For the fence of a new leader.
  [[nodiscard]] Result<CapturedTransaction> capture_fence();

  /// The capture of `txid` is about to be offered to the log as the LTX file with this checksum in its
  /// trailer. Only then can a later attach() recognise it there. Cheap.
  [[nodiscard]] Status note_file(Txid txid, Checksum file_checksum);
  /// The log has stored everything up to `txid`, which was captured. Cheap.
  [[nodiscard]] Status acknowledge(Txid txid, Epoch epoch);

  /// Blocks until there is something to capture (true), `interrupt()` was called or the slow poll came round
  /// (false). Errors: cancelled, deadline_exceeded; failed_precondition when health() is no longer
  /// `attached`. May run in a thread of its own beside all other members.
  [[nodiscard]] Result<bool> wait_for_change(const Context& context);
  /// Makes a running or the next wait_for_change() return. Thread-safe.
  void interrupt();
  /// Commits exist that were not captured. Costs no system call. Thread-safe.
  [[nodiscard]] bool changed() const;
  /// WAL bytes that were committed and not captured, as far as known. Thread-safe.
  [[nodiscard]] std::uint64_t uncaptured_bytes() const;
  /// Thread-safe.
  [[nodiscard]] DatabaseHealth health() const;

  /// What checkpoint() should be called for now, and otherwise when to ask again.
  [[nodiscard]] CheckpointStep checkpoint_due(base::BootTime now);
  [[nodiscard]] std::optional<base::BootTime> checkpoint_wake_at() const;
  /// Copies the WAL back and, when nobody else needs it, lets the next commit start it anew. Captures
  /// whatever is not yet captured. Writers are held only for what was committed while the bulk was being
  /// copied, and not at all for steps short of `complete`. Somebody in the way is no error: the report says
  /// so.
  [[nodiscard]] Result<CheckpointReport> checkpoint(CheckpointStep step = CheckpointStep::complete);

  /// The whole database as of now, without holding up anybody. The WAL cannot start anew before the snapshot
  /// is dropped.
  [[nodiscard]] Result<OpenedSnapshot> open_snapshot();

 private:
  class Implementation;
  explicit Database(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace litecluster::db
