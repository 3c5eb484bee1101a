// Which objects have certainly lain in the bucket for a while, by this machine's boot clock.
//
// Ages by wall-clock time stamps cannot tell: a clock that is set forward makes everything old at once, and
// then readers, and older leaders that have to find their names taken, lose the time that the grace gives
// them. So what may be removed is what this process saw in the bucket at least raw_grace_min ago; a new
// leader removes no L0 object before that.
#pragma once

#include <cstddef>
#include <deque>

#include <litecluster/types.hpp>

#include "base/clock.hpp"

namespace litecluster::log {

/// Pure; not thread-safe. Memory: one entry for each 5 s of raw_grace_min.
class SettledSequence {
 public:
  /// Everything up to `seen` is in the bucket now. Times do not go back.
  void note(base::BootTime now, Revision seen);
  /// Objects up to this sequence have been there for raw_grace_min; 0 when there is none.
  [[nodiscard]] Revision at(base::BootTime now);

 private:
  struct Sample {
    base::BootTime time;
    Revision seen;
  };
  std::deque<Sample> samples_;
  Revision settled_;
};

}  // namespace litecluster::log
