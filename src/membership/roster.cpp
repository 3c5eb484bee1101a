#include "membership/roster.hpp"

#include <algorithm>
#include <utility>

namespace litecluster::membership {

void Roster::hear(base::BootTime now) {
  if (cut_off(now)) resumed_at_ = now;
  heard_at_ = now;
}

bool Roster::cut_off(base::BootTime now) const {
  return heard_at_ && now - *heard_at_ > heartbeat_ + heartbeat_ / 2;
}

base::BootTime Roster::gone_at(const RosterEntry& entry) const {
  return std::max(entry.silent_from, resumed_at_) + entry.record.lease;
}

void Roster::record_seen(base::BootTime now, Revision revision, const Record& record,
                         const Delivery& delivery) {
  hear(now);
  if (!delivery.initial && delivery.written_at) judge_pending(now, *delivery.written_at);
  const auto [position, inserted] = entries_.try_emplace(record.member.id.node);
  RosterEntry& entry = position->second;
  // A watch that was set up anew, or a stale read, may repeat what is known.
  if (!inserted && revision <= entry.revision) return;
  const MemberId life = life_of(record, revision);
  const bool same_life = !inserted && life == entry.life;
  if (!same_life && entry.present) depart(entry, "restarted");
  const bool changed = !same_life || record.member != entry.record.member ||
                       record.ring != entry.record.ring || record.state != entry.record.state;
  const bool told = same_life && (record.member.role != entry.record.member.role ||
                                  record.member.health != entry.record.member.health ||
                                  record.member.health_reason != entry.record.member.health_reason ||
                                  record.member.labels != entry.record.member.labels ||
                                  record.member.addresses != entry.record.member.addresses ||
                                  record.member.epoch != entry.record.member.epoch);
  entry.renewed = same_life;
  if (std::exchange(entry.pending, false)) --pending_;
  entry.written_at = delivery.written_at;
  entry.record = record;
  entry.record.member.id = life;
  entry.life = life;
  entry.revision = revision;
  entry.seen_at = now;
  entry.silent_from = now;
  entry.deleted = false;
  if (changed) ++generation_;
  if (record.state != RecordState::alive) {
    if (entry.present) depart(entry, record.state == RecordState::left ? "said goodbye" : "expelled");
  } else if (delivery.initial && delivery.written_at) {
    entry.pending = !entry.present;
    if (entry.pending) ++pending_;
  } else if (!entry.present) {
    arrive(entry);
  } else if (told) {
    events_.push_back({RosterEvent::Kind::changed, entry.record.member, {}});
  }
}

void Roster::judge_pending(base::BootTime now, ServerTime server_now) {
  if (pending_ == 0) return;
  for (auto& [node, entry] : entries_) {
    if (!std::exchange(entry.pending, false)) continue;
    const auto age = std::max<base::Duration>(server_now - *entry.written_at, base::Duration::zero());
    entry.silent_from = now - age;
    if (age < entry.record.lease) arrive(entry);
  }
  pending_ = 0;
  ++generation_;
}

void Roster::arrive(RosterEntry& entry) {
  entry.present = true;
  ++generation_;
  events_.push_back({RosterEvent::Kind::joined, entry.record.member, {}});
}

void Roster::depart(RosterEntry& entry, std::string reason) {
  entry.present = false;
  ++generation_;
  events_.push_back({RosterEvent::Kind::left, entry.record.member, std::move(reason)});
}

void Roster::record_deleted(base::BootTime now, Revision revision, const std::string& node) {
  hear(now);
  const auto found = entries_.find(node);
  if (found == entries_.end() || revision <= found->second.revision) return;
  RosterEntry& entry = found->second;
  if (entry.present) depart(entry, "expelled");
  if (std::exchange(entry.pending, false)) --pending_;
  entry.revision = revision;
  entry.seen_at = now;
  entry.deleted = true;
  ++generation_;
}

void Roster::history_lost() {
  for (auto& [node, entry] : entries_) entry.revision = Revision();
  forgotten_.clear();
}

void Roster::tick(base::BootTime now) {
  if (cut_off(now)) return;
  for (auto& [node, entry] : entries_) {
    if (entry.present && now >= gone_at(entry)) depart(entry, "silent");
  }
}

std::optional<base::BootTime> Roster::next_tick(base::BootTime now) const {
  std::optional<base::BootTime> next;
  for (const auto& [node, entry] : entries_) {
    if (entry.present) next = next ? std::min(*next, gone_at(entry)) : gone_at(entry);
  }
  if (next && cut_off(now)) next = std::max(*next, now + heartbeat_ / 2);
  return next;
}

std::vector<RosterEvent> Roster::take_events() {
  return std::exchange(events_, {});
}

std::vector<ForgetRecord> Roster::take_forgettable(base::BootTime now) {
  std::vector<ForgetRecord> forgettable;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const RosterEntry& known = entry->second;
    if (known.present || now - known.seen_at < forget_after) {
      ++entry;
      continue;
    }
    if (known.deleted) {
      forgotten_.erase(entry->first);
      entry = entries_.erase(entry);
      continue;
    }
    Revision& named = forgotten_[entry->first];
    if (named < known.revision) {
      named = known.revision;
      forgettable.push_back({entry->first, known.revision});
    }
    ++entry;
  }
  return forgettable;
}

std::vector<Member> Roster::members() const {
  std::vector<Member> members;
  for (const auto& [node, entry] : entries_) {
    if (entry.present) members.push_back(entry.record.member);
  }
  return members;
}

const RosterEntry* Roster::find(std::string_view node) const {
  const auto found = entries_.find(node);
  return found == entries_.end() ? nullptr : &found->second;
}

bool Roster::is_over(const MemberId& life) const {
  const RosterEntry* entry = find(life.node);
  if (entry == nullptr) return false;
  if (entry->life.joined > life.joined) return true;
  if (entry->life != life) return false;
  return entry->deleted || entry->record.state != RecordState::alive;
}

}  // namespace litecluster::membership
