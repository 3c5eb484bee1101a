#include "sim/cluster/server.hpp"

#include <algorithm>

namespace litecluster::test::cluster {

void Server::reset() {
  records_.clear();
  starts_ = 1;
  exists_ = true;
  created_ = 1;
  time_ = 0;
  chunks_.clear();
  sequence_ = 0;
  objects_.clear();
  by_name_.clear();
}

void Server::create() {
  if (exists_) return;
  exists_ = true;
  ++created_;
}

void Server::delete_bucket() {
  exists_ = false;
  sequence_ = 0;
  chunks_.clear();
  objects_.clear();
  by_name_.clear();
}

void Server::lose_log(std::uint64_t sequence, bool restored) {
  sequence_ = std::min(sequence_, sequence);
  objects_.resize(after(sequence));
  chunks_.erase(chunks_.upper_bound(sequence_), chunks_.end());
  for (Stored& stored : objects_) {
    if (restored && stored.removed_at > sequence) stored.removed_at = 0;
  }
  index();
}

void Server::lose_records(std::uint64_t revision) {
  records_.resize(std::min<std::size_t>(records_.size(), revision));
}

void Server::index() {
  by_name_.clear();
  for (std::size_t number = 0; number < objects_.size(); ++number) {
    // A name can have been used twice: what came later stands.
    if (objects_[number].removed_at == 0) by_name_[objects_[number].object.name] = number;
  }
}

bool Server::write(const election::LeaderRecord& record, std::uint64_t expected) {
  if (expected != records_.size()) return false;
  records_.push_back(record);
  return true;
}

Result<log::Object> Server::put(const log::NewObject& object, base::ByteView bytes,
                                const base::Sha256Digest& digest) {
  if (by_name_.contains(object.name)) {
    return failure(ErrorCode::already_exists, "put", to_string(object.name), "the name is taken");
  }
  log::Object stored;
  stored.name = object.name;
  stored.size = bytes.size();
  stored.created_at = object.created_at;
  stored.author = object.author;
  stored.checksum = object.checksum;
  stored.pre_apply = object.pre_apply;
  stored.previous_file = object.previous_file;
  stored.file_checksum = object.file_checksum;
  stored.digest = digest;
  stored.chunks = 1;
  stored.sequence = Revision(++sequence_);
  by_name_[object.name] = objects_.size();
  objects_.push_back({.object = stored, .bytes = base::Bytes(bytes.begin(), bytes.end()), .time = ++time_});
  return stored;
}

const Server::Stored* Server::find(const log::ObjectName& name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &objects_[found->second];
}

std::vector<log::Object> Server::list(std::uint64_t sequence) const {
  std::vector<log::Object> listing;
  for (const Stored& stored : objects_) {
    if (stored.object.sequence.value() > sequence) break;
    if (stored.removed_at == 0) listing.push_back(stored.object);
  }
  return listing;
}

void Server::remove(const log::Object& object) {
  const std::size_t number = after(object.sequence.value() - 1);
  if (number == objects_.size()) return;
  Stored& stored = objects_[number];
  if (stored.object.sequence.value() == object.sequence.value() + 1) stored.torn = true;
  if (stored.object.sequence != object.sequence || stored.removed_at > 0) return;
  stored.removed_at = ++sequence_;
  by_name_.erase(stored.object.name);
}

std::optional<std::int64_t> Server::time_at(std::uint64_t sequence) const {
  bool chunk_is_gone = false;
  for (std::size_t number = after(sequence - 1); number < objects_.size(); ++number) {
    const Stored& stored = objects_[number];
    const std::uint64_t metadata = stored.object.sequence.value();
    if (metadata > sequence + 1) break;
    if (metadata == sequence && stored.removed_at == 0) return stored.time;
    if (metadata == sequence + 1) chunk_is_gone = stored.removed_at > 0 || stored.torn;
  }
  const auto chunk = chunks_.find(sequence);
  if (chunk == chunks_.end() || chunk_is_gone) return std::nullopt;
  return chunk->second;
}

std::size_t Server::after(std::uint64_t sequence) const {
  const auto first = std::ranges::upper_bound(
      objects_, sequence, {}, [](const Stored& stored) { return stored.object.sequence.value(); });
  return static_cast<std::size_t>(first - objects_.begin());
}

}  // namespace litecluster::test::cluster
