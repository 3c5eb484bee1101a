// The parts of Database, shared by the files that implement it.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.hpp"
#include "db/capture_preflight.hpp"
#include "db/capture_state.hpp"
#include "db/change_notifier.hpp"
#include "db/database.hpp"
#include "db/page_view.hpp"
#include "db/wake_schedule.hpp"
#include "db/wal_connection.hpp"

namespace litecluster::db {

class Database::Implementation {
 public:
  struct Connections {
    std::array<WalConnection, 2> pins;
    WalConnection barrier;
    WalConnection worker;
  };

  Implementation(DatabaseOptions options, std::unique_ptr<CaptureState> state, Connections connections,
                 std::unique_ptr<ChangeNotifier> notifier);

  // database_attach.cpp
  [[nodiscard]] Status begin(const FileStatus& file, const std::optional<LogEnd>& log_end,
                             const Context& context);

  // database_capture.cpp
  [[nodiscard]] Result<std::optional<CapturedTransaction>> capture();
  [[nodiscard]] Result<CapturedTransaction> capture_fence();
  [[nodiscard]] Status note_file(Txid txid, Checksum file_checksum) {
    return state_->note_file(txid, file_checksum);
  }
  [[nodiscard]] Status acknowledge(Txid txid, Epoch epoch);
  [[nodiscard]] Result<OpenedSnapshot> open_snapshot();

  // database_checkpoint.cpp
  [[nodiscard]] Result<CheckpointReport> checkpoint(CheckpointStep step);
  [[nodiscard]] CheckpointStep checkpoint_due(base::BootTime now);
  [[nodiscard]] std::optional<base::BootTime> checkpoint_wake_at() const;

  // database.cpp; these may run beside the others
  [[nodiscard]] Result<bool> wait_for_change(const Context& context);
  void interrupt() { notifier_->wake(); }
  [[nodiscard]] bool changed() const;
  [[nodiscard]] std::uint64_t uncaptured_bytes() const;
  [[nodiscard]] DatabaseHealth health() const;
  [[nodiscard]] Position position() const;
  [[nodiscard]] Txid acknowledged() const;
  [[nodiscard]] DatabaseStatistics statistics() const;
  [[nodiscard]] const AttachReport& attach_report() const { return report_; }
  [[nodiscard]] std::uint32_t page_size() const { return page_size_; }

 private:
  // What other threads may look at.
  struct Shared {
    Position position;
    Txid acknowledged;
    wal::Salts salts;
    std::uint32_t frame = 0;  // captured up to this one
    bool waiting = false;     // something was captured and not handed out yet
    DatabaseHealth health = DatabaseHealth::attached;
    DatabaseStatistics statistics;
  };
  // What a capture is made of, before it is recorded.
  struct Gathered {
    wal::ScanResult scan;
    WalIndexHeader header;
    bool restarted = false;             // the WAL was started anew since the last capture
    base::Bytes frames;                 // raw, when they were kept
    std::uint32_t first = 1;            // number of the first of them
    std::vector<wal::PageFrame> pages;  // ascending; frame 0: in the database file
    WalExtent extent;
  };

  // database_attach.cpp
  [[nodiscard]] bool was_at_end(const PageView& view, const std::optional<LogEnd>& log_end) const;
  [[nodiscard]] bool is_known_page_by_page(const PageView& view) const;
  [[nodiscard]] Result<bool> find_stored_state(const std::optional<LogEnd>& log_end);
  [[nodiscard]] Status start_at_end(const CapturePoint& point, std::vector<std::uint64_t> table,
                                    const LogEnd& end);
  [[nodiscard]] bool is_same_file(const CapturePoint& point) const;
  [[nodiscard]] Result<bool> continue_from(const PinnedState& pinned, const PageView& view);
  [[nodiscard]] Status compare(const std::optional<LogEnd>& log_end, bool stored,
                               const std::shared_ptr<PageView>& view, const Context& context);
  [[nodiscard]] Status prepare_difference(const std::shared_ptr<PageView>& view,
                                          std::vector<std::uint64_t> table, const Context& context);
  [[nodiscard]] Status prepare_everything(Txid txid, const std::shared_ptr<PageView>& view,
                                          std::vector<std::uint64_t> table);
  [[nodiscard]] CapturePoint point_of(const PageView& view, Txid txid, Checksum checksum, Epoch epoch) const;
  void take_position(const PageView& view);

  // database_capture.cpp
  [[nodiscard]] Status check_files();
  [[nodiscard]] Result<std::optional<CapturedTransaction>> capture_through(WalIndexHeader header, bool exact);
  [[nodiscard]] Result<bool> gather(const WalIndexHeader& header, Gathered& gathered);
  [[nodiscard]] Status check_complete(const Gathered& gathered);
  void add_growth(Gathered& gathered) const;
  [[nodiscard]] Result<CapturedTransaction> build(Gathered gathered);
  [[nodiscard]] Status read_source(const Gathered& gathered, const wal::PageFrame& source,
                                   std::span<std::byte> destination) const;
  [[nodiscard]] Result<CapturedTransaction> finish(const CapturePoint& point, Gathered gathered,
                                                   const std::vector<PageChange>& changes, base::Bytes memory,
                                                   std::shared_ptr<PageView> view);
  [[nodiscard]] Error fail(DatabaseHealth health, std::string reason);
  void publish_position();
  void keep(std::vector<CapturedTransaction> captured);

  // database_checkpoint.cpp
  [[nodiscard]] Status run_checkpoint(CheckpointReport& report, CheckpointStep step);
  [[nodiscard]] Result<bool> drain(CheckpointReport& report);
  [[nodiscard]] Result<PinnedState> move_pin(CheckpointReport& report);
  [[nodiscard]] Status take_barrier();
  [[nodiscard]] Status copy_under_barrier(CheckpointReport& report);
  [[nodiscard]] Result<WalConnection::Copied> copy_back(base::BootTime give_up);
  [[nodiscard]] Result<WalConnection::Copied> copy_all(base::BootTime give_up);
  [[nodiscard]] Status pin_again();
  void describe(CheckpointReport& report, CheckpointStep step);
  [[nodiscard]] Status copy_without_barrier(CheckpointReport& report, int rounds);

  DatabaseOptions options_;
  std::filesystem::path wal_path_;
  std::filesystem::path index_path_;
  std::unique_ptr<CaptureState> state_;
  Connections connections_;
  std::unique_ptr<ChangeNotifier> notifier_;
  std::size_t active_pin_ = 0;
  FileIdentity identity_;
  std::int64_t born_nanoseconds_ = 0;
  FileIdentity wal_identity_;
  FileIdentity index_identity_;
  std::uint32_t page_size_ = 0;

  wal::Position position_;                     // captured up to here
  FrameMap frames_;                            // newest frame of each page up to there, in this filling
  std::optional<std::uint32_t> change_count_;  // SQLite's counter at the last point where it was compared
  std::uint64_t commits_since_ = 0;            // commits captured since then

  // Recorded and not handed out yet: what attach() found, or what was captured on the way to a failure.
  std::deque<CapturedTransaction> waiting_;
  AttachReport report_;
  bool known_at_end_ = false;  // by its former owner, when we attached
  CheckpointPolicy policy_;
  WakeSchedule wake_;  // of the thread in wait_for_change()

  mutable base::Mutex mutex_;
  Shared shared_ LITECLUSTER_GUARDED_BY(mutex_);
};

}  // namespace litecluster::db
