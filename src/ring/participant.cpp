#include "ring/participant.hpp"

#include <algorithm>
#include <utility>

namespace litecluster::ring {
namespace {

constexpr base::Duration own_retry_first = std::chrono::seconds(1);
constexpr base::Duration own_retry_max = std::chrono::seconds(30);

}  // namespace

void Participant::life_begun(base::BootTime now, const MemberId& life, base::BootTime deadline) {
  life_ = life;
  deadline_ = deadline;
  settle_ = false;
  self_ = assignment_ ? assignment_->index_of(life) : nobody;
  advance(now);
}

void Participant::life_over(base::BootTime now) {
  life_.reset();
  self_ = nobody;
  settle_ = true;
  advance(now);
}

void Participant::assignment_seen(base::BootTime now, std::shared_ptr<const Assignment> assignment) {
  if (assignment_ && assignment->version <= assignment_->version) return;
  if (assignment->slots.size() != states_.size()) return;
  assignment_ = std::move(assignment);
  self_ = life_ ? assignment_->index_of(*life_) : nobody;
  advance(now);
}

void Participant::hook_done(base::BootTime now, bool succeeded) {
  if (hook_ == Hook::none) return;
  const bool owning = hook_ == Hook::own;
  for (const Partition partition : hook_partitions_) {
    states_[partition.value()] = owning && succeeded ? State::owned : State::idle;
  }
  if (owning && succeeded) {
    forget_failure();
  } else if (owning && !hook_cancelled_) {
    failing_ = true;
    retry_at_ = now + own_retry_;
    own_retry_ = std::min(own_retry_max, own_retry_ * 2);
  }
  hook_ = Hook::none;
  hook_cancelled_ = false;
  hook_partitions_.clear();
  advance(now);
}

void Participant::tick(base::BootTime now) {
  if ((retry_at_ && now >= *retry_at_) || now >= deadline_) advance(now);
}

bool Participant::wanted(std::size_t partition, std::uint16_t self) const {
  if (self == nobody) return false;
  const Slot& slot = assignment_->slots[partition];
  return slot.holder == self && slot.target == self;
}

bool Participant::must_acknowledge(std::uint16_t self) const {
  if (self == nobody || acknowledged_ >= assignment_->version) return false;
  return std::ranges::any_of(assignment_->slots,
                             [&](const Slot& slot) { return slot.holder == self && slot.target != self; });
}

void Participant::advance(base::BootTime now) {
  const std::uint16_t self = now < deadline_ ? self_ : nobody;
  if (hook_ != Hook::none) {
    const bool lost = std::ranges::any_of(
        hook_partitions_, [&](Partition partition) { return !wanted(partition.value(), self); });
    if (hook_ == Hook::own && lost && !std::exchange(hook_cancelled_, true)) {
      actions_.emplace_back(CancelHook{});
    }
    return;
  }
  start_release(self);
  if (hook_ != Hook::none) return;
  // Nothing is owned now that is not wanted.
  if (must_acknowledge(self)) {
    acknowledged_ = assignment_->version;
    actions_.emplace_back(AcknowledgeRelease{acknowledged_});
  }
  if (failing_ && !lacks_any(self)) forget_failure();
  if (settle_) {
    settle_ = false;
    actions_.emplace_back(RingSettled{});
    return;
  }
  if (retry_at_) {
    if (now < *retry_at_) return;
    retry_at_.reset();
  }
  start_own(self);
}

bool Participant::lacks_any(std::uint16_t self) const {
  for (std::size_t partition = 0; partition < states_.size(); ++partition) {
    if (states_[partition] == State::idle && wanted(partition, self)) return true;
  }
  return false;
}

void Participant::forget_failure() {
  failing_ = false;
  own_retry_ = own_retry_first;
  retry_at_.reset();
}

void Participant::start_release(std::uint16_t self) {
  for (std::size_t partition = 0; partition < states_.size(); ++partition) {
    if (states_[partition] != State::owned || wanted(partition, self)) continue;
    states_[partition] = State::releasing;
    hook_partitions_.emplace_back(static_cast<std::uint32_t>(partition));
  }
  if (hook_partitions_.empty()) return;
  hook_ = Hook::release;
  actions_.emplace_back(RunRelease{hook_partitions_, assignment_->version, self == nobody});
}

void Participant::start_own(std::uint16_t self) {
  for (std::size_t partition = 0; partition < states_.size(); ++partition) {
    if (states_[partition] != State::idle || !wanted(partition, self)) continue;
    states_[partition] = State::owning;
    hook_partitions_.emplace_back(static_cast<std::uint32_t>(partition));
  }
  if (hook_partitions_.empty()) return;
  hook_ = Hook::own;
  actions_.emplace_back(RunOwn{hook_partitions_, assignment_->version});
}

std::vector<ParticipantAction> Participant::take_actions() {
  return std::exchange(actions_, {});
}

std::optional<base::BootTime> Participant::next_tick() const {
  std::optional<base::BootTime> next = hook_ == Hook::none ? retry_at_ : std::nullopt;
  if (life_) next = next ? std::min(*next, deadline_) : deadline_;
  return next;
}

}  // namespace litecluster::ring
