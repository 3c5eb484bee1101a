#include "log/settled_sequence.hpp"

#include "log/retention.hpp"

namespace litecluster::log {

namespace {

constexpr base::Duration sample_interval = std::chrono::seconds(5);

}  // namespace

void SettledSequence::note(base::BootTime now, Revision seen) {
  if (samples_.empty() || now - samples_.back().time >= sample_interval) samples_.push_back({now, seen});
}

Revision SettledSequence::at(base::BootTime now) {
  while (!samples_.empty() && now - samples_.front().time >= raw_grace_min) {
    settled_ = samples_.front().seen;
    samples_.pop_front();
  }
  return settled_;
}

}  // namespace litecluster::log
