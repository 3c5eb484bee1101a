#include "replication/lag_meter.hpp"

#include <algorithm>

namespace litecluster::replication {

void LagMeter::log_reaches(Txid end, base::BootTime now) {
  known_ = true;
  if (end == end_) return;
  end_ = end;
  if (end <= applied_) {
    waiting_.clear();
    return;
  }
  if (waiting_.empty()) progress_ = now;
  if (waiting_.size() >= entries_max) {
    waiting_.back().end = end;
  } else {
    waiting_.push_back({end, now});
  }
}

void LagMeter::applied(Txid txid, base::BootTime now) {
  applied_ = txid;
  progress_ = now;
  while (!waiting_.empty() && waiting_.front().end <= txid) waiting_.pop_front();
}

Lag LagMeter::lag(base::BootTime now) const {
  if (!known_) return {};
  if (end_ <= applied_) return {.txids = 0, .time = std::chrono::nanoseconds(0)};
  const auto since = waiting_.empty() ? base::Duration(0) : now - waiting_.front().at;
  return {.txids = end_.value() - applied_.value(), .time = since};
}

bool LagMeter::stalled(base::BootTime now) const {
  return known_ && end_ > applied_ && progress_ && now - *progress_ >= stall_after_;
}

}  // namespace litecluster::replication
