#include "log/retention.hpp"

#include <algorithm>
#include <chrono>

#include "log/restore_plan.hpp"

namespace litecluster::log {
namespace {

using std::chrono::milliseconds;

/// A clock that gains no more than this between two looks is fine.
constexpr base::Duration drift_max = std::chrono::minutes(1);

/// Whether an object is past the grace. A time stamp from the future comes from a clock that was wrong and is
/// right again: waiting for that time to come would stop retention until then.
class Grace {
 public:
  Grace(base::WallTime now, base::Duration grace)
      : start_(now - std::chrono::ceil<milliseconds>(grace)),
        future_(now + std::chrono::ceil<milliseconds>(drift_max)) {}

  [[nodiscard]] bool is_over(const Object& object) const {
    return object.created_at < start_ || object.created_at > future_;
  }

 private:
  base::WallTime start_;
  base::WallTime future_;
};

/// Tells for ascending TXIDs whether a compacted object holds them. Objects that reach into the grace do not
/// count: a TXID inside of them that is still promised is reached only through the raw objects before it.
class Coverage {
 public:
  Coverage(const LogView& view, const Grace& grace) {
    for (int level = 1; level <= compaction_level_max; ++level) {
      for (const auto& [name, object] : view.level(level)) {
        if (grace.is_over(object)) ranges_.push_back({name.min, name.max});
      }
    }
    std::ranges::sort(ranges_, {}, &TxidRange::min);
  }

  /// Call it with ascending ranges.
  bool contains(const ObjectName& name) {
    for (; next_ < ranges_.size() && ranges_[next_].min <= name.min; ++next_) {
      reaches_ = std::max(reaches_, ranges_[next_].max);
    }
    return name.max <= reaches_;
  }

 private:
  std::vector<TxidRange> ranges_;
  std::size_t next_ = 0;
  Txid reaches_;
};

const Object* find_base(const LogView& view, base::WallTime cutoff) {
  const auto& snapshots = view.level(snapshot_level);
  const auto found = std::find_if(snapshots.rbegin(), snapshots.rend(),
                                  [cutoff](const auto& entry) { return entry.second.created_at < cutoff; });
  return found == snapshots.rend() ? nullptr : &found->second;
}

class Planner {
 public:
  Planner(const LogView& view, const RetentionPolicy& policy, const RetentionTimes& times, Revision settled)
      : view_(view),
        settled_(settled),
        grace_(times.now, std::max(policy.raw_grace, raw_grace_min)),
        cutoff_(times.history - std::chrono::ceil<milliseconds>(policy.retention)),
        base_(find_base(view, cutoff_)) {}

  std::vector<Object> plan() {
    // First what is stale: that it is, is told by raw objects that may go once it is gone.
    add_stale();
    add_raw();
    for (int level = 1; level <= compaction_level_max; ++level) add_compacted(view_.level(level));
    add_snapshots();
    return std::move(removals_);
  }

 private:
  [[nodiscard]] bool is_before_base(const Object& object) const {
    return base_ != nullptr && object.name.max <= base_->name.max && object.created_at < cutoff_;
  }

  // What makes a stale object stale, when it is an object that may go.
  [[nodiscard]] static bool is_witness(const Object& object, const Object& stale) {
    return object.author && object.author->epoch > stale.author->epoch && object.sequence < stale.sequence;
  }

  // Stale objects that the newest raw object, which stays, does not show to be stale. Those that go now are
  // among them, since a removal can fail.
  [[nodiscard]] std::vector<const Object*> without_witness() const {
    std::vector<const Object*> objects;
    const LogView::Level& raw = view_.level(raw_level);
    for (const auto& [name, object] : view_.stale()) {
      if (raw.empty() || !is_witness(raw.rbegin()->second, object)) objects.push_back(&object);
    }
    return objects;
  }

  void add_raw() {
    Coverage coverage(view_, grace_);
    const auto unwitnessed = without_witness();
    const LogView::Level& raw = view_.level(raw_level);
    for (auto entry = raw.begin(); entry != raw.end() && std::next(entry) != raw.end(); ++entry) {
      const Object& object = entry->second;
      const bool replaceable = coverage.contains(object.name) || is_before_base(object);
      if (!replaceable || !grace_.is_over(object) || object.sequence > settled_) return;
      // Whoever lists the log anew has to know what is stale.
      const bool is_needed =
          std::ranges::any_of(unwitnessed, [&](const Object* stale) { return is_witness(object, *stale); });
      if (is_needed) continue;
      removals_.push_back(object);
    }
  }

  void add_compacted(const LogView::Level& level) {
    for (auto entry = level.begin(); entry != level.end() && std::next(entry) != level.end(); ++entry) {
      if (is_before_base(entry->second)) removals_.push_back(entry->second);
    }
  }

  void add_snapshots() {
    for (const auto& [name, object] : view_.level(snapshot_level)) {
      if (is_before_base(object) && name != base_->name) removals_.push_back(object);
    }
  }

  void add_stale() {
    const Txid end = view_.end().txid;
    for (const auto& [name, object] : view_.stale()) {
      const bool old = grace_.is_over(object) && object.sequence <= settled_;
      if (name.max <= end && old) removals_.push_back(object);
    }
  }

  const LogView& view_;
  Revision settled_;
  Grace grace_;
  base::WallTime cutoff_;
  const Object* base_;
  std::vector<Object> removals_;
};

}  // namespace

RetentionClock::RetentionClock(base::WallTime newest_in_log, base::WallTime wall, base::BootTime boot)
    : wall_(std::min(newest_in_log, wall)), boot_(boot) {}

RetentionTimes RetentionClock::at(base::WallTime wall, base::BootTime boot, const RetentionPolicy& policy) {
  const base::WallTime counted = wall_ + std::chrono::floor<milliseconds>(boot - boot_);
  if (wall > counted + drift_max) {
    if (!ahead_since_) ahead_since_ = boot;
    if (boot - *ahead_since_ < policy.retention) return {wall, counted};
  }
  ahead_since_.reset();
  wall_ = wall;
  boot_ = boot;
  return {wall, wall};
}

Result<std::vector<Object>> plan_retention(const LogView& view, const RetentionPolicy& policy,
                                           const RetentionTimes& times, Revision settled) {
  auto removals = Planner(view, policy, times, settled).plan();
  if (removals.size() > policy.removals_max) removals.resize(policy.removals_max);
  if (removals.empty()) return removals;
  const auto before = plan_restore(view, RestoreTarget::latest());
  // Already broken: removing would only make it harder to repair.
  if (!before) return std::unexpected(before.error().within("plan retention"));
  LogView rest = view;
  for (const Object& object : removals) rest.forget(object.name);
  const auto after = plan_restore(rest, RestoreTarget::latest());
  if (!after || after->txid() != before->txid()) {
    return failure(ErrorCode::internal, "plan retention", "",
                   "removing what is due would make the latest state impossible to restore");
  }
  return removals;
}

}  // namespace litecluster::log
