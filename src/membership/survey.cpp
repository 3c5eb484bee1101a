#include "membership/survey.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.hpp"
#include "membership/roster.hpp"

namespace litecluster::membership {
namespace {

constexpr std::string_view key_prefix = "members.";

std::optional<Record> record_of(const KvEntry& entry) {
  if (entry.operation != KvOperation::put || !entry.key.starts_with(key_prefix)) return std::nullopt;
  auto record = decode(entry.value);
  if (!record || record->member.id.node != entry.key.substr(key_prefix.size())) return std::nullopt;
  return std::move(*record);
}

}  // namespace

Result<std::vector<Member>> survey(const Context& context, const nats::KeyValue& bucket) {
  using base::BootClock;
  auto watch = bucket.watch(context, "members.*");
  if (!watch) return std::unexpected(watch.error());
  Roster roster{base::Duration(lease_max)};  // this one is never cut off: it has no renewals of its own
  bool initial = true;
  base::Duration longest = base::Duration::zero();
  base::BootTime until = base::BootTime::max();
  while (initial || !roster.settled()) {
    const Context patience =
        initial ? context : context.with_timeout(std::max(until - BootClock::now(), base::Duration::zero()));
    const auto next = watch->next(patience);
    if (!next) {
      if (auto status = context.status("look for members"); !status) return std::unexpected(status.error());
      // Nobody has renewed anything for a lease: nobody is alive.
      if (next.error().code() == ErrorCode::deadline_exceeded && !initial) break;
      return std::unexpected(next.error());
    }
    if (!*next) {
      initial = false;
      until = BootClock::now() + longest;
      continue;
    }
    const auto record = record_of(**next);
    if (!record) continue;
    if (record->state == RecordState::alive) longest = std::max<base::Duration>(longest, record->lease);
    roster.record_seen(BootClock::now(), (*next)->revision, *record,
                       {.initial = initial, .written_at = (*next)->time});
  }
  return roster.members();
}

Result<std::vector<Member>> last_words(const Context& context, const nats::KeyValue& bucket) {
  const auto keys = bucket.keys(context, "members.*");
  if (!keys) return std::unexpected(keys.error());
  std::vector<Member> members;
  for (const std::string& key : *keys) {
    const auto entry = bucket.last(context, key, nats::KvRead::leader);
    if (!entry) return std::unexpected(entry.error());
    if (!*entry) continue;
    auto record = record_of(**entry);
    if (record && record->state != RecordState::left) members.push_back(std::move(record->member));
  }
  return members;
}

}  // namespace litecluster::membership
