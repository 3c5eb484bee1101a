// LTX files that were captured and are not yet in the log, in order: in memory while they are few, on disk
// beyond.
//
// The spool on disk exists so that the WAL can still be checkpointed while NATS is away. It need not survive
// a restart: the database itself is the truth, and attaching to it anew finds what the log does not have.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/clock.hpp"
#include "log/payload.hpp"

namespace litecluster::replication {

/// One L0 object to be.
struct OutboxItem {
  Position position;
  /// Of the database before it; nothing when it holds every page.
  std::optional<Checksum> pre_apply{};
  base::WallTime created_at{};
  log::Payload payload;
};

struct OutboxOptions {
  std::filesystem::path directory;  ///< emptied when the outbox is opened
  std::uint64_t memory_bytes_max = std::uint64_t{32} << 20U;
  std::uint64_t disk_bytes_max = std::uint64_t{1} << 30U;
};

/// Not thread-safe.
class Outbox {
 public:
  /// Removes what an earlier run left in the spool.
  [[nodiscard]] static Result<Outbox> open(OutboxOptions options);

  /// Whether one more item would be taken. One always is when the outbox is empty, whatever its size.
  [[nodiscard]] bool has_room() const {
    const bool memory_is_full = spool_failed_ && memory_bytes_ >= options_.memory_bytes_max;
    return entries_.empty() || (disk_bytes_ < options_.disk_bytes_max && !memory_is_full);
  }
  /// Appends an item; its bytes go to disk when memory is used up, if they are not there already. Error: as
  /// of writing a file. The item is then kept in memory all the same, since it exists nowhere else in this
  /// form, and when memory is used up there is no room for another one.
  [[nodiscard]] Status push(OutboxItem item);
  /// The oldest item, without removing it. The outbox must not be empty. Error: the spooled file cannot be
  /// read.
  [[nodiscard]] Result<OutboxItem> front() const;
  void pop();

  [[nodiscard]] bool empty() const { return entries_.empty(); }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] std::uint64_t memory_bytes() const { return memory_bytes_; }
  [[nodiscard]] std::uint64_t disk_bytes() const { return disk_bytes_; }

 private:
  struct Entry {
    OutboxItem item;               // without payload when it lies in file_of()
    std::uint64_t disk_bytes = 0;  // 0: in memory
    bool in_file_of = false;
  };

  explicit Outbox(OutboxOptions options) : options_(std::move(options)) {}
  [[nodiscard]] std::filesystem::path file_of(Txid txid) const;

  OutboxOptions options_;
  std::deque<Entry> entries_;
  std::uint64_t memory_bytes_ = 0;
  std::uint64_t disk_bytes_ = 0;
  bool spool_failed_ = false;  // the last time it was tried
};

}  // namespace litecluster::replication
