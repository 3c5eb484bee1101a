#include "sim/cluster/server.hpp"

#include <algorithm>

namespace litecluster::test::cluster {

void Server::reset() {
  records_.clear();
  sequence_ = 0;
  objects_.clear();
  by_name_.clear();
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
  stored.file_checksum = object.file_checksum;
  stored.digest = digest;
  stored.chunks = 1;
  stored.sequence = Revision(++sequence_);
  by_name_[object.name] = objects_.size();
  objects_.push_back({stored, base::Bytes(bytes.begin(), bytes.end()), false});
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
    if (!stored.removed) listing.push_back(stored.object);
  }
  return listing;
}

void Server::remove(const log::Object& object) {
  const auto found = by_name_.find(object.name);
  if (found == by_name_.end() || objects_[found->second].object.sequence != object.sequence) return;
  objects_[found->second].removed = true;
  by_name_.erase(found);
  ++sequence_;
}

std::size_t Server::after(std::uint64_t sequence) const {
  const auto first = std::ranges::upper_bound(
      objects_, sequence, {}, [](const Stored& stored) { return stored.object.sequence.value(); });
  return static_cast<std::size_t>(first - objects_.begin());
}

}  // namespace litecluster::test::cluster
