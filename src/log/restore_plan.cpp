#include "log/restore_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "log/timestamp.hpp"

namespace litecluster::log {
namespace {

constexpr const char* operation = "plan restore";

bool within(const Object& object, const RestoreTarget& target) {
  if (target.txid) return object.name.max <= *target.txid;
  if (target.time) return object.created_at < *target.time;
  return true;
}

bool is_better(const Object& candidate, const Object& best) {
  if (candidate.name.max != best.name.max) return candidate.name.max > best.name.max;
  if (candidate.name.min != best.name.min) return candidate.name.min < best.name.min;
  if (candidate.name.level != best.name.level) return candidate.name.level > best.name.level;
  return candidate.created_at < best.created_at;
}

/// Builds the chain in one pass over each level.
class Chain {
 public:
  Chain(const LogView& view, const RestoreTarget& target) : view_(view), target_(target) {
    for (int level = raw_level; level <= compaction_level_max; ++level) {
      cursors_[static_cast<std::size_t>(level)] = view.level(level).begin();
    }
  }

  RestorePlan build_onward(Txid from, const Object* last) {
    reached_ = from;
    last_ = last;
    extend();
    return std::move(plan_);
  }

  RestorePlan build() {
    add_snapshot();
    extend();
    return std::move(plan_);
  }

  [[nodiscard]] Txid reached() const { return reached_; }
  /// It ends before an object that was made on another state.
  [[nodiscard]] const Object* seam() const { return seam_; }

 private:
  [[nodiscard]] bool finished() const { return target_.txid && reached_ == *target_.txid; }

  void extend() {
    while (!finished()) {
      advance_cursors();
      if (best_ == nullptr || best_->name.max <= reached_) break;
      if (last_ != nullptr && !was_made_on(*best_, *last_)) {
        seam_ = best_;
        break;
      }
      take(*best_);
    }
  }

  void take(const Object& object) {
    plan_.objects.push_back(object);
    last_ = &object;
    reached_ = object.name.max;
  }

  void add_snapshot() {
    const LogView::Level& snapshots = view_.level(snapshot_level);
    const auto found = std::find_if(snapshots.rbegin(), snapshots.rend(),
                                    [this](const auto& entry) { return within(entry.second, target_); });
    if (found != snapshots.rend()) take(found->second);
  }

  /// Looks at the objects that have become reachable. What was reachable once stays so, therefore the best of
  /// all seen so far is the best of all.
  void advance_cursors() {
    for (int level = raw_level; level <= compaction_level_max; ++level) {
      auto& cursor = cursors_[static_cast<std::size_t>(level)];
      const auto end = view_.level(level).end();
      for (; cursor != end && cursor->first.min <= reached_.next(); ++cursor) {
        if (!within(cursor->second, target_)) continue;
        if (best_ == nullptr || is_better(cursor->second, *best_)) best_ = &cursor->second;
      }
    }
  }

  const LogView& view_;
  const RestoreTarget& target_;
  std::array<LogView::Level::const_iterator, compaction_level_max + 1> cursors_;
  RestorePlan plan_;
  Txid reached_;
  const Object* best_ = nullptr;
  const Object* last_ = nullptr;  ///< of the view, or what was applied before
  const Object* seam_ = nullptr;
};

template <typename Predicate>
const Object* first_object(const LogView& view, Predicate predicate) {
  const Object* first = nullptr;
  for (int level = raw_level; level <= snapshot_level; ++level) {
    for (const auto& [name, object] : view.level(level)) {
      if (predicate(object) && (first == nullptr || name.min < first->name.min)) first = &object;
    }
  }
  return first;
}

std::unexpected<Error> gap_after(Txid reached, const Object& next) {
  return failure(ErrorCode::gap, operation, to_string(next.name),
                 fmt::format("the log has a hole: TXIDs {} to {} are in no object", to_string(reached.next()),
                             to_string(next.name.min.previous())));
}

std::unexpected<Error> gap_at(const Object& seam) {
  return failure(
      ErrorCode::gap, operation, to_string(seam.name),
      fmt::format("it was made on another state of TXID {} than the log has: servers lost that one",
                  to_string(seam.name.min.previous())));
}

/// The smallest TXID above `txid` that can be restored, given that `reached` is the largest not above it.
std::optional<Txid> nearest_after(const LogView& view, Txid txid, Txid reached) {
  std::optional<Txid> nearest;
  for (int level = raw_level; level <= snapshot_level; ++level) {
    for (const auto& [name, object] : view.level(level)) {
      if (name.min > reached.next()) break;
      if (name.max > txid && (!nearest || name.max < *nearest)) nearest = name.max;
    }
  }
  return nearest;
}

Error txid_not_available(const LogView& view, Txid txid, Txid reached) {
  std::string reason;
  if (const LogEnd end = view.end(); txid > end.txid) {
    reason = fmt::format("the log ends at TXID {}", to_string(end.txid));
  } else {
    reason = "it was merged into a larger object or has been removed";
    if (!reached.is_zero()) reason += fmt::format("; the nearest before it is {}", to_string(reached));
    if (const auto after = nearest_after(view, txid, reached)) {
      reason += fmt::format("; the nearest after it is {}", to_string(*after));
    }
  }
  return {ErrorCode::not_found, operation, "TXID " + to_string(txid), std::move(reason)};
}

/// Nothing before the time could be restored: says from when on that is possible.
Error time_not_available(const LogView& view, base::WallTime time) {
  const Object* earliest = nullptr;
  for (int level = raw_level; level <= snapshot_level; ++level) {
    for (const auto& [name, object] : view.level(level)) {
      if (name.min != Txid(1)) break;
      if (earliest == nullptr || object.created_at < earliest->created_at) earliest = &object;
    }
  }
  const std::string reason =
      earliest == nullptr
          ? "the bucket holds no complete state (no object begins at TXID 1)"
          : fmt::format("the earliest state is that of {}", format_timestamp(earliest->created_at));
  return {ErrorCode::not_found, operation, "time " + format_timestamp(time), reason};
}

Status check_target(const LogView& view, const RestoreTarget& target) {
  if (target.txid && (target.time || target.txid->is_zero())) {
    return failure(ErrorCode::invalid_argument, operation, "", "give a TXID above 0 or a time, not both");
  }
  if (view.end().txid.is_zero()) {
    return failure(ErrorCode::not_found, operation, "", "the bucket holds no LTX objects");
  }
  return {};
}

/// Whether a chain that reaches this far is what was asked for.
Status check_reached(const LogView& view, const RestoreTarget& target, const Chain& chain) {
  const Txid reached = chain.reached();
  if (chain.seam() != nullptr && reached != target.txid) return gap_at(*chain.seam());
  if (target.txid) {
    if (reached != *target.txid) return std::unexpected(txid_not_available(view, *target.txid, reached));
    return {};
  }
  // An object that should be part of the state but cannot be reached. With a time as target the way to it may
  // also be blocked by an object from after the time; that is no hole.
  const Object* beyond = first_object(
      view, [&](const Object& object) { return object.name.min > reached.next() && within(object, target); });
  const Object* bridge = first_object(view, [&](const Object& object) {
    return object.name.min <= reached.next() && object.name.max > reached;
  });
  if (beyond != nullptr && bridge == nullptr) return gap_after(reached, *beyond);
  if (reached.is_zero() && target.time) return std::unexpected(time_not_available(view, *target.time));
  return {};
}

}  // namespace

std::uint64_t RestorePlan::size() const {
  std::uint64_t total = 0;
  for (const Object& object : objects) total += object.size;
  return total;
}

Result<RestorePlan> plan_restore(const LogView& view, const RestoreTarget& target) {
  if (auto checked = check_target(view, target); !checked) return std::unexpected(checked.error());
  Chain chain(view, target);
  RestorePlan plan = chain.build();
  if (auto checked = check_reached(view, target, chain); !checked) {
    return std::unexpected(checked.error());
  }
  return plan;
}

Result<RestorePlan> plan_reachable(const LogView& view) {
  const RestoreTarget target = RestoreTarget::latest();
  if (auto checked = check_target(view, target); !checked) return std::unexpected(checked.error());
  RestorePlan plan = Chain(view, target).build();
  if (!plan.objects.empty()) return plan;
  return failure(ErrorCode::not_found, operation, "", "the bucket holds no object that begins at TXID 1");
}

namespace {

Result<RestorePlan> plan_onward(const LogView& view, Txid from, const Object* last,
                                const RestoreTarget& target) {
  if (auto checked = check_target(view, target); !checked) return std::unexpected(checked.error());
  Chain chain(view, target);
  RestorePlan plan = chain.build_onward(from, last);
  if (auto checked = check_reached(view, target, chain); !checked) {
    return std::unexpected(checked.error());
  }
  return plan;
}

}  // namespace

Result<RestorePlan> plan_onward(const LogView& view, Txid from, const RestoreTarget& target) {
  return plan_onward(view, from, nullptr, target);
}

Result<RestorePlan> plan_onward(const LogView& view, const Object& last, const RestoreTarget& target) {
  return plan_onward(view, last.name.max, &last, target);
}

}  // namespace litecluster::log
