// What is behind Replica (private to src/db/replica_*.cpp).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "db/replica.hpp"
#include "db/replica_checkpointer.hpp"
#include "db/replica_content.hpp"
#include "db/replica_record.hpp"
#include "db/sqlite.hpp"
#include "db/wal_writer_transaction.hpp"

namespace litecluster::db {

class Replica::Implementation {
 public:
  Implementation(ReplicaOptions options, ReplicaRecordFile record_file)
      : options_(std::move(options)), record_file_(std::move(record_file)) {}
  Implementation(const Implementation&) = delete;
  Implementation& operator=(const Implementation&) = delete;
  ~Implementation();

  // replica_open.cpp
  [[nodiscard]] Status open();
  [[nodiscard]] Status adopt(const ReplicaPosition& position, Txid doubtful_to);
  [[nodiscard]] bool position_is_doubtful() const { return doubtful_to_ > position_.txid; }
  void note_log_end(Txid end);
  void distrust(const std::string& reason);
  [[nodiscard]] Status verify();
  [[nodiscard]] Result<Checksum> scan();
  [[nodiscard]] Result<bool> scrub(std::uint32_t pages_max);
  [[nodiscard]] Result<bool> scrub_again(std::uint32_t pages_max);
  [[nodiscard]] Result<base::Bytes> read_page(PageNo number);
  [[nodiscard]] Status close();

  // replica_apply.cpp
  [[nodiscard]] Status apply(const ReplicaChange& change);
  [[nodiscard]] Status checkpoint();

  // replica_seed.cpp
  [[nodiscard]] Status seed(const ReplicaSeed& seed, ReplicaPageSource source);

  // replica_promotion.cpp
  [[nodiscard]] Result<Handover> hand_over(bool full_scan, std::chrono::milliseconds patience);

  [[nodiscard]] ReplicaStatistics statistics() const;

 private:
  friend class Replica;

  // replica_open.cpp
  [[nodiscard]] Status connect();
  void disconnect();
  [[nodiscard]] Status reopen();
  void stop_checkpointer();
  void forget_checksums();
  [[nodiscard]] Status decide_position();
  [[nodiscard]] std::optional<ReplicaPosition> position_from_record() const;
  [[nodiscard]] Result<std::optional<ReplicaPosition>> position_from_content();
  [[nodiscard]] Status settle(const ReplicaPosition& position);
  [[nodiscard]] Status same_files() const;
  [[nodiscard]] Status write_record(const ReplicaPosition& base, std::optional<RecordedState> next,
                                    bool base_is_unknown = false);
  /// Begins a transaction when the WAL is as we left it; quarantines otherwise.
  [[nodiscard]] Result<WalTransaction> begin_own();
  /// Sets the state, and makes an Error out of the reason.
  Error quarantine(ErrorCode code, std::string operation, std::string reason);

  // replica_promotion.cpp
  [[nodiscard]] Status sync_file(sqlite3_file* file) const;

  // replica_apply.cpp
  [[nodiscard]] Status check_order(const ReplicaChange& change) const;
  [[nodiscard]] Status check_pages(const ReplicaChange& change) const;
  [[nodiscard]] Result<Checksum> checksum_after(const ReplicaChange& change, std::vector<Checksum>& pages);
  [[nodiscard]] Status write_change(const ReplicaChange& change, const ReplicaPosition& next);
  [[nodiscard]] Status commit(WalTransaction& transaction, const ReplicaPosition& next,
                              std::uint32_t page_count);
  void checkpoint_when_due();
  [[nodiscard]] bool backfill_all(std::chrono::steady_clock::time_point give_up);
  [[nodiscard]] Status seed_from_change(const ReplicaChange& change);

  // replica_seed.cpp
  [[nodiscard]] Status seed_into_wal(const ReplicaSeed& seed, ReplicaPageSource source);
  [[nodiscard]] Status seed_new_file(const ReplicaSeed& seed, ReplicaPageSource& source);
  [[nodiscard]] Status seed_empty_file(const ReplicaSeed& seed, int descriptor);

  ReplicaOptions options_;
  ReplicaRecordFile record_file_;
  std::unique_ptr<Connection> connection_;
  std::unique_ptr<WalWriter> writer_;
  std::unique_ptr<ReplicaCheckpointer> checkpointer_;
  PageChecksums checksums_;
  std::uint32_t scrubbed_ = 0;  ///< checksums of the pages up to this one are remembered
  std::uint32_t scrubbed_again_ = 0;
  bool scrub_done_ = false;  ///< of all of them, and together they were what they had to be
  ReplicaState state_ = ReplicaState::empty;
  std::string quarantine_reason_;
  bool only_seed_helps_ = false;  ///< in this quarantine
  bool guessed_ = false;          ///< the position, by this process
  Txid doubtful_to_;              ///< of the record
  ReplicaPosition position_;
  std::uint32_t page_size_ = 0;
  std::uint32_t page_count_ = 0;
  /// The wal-index header as we left it. Anything else there was done by somebody else.
  WalIndexHeader header_;
  FileIdentity database_identity_;
  FileIdentity wal_identity_;
  FileIdentity shared_memory_identity_;
  std::uint32_t checkpointed_at_ = 0;  ///< frame_max at the last checkpoint
  std::uint32_t patient_at_ = 0;       ///< frame_max from which a checkpoint waits for readers
  ReplicaStatistics statistics_;
};

[[nodiscard]] std::filesystem::path with_suffix(std::filesystem::path path, const char* suffix);

/// Nothing wrong when `page` can be page 1 of a WAL-mode database of this page size.
[[nodiscard]] Status check_first_page(base::ByteView page, std::uint32_t page_size,
                                      const std::string& subject);

}  // namespace litecluster::db
