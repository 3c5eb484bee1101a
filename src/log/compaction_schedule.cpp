#include "log/compaction_schedule.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace litecluster::log {
namespace {

/// The first object of a level that holds anything above `after`, provided that levels are sorted by min.
LogView::Level::const_iterator first_above(const LogView::Level& level, Txid after) {
  return std::ranges::find_if(level, [after](const auto& entry) { return entry.first.max > after; });
}

Txid highest_max(const LogView::Level& level) {
  Txid highest;
  for (const auto& [name, object] : level) highest = std::max(highest, name.max);
  return highest;
}

}  // namespace

base::WallTime interval_start(base::WallTime time, base::Duration interval) {
  const auto step = std::chrono::duration_cast<std::chrono::milliseconds>(interval);
  auto into = time.time_since_epoch() % step;
  if (into < into.zero()) into += step;
  return time - into;
}

Result<CompactionSchedule> CompactionSchedule::create(CompactionOptions options) {
  constexpr const char* operation = "configure compaction";
  const CompactionLevel* previous = nullptr;
  for (const CompactionLevel& level : options.levels) {
    const std::string subject = fmt::format("level {}", level.level);
    if (level.level < 1 || level.level > compaction_level_max) {
      return failure(ErrorCode::invalid_argument, operation, subject, "levels go from 1 to 8");
    }
    if (level.interval < std::chrono::seconds(1)) {
      return failure(ErrorCode::invalid_argument, operation, subject, "the interval is less than a second");
    }
    if (previous != nullptr && (level.level <= previous->level || level.interval < previous->interval)) {
      return failure(ErrorCode::invalid_argument, operation, subject,
                     "levels and their intervals have to ascend");
    }
    previous = &level;
  }
  if (options.inputs_max < 2) {
    return failure(ErrorCode::invalid_argument, operation, "", "a merge takes at least two objects");
  }
  return CompactionSchedule(std::move(options));
}

std::optional<CompactionJob> CompactionSchedule::job_for(std::size_t index, const LogView& view,
                                                         base::WallTime now) const {
  const CompactionLevel& destination = options_.levels[index];
  const LogView::Level& source = view.level(index == 0 ? raw_level : options_.levels[index - 1].level);
  Txid reached = highest_max(view.level(destination.level));
  auto next = first_above(source, reached);
  if (next == source.end()) return std::nullopt;
  const base::WallTime interval = interval_start(next->second.created_at, destination.interval);
  CompactionJob job{.level = destination.level};
  std::uint64_t bytes = 0;
  bool full = false;
  bool closed = interval < interval_start(now, destination.interval);
  for (; next != source.end(); ++next) {
    const auto& [name, object] = *next;
    if (name.max <= reached) continue;
    // What was lost in between cannot be merged over; the next job starts behind the hole.
    const bool follows = job.inputs.empty() || was_made_on(object, job.inputs.back());
    if (!follows || (!job.inputs.empty() && name.min > reached.next())) {
      closed = true;
      break;
    }
    if (interval_start(object.created_at, destination.interval) > interval) {
      closed = true;
      break;
    }
    full = job.inputs.size() == options_.inputs_max ||
           (!job.inputs.empty() && bytes + object.size > options_.input_bytes_max);
    if (full) break;
    job.inputs.push_back(object);
    bytes += object.size;
    reached = name.max;
  }
  if (!closed && !full) return std::nullopt;
  return job;
}

std::optional<CompactionJob> CompactionSchedule::next(const LogView& view, base::WallTime now) const {
  for (std::size_t index = 0; index < options_.levels.size(); ++index) {
    if (auto job = job_for(index, view, now)) return job;
  }
  return std::nullopt;
}

base::WallTime CompactionSchedule::next_time(base::WallTime now) const {
  base::WallTime earliest = base::WallTime::max();
  for (const CompactionLevel& level : options_.levels) {
    const auto step = std::chrono::duration_cast<std::chrono::milliseconds>(level.interval);
    earliest = std::min(earliest, interval_start(now, level.interval) + step);
  }
  return earliest;
}

}  // namespace litecluster::log
