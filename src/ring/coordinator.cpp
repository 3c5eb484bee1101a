#include "ring/coordinator.hpp"

#include <algorithm>
#include <utility>

namespace litecluster::ring {
namespace {

using membership::RecordState;
using membership::Roster;
using membership::RosterEntry;

bool contains(const std::vector<MemberId>& members, const MemberId& life) {
  return std::ranges::find(members, life) != members.end();
}

// What the next version needs to know about each member of the present one.
struct Standing {
  std::uint16_t live = nobody;  // index among the live members
  std::uint16_t next = nobody;  // index in the next version's table
  bool over = false;
  RingVersion released;
};

std::vector<Standing> judge(const Assignment& present, const Roster& roster,
                            const std::vector<MemberId>& live) {
  std::vector<Standing> standings(present.members.size());
  for (std::size_t index = 0; index < standings.size(); ++index) {
    const MemberId& life = present.members[index];
    Standing& standing = standings[index];
    const auto found = std::ranges::find(live, life);
    if (found != live.end()) standing.live = static_cast<std::uint16_t>(found - live.begin());
    standing.over = roster.is_over(life);
    const RosterEntry* entry = roster.find(life.node);
    if (entry != nullptr && entry->life == life) standing.released = entry->record.ring.released;
  }
  return standings;
}

bool by_name_and_age(const MemberId& left, const MemberId& right) {
  if (left.node != right.node) return left.node < right.node;
  return left.joined < right.joined;
}

}  // namespace

void Coordinator::life_begun(base::BootTime now, const MemberId& life) {
  life_ = life;
  needed_since_.reset();
  wake_at(now);
}

void Coordinator::life_over() {
  life_.reset();
  needed_since_.reset();
}

void Coordinator::assignment_seen(base::BootTime now, Revision revision,
                                  std::shared_ptr<const Assignment> assignment) {
  if (revision <= revision_) return;
  revision_ = revision;
  deleted_ = false;
  if (!assignment_ || assignment->version > assignment_->version) assignment_ = std::move(assignment);
  needed_since_.reset();
  write_after_ = base::BootTime::min();
  wake_at(now);
}

void Coordinator::assignment_deleted(base::BootTime now, Revision revision) {
  if (revision <= revision_) return;
  revision_ = revision;
  deleted_ = true;
  wake_at(now);
}

void Coordinator::initial_complete(base::BootTime now) {
  initial_complete_ = true;
  wake_at(now);
}

void Coordinator::assignment_written(base::BootTime now) {
  write_in_flight_ = false;
  // Done or not, the watch tells what the record is now. Should it not, the same is tried again.
  if (needed_since_) write_after_ = now + options_.lease / 10;
  wake_at(now);
}

void Coordinator::expel_done(base::BootTime now) {
  if (expels_in_flight_ > 0) --expels_in_flight_;
  expel_after_ = now + options_.lease / 10;
  wake_at(expel_after_);
}

void Coordinator::evaluate(base::BootTime now, const Roster& roster) {
  next_tick_.reset();
  if (!life_ || !initial_complete_ || !roster.settled() || refused_ || refuse_if_different(roster)) return;
  const std::vector<MemberId> live = live_members(roster);
  std::vector<ExpelMember> expels = silent_holders(now, roster, live);
  std::optional<Assignment> next = next_assignment(roster, live);
  if (expels.empty() && !next) {
    needed_since_.reset();
    return;
  }
  if (!needed_since_) needed_since_ = now;
  const base::Duration wait = patience(live);
  const base::BootTime expel_at = std::max(*needed_since_ + wait, expel_after_);
  if (!expels.empty() && expels_in_flight_ == 0) {
    if (now < expel_at) {
      wake_at(expel_at);
    } else {
      expels_in_flight_ = expels.size();
      std::ranges::move(expels, std::back_inserter(actions_));
    }
  }
  if (!next || write_in_flight_) return;
  const base::BootTime write_at = std::max(*needed_since_ + std::max(wait, options_.settle), write_after_);
  if (now < write_at) return wake_at(write_at);
  write_in_flight_ = true;
  actions_.emplace_back(WriteAssignment{revision_, std::make_shared<const Assignment>(std::move(*next))});
}

// Of two that disagree about the number of partitions, the one that joined later has to go.
bool Coordinator::refuse_if_different(const Roster& roster) {
  for (const auto& [node, entry] : roster.entries()) {
    const std::uint32_t theirs = entry.record.ring.partitions;
    if (!entry.present || theirs == 0 || theirs == options_.partitions || node == life_->node) continue;
    if (entry.life.joined > life_->joined) continue;
    refused_ = true;
    actions_.emplace_back(
        RingRefused{{ErrorCode::failed_precondition, "join ring", life_->node,
                     "this node is configured with " + std::to_string(options_.partitions) +
                         " partitions, but " + node + " runs the ring with " + std::to_string(theirs) +
                         "; use the same number everywhere, or stop all nodes to change it"}});
    return true;
  }
  return false;
}

std::vector<MemberId> Coordinator::live_members(const Roster& roster) const {
  std::vector<MemberId> live;
  bool self = false;
  for (const auto& [node, entry] : roster.entries()) {
    if (node == life_->node) {
      self = true;
      live.push_back(*life_);
    } else if (entry.present && entry.record.member.mode == Mode::ring &&
               entry.record.ring.partitions == options_.partitions) {
      live.push_back(entry.life);
    }
  }
  if (!self) {
    live.push_back(*life_);
    std::ranges::sort(live, by_name_and_age);
  }
  return live;
}

std::optional<Assignment> Coordinator::next_assignment(const Roster& roster,
                                                       const std::vector<MemberId>& live) const {
  static const Assignment empty;
  const Assignment& present = assignment_ ? *assignment_ : empty;
  std::vector<Standing> standings = judge(present, roster, live);
  const bool resized = assignment_ && present.slots.size() != options_.partitions;
  if (resized && std::ranges::any_of(present.slots, [&](const Slot& slot) {
        return slot.holder != nobody && !standings[slot.holder].over;
      })) {
    return std::nullopt;
  }
  const std::vector<Slot> fresh(resized || !assignment_ ? options_.partitions : 0);
  const std::vector<Slot>& slots = fresh.empty() ? present.slots : fresh;

  std::vector<std::uint16_t> base(slots.size(), nobody);
  for (std::size_t partition = 0; partition < slots.size(); ++partition) {
    const Slot& slot = slots[partition];
    if (slot.target != nobody) base[partition] = standings[slot.target].live;
    // The target is gone before it got the partition: best it stays where it is.
    if (base[partition] == nobody && slot.holder != nobody) base[partition] = standings[slot.holder].live;
  }
  const std::vector<std::uint16_t> owners = spread(base, live.size());

  Assignment next;
  next.version = present.version.next();
  // Others may remember a later version than we, and would ignore a smaller one for ever. No version exceeds
  // the revision under which it was written.
  if (deleted_) next.version = std::max(next.version, RingVersion(revision_.value()).next());
  next.coordinator = *life_;
  next.members = live;
  for (const Slot& slot : slots) {
    if (slot.holder == nobody) continue;
    Standing& standing = standings[slot.holder];
    if (standing.over || standing.live != nobody || standing.next != nobody) continue;
    standing.next = 0;
    next.members.push_back(present.members[slot.holder]);
  }
  std::ranges::sort(next.members, by_name_and_age);
  for (std::size_t index = 0; index < standings.size(); ++index) {
    standings[index].next = next.index_of(present.members[index]);
  }
  std::vector<std::uint16_t> live_index;
  live_index.reserve(live.size());
  for (const MemberId& life : live) live_index.push_back(next.index_of(life));

  next.slots.resize(slots.size());
  for (std::size_t partition = 0; partition < slots.size(); ++partition) {
    const Slot& old = slots[partition];
    Slot& slot = next.slots[partition];
    slot.target = live_index[owners[partition]];
    slot.holder = slot.target;
    if (old.holder == nobody || standings[old.holder].over) continue;
    if (standings[old.holder].next == slot.target) continue;
    const bool leaving = !old.leaving_since.is_zero();
    if (leaving && standings[old.holder].released >= old.leaving_since) continue;
    slot.holder = standings[old.holder].next;
    slot.leaving_since = leaving ? old.leaving_since : next.version;
  }
  if (!deleted_ && next.members == present.members && next.slots == present.slots) return std::nullopt;
  return next;
}

// How long the others are given to do what is needed.
base::Duration Coordinator::patience(const std::vector<MemberId>& live) const {
  if (assignment_ && assignment_->coordinator == *life_) return base::Duration::zero();
  const auto rank =
      std::ranges::count_if(live, [&](const MemberId& life) { return life.joined < life_->joined; });
  if (!assignment_) return rank == 0 ? base::Duration::zero() : 2 * options_.lease;
  if (contains(live, assignment_->coordinator)) return 2 * options_.lease + rank * (options_.lease / 10);
  return rank * (options_.lease / 20);
}

std::vector<ExpelMember> Coordinator::silent_holders(base::BootTime now, const Roster& roster,
                                                     const std::vector<MemberId>& live) {
  std::vector<ExpelMember> expels;
  if (!assignment_) return expels;
  std::vector<bool> holds(assignment_->members.size(), false);
  for (const Slot& slot : assignment_->slots) {
    if (slot.holder != nobody) holds[slot.holder] = true;
  }
  for (std::size_t index = 0; index < holds.size(); ++index) {
    const MemberId& life = assignment_->members[index];
    if (!holds[index] || contains(live, life) || roster.is_over(life)) continue;
    const RosterEntry* entry = roster.find(life.node);
    if (entry == nullptr) {
      const base::BootTime since = unknown_since_.try_emplace(life.node, now).first->second;
      membership::Record record;
      record.member.id = life;
      record.member.mode = Mode::ring;
      record.state = RecordState::expelled;
      if (now >= since + options_.lease) {
        expels.push_back({Revision(), std::move(record)});
      } else {
        wake_at(since + options_.lease);
      }
      continue;
    }
    unknown_since_.erase(life.node);
    if (entry->life != life || entry->present) continue;
    const base::BootTime over_at = entry->seen_at + entry->record.lease;
    if (now < over_at) {
      wake_at(over_at);
      continue;
    }
    membership::Record record = entry->record;
    record.state = RecordState::expelled;
    expels.push_back({entry->revision, std::move(record)});
  }
  return expels;
}

void Coordinator::wake_at(base::BootTime time) {
  next_tick_ = next_tick_ ? std::min(*next_tick_, time) : time;
}

std::vector<CoordinatorAction> Coordinator::take_actions() {
  return std::exchange(actions_, {});
}

}  // namespace litecluster::ring
