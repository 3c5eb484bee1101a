// Finding and removing what belongs to nobody.
//
// A put that was interrupted leaves chunks without metadata, and other clients leave a tombstone for each
// object that they delete. Chunks are listed before metadata: an object that is completed in between is found
// to be one. A put under way looks like an orphan until its metadata is there, hence the grace; it is
// measured by having seen the same number of messages for that long, so that no two clocks are compared. Only
// what is older than the grace by more than a day is believed to be old at first sight.
#include <set>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "nats/jetstream_object_store.hpp"

namespace litecluster::nats {
namespace {

constexpr std::size_t objects_max = 10'000'000;
constexpr std::chrono::hours clock_difference_max{24};

bool is_ancient(ServerTime time, std::chrono::nanoseconds grace) {
  return std::chrono::system_clock::now() - time > grace + clock_difference_max;
}

}  // namespace

Result<std::uint64_t> JetStreamObjectStore::remove_orphans(const Context& context,
                                                           std::chrono::nanoseconds grace) {
  const std::string prefix = chunk_subject(bucket_, {});
  auto chunks = jetstream_.stream_info(context, stream_, prefix + ">");
  if (!chunks) return std::unexpected(chunks.error());
  auto metadata = all_metadata(context, objects_max, true);
  if (!metadata) return std::unexpected(metadata.error());

  // Subject of what may be removed, and how many messages it has.
  std::map<std::string, std::uint64_t> suspects;
  std::set<std::string> ancient;
  std::set<std::string, std::less<>> used;
  for (const ObjectInfo& info : *metadata) {
    if (info.deleted) {
      const std::string subject = metadata_subject(bucket_, info.name);
      suspects[subject] = info.sequence;
      if (is_ancient(info.modified, grace)) ancient.insert(subject);
    } else {
      used.insert(info.nuid);
    }
  }
  for (const auto& [subject, count] : chunks->subjects) {
    if (!used.contains(std::string_view(subject).substr(prefix.size()))) suspects[subject] = count;
  }

  const auto now = std::chrono::steady_clock::now();
  std::map<std::string, std::uint64_t> removable;
  {
    const base::MutexLock lock(mutex_);
    std::erase_if(candidates_, [&](const auto& entry) { return !suspects.contains(entry.first); });
    for (const auto& [subject, count] : suspects) {
      const auto [entry, fresh] = candidates_.try_emplace(subject, Candidate{count, now});
      if (entry->second.messages != count) entry->second = Candidate{count, now};
      if (now - entry->second.since >= grace) removable.emplace(subject, count);
    }
  }
  std::uint64_t removed = 0;
  for (const auto& [subject, count] : suspects) {
    const bool is_tombstone = !subject.starts_with(prefix);
    if (!removable.contains(subject)) {
      if (is_tombstone && !ancient.contains(subject)) continue;
      if (!is_tombstone) {
        auto last = jetstream_.last_message(context, stream_, subject, !direct_);
        if (!last || !is_ancient(last->time, grace)) continue;
      }
    }
    // A tombstone that was replaced meanwhile is an object again: only what was seen is removed, by its
    // sequence. A purge of its subject would take the server much longer, and makes nats-server 2.9 skip
    // messages of watches.
    Status done;
    if (is_tombstone) {
      done = jetstream_.delete_message(context, stream_, count);
      if (!done && done.error().code() == ErrorCode::not_found) done = {};
    } else if (auto purged =
                   jetstream_.purge(context, stream_, {.filter = subject, .below_sequence = 0, .keep = 0});
               !purged) {
      done = std::unexpected(purged.error());
    }
    if (!done) return std::unexpected(explain(context, done.error()));
    ++removed;
    const base::MutexLock lock(mutex_);
    candidates_.erase(subject);
  }
  return removed;
}

}  // namespace litecluster::nats
