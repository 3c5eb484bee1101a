// What this process knows about partitions, for readers on any thread that must not wait.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/ring.hpp>

#include "base/clock.hpp"
#include "base/mutex.hpp"
#include "ring/assignment.hpp"

namespace litecluster::ring {

/// One thread writes, any number read.
class OwnershipTable {
 public:
  explicit OwnershipTable(std::uint32_t partitions);

  // Readers.
  [[nodiscard]] std::uint32_t partitions() const { return partitions_; }
  /// Lock-free. Valid as long as the table lives: names of nodes are kept for good.
  [[nodiscard]] std::string_view owner(Partition partition) const {
    const std::string* name = cells_[partition.value()].owner.load(std::memory_order_acquire);
    return name == nullptr ? std::string_view() : std::string_view(*name);
  }
  /// Lock-free.
  [[nodiscard]] bool owns(Partition partition) const {
    return cells_[partition.value()].owned.load() &&
           base::BootClock::now().time_since_epoch().count() < deadline_.load(std::memory_order_acquire);
  }
  [[nodiscard]] std::vector<RingAssignment> assignments() const;
  [[nodiscard]] RingVersion version() const { return RingVersion(version_.load(std::memory_order_acquire)); }
  /// Waits until another version or ownership is known than at `change`, which change() returned before.
  bool wait_for_change(const Context& context, std::uint64_t change, std::chrono::nanoseconds limit) const;
  [[nodiscard]] std::uint64_t change() const { return change_.load(std::memory_order_acquire); }

  /// A request for the partition begins: false when it is not owned. Otherwise leave() has to follow, and
  /// release waits for it.
  [[nodiscard]] bool enter(Partition partition);
  void leave(Partition partition);
  /// Waits until no request of these partitions is running; they are not owned any more.
  [[nodiscard]] Status wait_idle(const Context& context, const std::vector<Partition>& partitions) const;

  // The writer.
  void set_assignment(std::shared_ptr<const Assignment> assignment);
  void set_owned(Partition partition, bool owned);
  void set_deadline(std::int64_t boot_time_ns);
  void announce();

 private:
  struct Cell {
    std::atomic<const std::string*> owner{nullptr};
    std::atomic<std::uint32_t> running{0};
    std::atomic<bool> owned{false};
  };

  const std::uint32_t partitions_;
  std::vector<Cell> cells_;
  std::atomic<std::int64_t> deadline_{0};
  std::atomic<std::uint64_t> version_{0};
  std::atomic<std::uint64_t> change_{0};

  mutable base::Mutex mutex_;
  mutable base::ConditionVariable changed_;
  std::shared_ptr<const Assignment> assignment_ LITECLUSTER_GUARDED_BY(mutex_);
  std::set<std::string, std::less<>> names_ LITECLUSTER_GUARDED_BY(mutex_);
};

}  // namespace litecluster::ring
