// When the leader merges which objects.
//
// Each configured level collects what the level below it (the log itself for the first) wrote within one
// interval of wall time, aligned to multiples of the interval since 1970, once the interval is over. An
// object belongs to the interval of its time stamp, that is of its last transaction. So no compacted object
// ever spans more than one interval, also when compaction comes late, and a restore to a time loses at most
// that much detail.
//
// Time stamps may jump with the wall clock. Objects are therefore taken in TXID order up to the first one of
// a later interval; those that go back stay with what is before them. Objects from the future do not wait for
// ever: a full batch is merged at once.
#pragma once

#include <optional>
#include <vector>

#include <litecluster/error.hpp>

#include "log/log_view.hpp"
#include "log/object.hpp"

namespace litecluster::log {

struct CompactionLevel {
  /// 1 to 8.
  int level = 1;
  /// At least a second.
  base::Duration interval{};
};

struct CompactionOptions {
  /// Ascending by level; intervals ascending too. Empty: no compaction.
  std::vector<CompactionLevel> levels{
      {1, std::chrono::seconds(10)}, {2, std::chrono::minutes(5)}, {3, std::chrono::hours(1)}};
  /// Limits of one merge; a single object above the byte limit is still taken.
  std::size_t inputs_max = 256;
  std::uint64_t input_bytes_max = std::uint64_t{128} << 20U;
};

/// Inputs in TXID order, each continuing or overlapping the one before.
struct CompactionJob {
  int level = 1;
  std::vector<Object> inputs{};

  [[nodiscard]] ObjectName output() const { return {level, inputs.front().name.min, inputs.back().name.max}; }
};

/// Pure; not thread-safe.
class CompactionSchedule {
 public:
  /// Error: invalid_argument when the levels are not as CompactionOptions demands.
  [[nodiscard]] static Result<CompactionSchedule> create(CompactionOptions options);

  /// The next merge that is due, lower levels first; nothing when all is done. Ask again after it was done.
  [[nodiscard]] std::optional<CompactionJob> next(const LogView& view, base::WallTime now) const;
  /// The next time at which something may become due.
  [[nodiscard]] base::WallTime next_time(base::WallTime now) const;

 private:
  explicit CompactionSchedule(CompactionOptions options) : options_(std::move(options)) {}
  [[nodiscard]] std::optional<CompactionJob> job_for(std::size_t index, const LogView& view,
                                                     base::WallTime now) const;

  CompactionOptions options_;
};

/// The start of the interval that `time` lies in.
[[nodiscard]] base::WallTime interval_start(base::WallTime time, base::Duration interval);

}  // namespace litecluster::log
