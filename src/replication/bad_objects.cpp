#include "replication/bad_objects.hpp"

#include <algorithm>
#include <utility>

namespace litecluster::replication {

void BadObjects::add(const UnusableObject& bad, base::BootTime now) {
  const auto known = entries_.find(bad.object.name);
  if (known == entries_.end() && entries_.size() >= entries_max) return;
  base::Duration delay = retry_initial;
  if (known != entries_.end() && known->second.bad.object.sequence == bad.object.sequence) {
    delay = std::min<base::Duration>(retry_cap, known->second.delay * 2);
  }
  entries_.insert_or_assign(bad.object.name,
                            Entry{.bad = bad, .delay = delay, .retry_at = now + delay, .on_trial = false});
}

void BadObjects::passed(Txid applied) {
  std::erase_if(entries_, [applied](const auto& entry) { return entry.first.max <= applied; });
}

std::vector<log::Object> BadObjects::take_due(base::BootTime now) {
  std::vector<log::Object> due;
  for (auto& [name, entry] : entries_) {
    if (entry.on_trial || now < entry.retry_at) continue;
    entry.delay = std::min<base::Duration>(retry_cap, entry.delay * 2);
    entry.retry_at = now + entry.delay;
    due.push_back(entry.bad.object);
  }
  return due;
}

bool BadObjects::try_again(const log::ObjectName& name) {
  const auto found = entries_.find(name);
  if (found == entries_.end() || found->second.bad.for_good) return false;
  found->second.on_trial = true;
  return true;
}

std::vector<log::Object> BadObjects::passed_over() const {
  std::vector<log::Object> objects;
  for (const auto& [name, entry] : entries_) {
    if (!entry.on_trial) objects.push_back(entry.bad.object);
  }
  return objects;
}

Txid BadObjects::end() const {
  Txid end;
  for (const auto& [name, entry] : entries_) end = std::max(end, name.max);
  return end;
}

std::optional<Error> BadObjects::problem() const {
  if (entries_.empty()) return std::nullopt;
  const auto first = std::ranges::min_element(
      entries_, {}, [](const auto& entry) { return std::pair(entry.first.max, entry.first); });
  return first->second.bad.reason;
}

}  // namespace litecluster::replication
