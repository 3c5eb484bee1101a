#include "ring/ownership_table.hpp"

#include <algorithm>
#include <utility>

namespace litecluster::ring {

OwnershipTable::OwnershipTable(std::uint32_t partitions) : partitions_(partitions), cells_(partitions) {}

std::vector<RingAssignment> OwnershipTable::assignments() const {
  std::shared_ptr<const Assignment> assignment;
  {
    const base::MutexLock lock(mutex_);
    assignment = assignment_;
  }
  std::vector<RingAssignment> list(partitions_);
  for (std::uint32_t partition = 0; partition < partitions_; ++partition) {
    RingAssignment& entry = list[partition];
    entry.partition = Partition(partition);
    if (!assignment) continue;
    const Slot& slot = assignment->slots[partition];
    if (const MemberId* target = assignment->member(slot.target)) entry.owner = target->node;
    if (slot.holder == slot.target) continue;
    if (const MemberId* holder = assignment->member(slot.holder)) entry.releasing = holder->node;
  }
  return list;
}

bool OwnershipTable::wait_for_change(const Context& context, std::uint64_t change,
                                     std::chrono::nanoseconds limit) const {
  const auto registration = context.on_cancel([this] {
    const base::MutexLock lock(mutex_);
    changed_.notify_all();
  });
  const auto until = std::chrono::steady_clock::now() + context.remaining(limit);
  base::MutexLock lock(mutex_);
  while (this->change() == change && !context.done()) {
    if (!changed_.wait_until(lock, until)) break;
  }
  return this->change() != change;
}

bool OwnershipTable::enter(Partition partition) {
  // The order matters: whoever takes `owned` away looks at `running` afterwards.
  cells_[partition.value()].running.fetch_add(1);
  if (owns(partition)) return true;
  leave(partition);
  return false;
}

void OwnershipTable::leave(Partition partition) {
  Cell& cell = cells_[partition.value()];
  if (cell.running.fetch_sub(1) != 1 || cell.owned.load()) return;
  const base::MutexLock lock(mutex_);
  changed_.notify_all();
}

Status OwnershipTable::wait_idle(const Context& context, const std::vector<Partition>& partitions) const {
  const auto registration = context.on_cancel([this] {
    const base::MutexLock lock(mutex_);
    changed_.notify_all();
  });
  base::MutexLock lock(mutex_);
  while (std::ranges::any_of(
      partitions, [&](Partition partition) { return cells_[partition.value()].running.load() != 0; })) {
    if (auto status = context.status("wait for running requests"); !status) return status;
    changed_.wait_for(lock, context.remaining(std::chrono::milliseconds(100)));
  }
  return {};
}

void OwnershipTable::set_assignment(std::shared_ptr<const Assignment> assignment) {
  if (assignment->slots.size() != partitions_) return;
  const base::MutexLock lock(mutex_);
  std::vector<const std::string*> names;
  names.reserve(assignment->members.size());
  for (const MemberId& member : assignment->members) names.push_back(&*names_.insert(member.node).first);
  for (std::uint32_t partition = 0; partition < partitions_; ++partition) {
    const Slot& slot = assignment->slots[partition];
    // While it moves, requests go to where it will be: they wait there, and fail here.
    cells_[partition].owner.store(slot.target == nobody ? nullptr : names[slot.target],
                                  std::memory_order_release);
  }
  version_.store(assignment->version.value(), std::memory_order_release);
  assignment_ = std::move(assignment);
  change_.fetch_add(1);
  changed_.notify_all();
}

void OwnershipTable::set_owned(Partition partition, bool owned) {
  cells_[partition.value()].owned.store(owned);
}

void OwnershipTable::set_deadline(std::int64_t boot_time_ns) {
  deadline_.store(boot_time_ns, std::memory_order_release);
}

void OwnershipTable::announce() {
  const base::MutexLock lock(mutex_);
  change_.fetch_add(1);
  changed_.notify_all();
}

}  // namespace litecluster::ring
