// JetStream as the cluster uses it: the leader record of a KV bucket (revisions, compare-and-swap) and the
// object store of the log (one sequence for chunks and metadata, names that can be created once, objects that
// are removed with all traces). What is stored stays stored; loss and delay are the network's (network.hpp).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include <litecluster/error.hpp>

#include "base/bytes.hpp"
#include "election/record.hpp"
#include "log/object.hpp"
#include "log/object_bucket.hpp"

namespace litecluster::test::cluster {

class Server {
 public:
  struct Stored {
    log::Object object;
    base::Bytes bytes;
    bool removed = false;
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
  void put_chunk() { ++sequence_; }
  /// Error: already_exists.
  [[nodiscard]] Result<log::Object> put(const log::NewObject& object, base::ByteView bytes,
                                        const base::Sha256Digest& digest);
  /// Null when there is none of this name.
  [[nodiscard]] const Stored* find(const log::ObjectName& name) const;
  /// Those of up to `sequence`.
  [[nodiscard]] std::vector<log::Object> list(std::uint64_t sequence) const;
  void remove(const log::Object& object);
  /// All that ever were, in the order of their sequences.
  [[nodiscard]] const std::vector<Stored>& all() const { return objects_; }
  /// Index into all() of the first object behind `sequence`.
  [[nodiscard]] std::size_t after(std::uint64_t sequence) const;

 private:
  std::vector<election::LeaderRecord> records_;
  std::uint64_t sequence_ = 0;
  std::vector<Stored> objects_;
  std::map<log::ObjectName, std::size_t> by_name_;
};

}  // namespace litecluster::test::cluster
