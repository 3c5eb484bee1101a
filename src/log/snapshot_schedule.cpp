#include "log/snapshot_schedule.hpp"

#include "log/compaction_schedule.hpp"

namespace litecluster::log {
namespace {

const Object* newest_complete(const LogView& view) {
  if (const auto& snapshots = view.level(snapshot_level); !snapshots.empty()) {
    return &snapshots.rbegin()->second;
  }
  const Object* newest = nullptr;
  for (int level = raw_level; level <= compaction_level_max; ++level) {
    for (const auto& [name, object] : view.level(level)) {
      if (name.min != Txid(1)) break;
      if (newest == nullptr || name.max > newest->name.max) newest = &object;
    }
  }
  return newest;
}

}  // namespace

bool snapshot_due(const LogView& view, Txid position, base::WallTime now, base::Duration interval) {
  if (position.is_zero()) return false;
  const Object* newest = newest_complete(view);
  if (newest == nullptr) return true;
  // A time stamp far in the future comes from a clock that was wrong and is right again.
  const auto future = now + std::chrono::ceil<std::chrono::milliseconds>(interval);
  return newest->name.max < position &&
         (newest->created_at < interval_start(now, interval) || newest->created_at > future);
}

}  // namespace litecluster::log
