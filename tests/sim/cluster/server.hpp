// JetStream as the cluster uses it: the leader record of a KV bucket (revisions, compare-and-swap) and the
// object store of the log (one sequence for chunks and metadata, names that can be created once, objects that
// are removed with all traces). What is stored stays stored, unless the run says otherwise (losses.hpp); loss
// and delay of messages are the network's (simulation.hpp).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include <litecluster/error.hpp>

#include "base/bytes.hpp"
#include "election/record.hpp"
#include "log/bucket_guard.hpp"
#include "log/object.hpp"
#include "log/object_bucket.hpp"

namespace litecluster::test::cluster {

class Server {
 public:
  struct Stored {
    log::Object object;
    base::Bytes bytes;
    std::uint64_t removed_at = 0;  ///< sequence; 0: it is there
    bool torn = false;             ///< its chunk is gone
    std::int64_t time = 0;         ///< when it was stored: no two objects have the same
  };

  void reset();

  // The leader record.

  [[nodiscard]] std::uint64_t revision() const { return records_.size(); }
  /// 1 <= revision <= revision().
  [[nodiscard]] const election::LeaderRecord& record(std::uint64_t revision) const {
    return records_[revision - 1];
  }
  /// Whether `expected` was the newest revision.
  bool write(const election::LeaderRecord& record, std::uint64_t expected);

  // The log.

  [[nodiscard]] std::uint64_t sequence() const { return sequence_; }
  void put_chunk() { chunks_[++sequence_] = ++time_; }
  /// Error: already_exists.
  [[nodiscard]] Result<log::Object> put(const log::NewObject& object, base::ByteView bytes,
                                        const base::Sha256Digest& digest);
  /// Null when there is none of this name.
  [[nodiscard]] const Stored* find(const log::ObjectName& name) const;
  /// Those of up to `sequence`.
  [[nodiscard]] std::vector<log::Object> list(std::uint64_t sequence) const;
  /// By its sequence, as the servers do it, whatever is there.
  void remove(const log::Object& object);
  /// All that ever were, in the order of their sequences.
  [[nodiscard]] const std::vector<Stored>& all() const { return objects_; }
  /// Nothing: the bucket does not exist.
  [[nodiscard]] std::optional<log::BucketState> bucket() const {
    return exists_ ? std::optional<log::BucketState>({created_, sequence_}) : std::nullopt;
  }
  [[nodiscard]] bool exists() const { return exists_; }
  /// An empty bucket, unless there is one.
  void create();
  /// Index into all() of the first object behind `sequence`.
  [[nodiscard]] std::size_t after(std::uint64_t sequence) const;

  /// When the message at this sequence was stored; nothing when none is there.
  [[nodiscard]] std::optional<std::int64_t> time_at(std::uint64_t sequence) const;

  // Servers that fail.

  /// Consumers do not outlive a start.
  [[nodiscard]] std::uint32_t starts() const { return starts_; }
  void restart() { ++starts_; }
  /// All behind is as if it had never been, and its numbers are used again. `restored`: from an older state,
  /// which holds what was removed since.
  void lose_log(std::uint64_t sequence, bool restored);
  void lose_records(std::uint64_t revision);
  void delete_bucket();

 private:
  void index();

  std::vector<election::LeaderRecord> records_;
  std::uint32_t starts_ = 1;
  bool exists_ = true;
  std::int64_t created_ = 1;
  std::int64_t time_ = 0;
  std::map<std::uint64_t, std::int64_t> chunks_;  ///< by sequence, when they were stored
  std::uint64_t sequence_ = 0;
  std::vector<Stored> objects_;
  std::map<log::ObjectName, std::size_t> by_name_;
};

}  // namespace litecluster::test::cluster
