#include "locks/lock_machine.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace litecluster::locks {

Actions LockMachine::start() {
  Actions actions;
  read(actions);
  return actions;
}

Actions LockMachine::observed(base::BootTime now, const Observation& observation) {
  Actions actions;
  learn(now, observation);
  decide(now, actions);
  return actions;
}

Actions LockMachine::read_done(base::BootTime now, const std::optional<Observation>& observation) {
  Actions actions;
  read_open_ = false;
  if (observation) {
    learn(now, *observation);
    read_wanted_ = false;
    // The server refused this very revision and still names it: do not spin.
    if (refused_ == known_->revision) retry_at_ = now + pause();
  } else {
    retry_at_ = now + pause();
  }
  decide(now, actions);
  return actions;
}

Actions LockMachine::write_done(base::BootTime now, base::BootTime sent_at, WriteOutcome outcome,
                                Revision revision) {
  Actions actions;
  const auto [expected, written] = *std::exchange(write_open_, std::nullopt);
  // A reply that comes after the deadline no longer saves the hold.
  if (state_ == State::held && now >= deadline_) lose("not renewed in time", actions);
  switch (outcome) {
    case WriteOutcome::done:
      unresolved_ = false;
      refused_.reset();
      learn(now, {.revision = revision, .record = written});
      if (state_ == State::claiming && ours() && now < sent_at + usable_lease()) {
        acquire(sent_at, actions);
      } else if (state_ == State::held) {
        deadline_ = std::max(deadline_, sent_at + usable_lease());
        renew_at_ = sent_at + renew_interval();
      }
      break;
    case WriteOutcome::conflict:
      read_wanted_ = true;
      refused_ = expected;
      break;
    case WriteOutcome::unknown:
      read_wanted_ = true;
      retry_at_ = now + pause();
      unresolved_ = ours() || known_->revision == expected;
      if (state_ != State::claiming) break;
      if (open_bids_.size() == open_bids_max) open_bids_.erase(open_bids_.begin());
      open_bids_.push_back({written.hold, sent_at});
      break;
  }
  decide(now, actions);
  return actions;
}

Actions LockMachine::tick(base::BootTime now) {
  Actions actions;
  decide(now, actions);
  return actions;
}

Actions LockMachine::end(base::BootTime now) {
  Actions actions;
  if (state_ == State::finished || state_ == State::ending) return actions;
  if (state_ == State::held && now >= deadline_) lose("not renewed in time", actions);
  state_ = State::ending;
  give_up_at_ = now + options_.lease;
  retry_at_ = now;
  decide(now, actions);
  return actions;
}

std::optional<base::BootTime> LockMachine::wake_at() const {
  const bool waiting = write_open_ || read_open_;
  switch (state_) {
    case State::claiming:
      if (waiting) return std::nullopt;
      if (read_wanted_ || !held_by_other()) return retry_at_;
      return std::max(retry_at_, known_->since + known_->record->lease);
    case State::held:
      if (waiting) return deadline_;
      return std::min(deadline_, read_wanted_ ? retry_at_ : std::max(renew_at_, retry_at_));
    case State::ending: return waiting ? give_up_at_ : std::min(give_up_at_, retry_at_);
    case State::lost:
    case State::finished: return std::nullopt;
  }
  return std::nullopt;
}

std::optional<std::pair<Revision, base::BootTime>> LockMachine::seen() const {
  if (!held_by_other()) return std::nullopt;
  return std::pair(known_->revision, known_->since);
}

void LockMachine::learn(base::BootTime now, const Observation& observation) {
  if (known_ && observation.revision <= known_->revision) {
    if (observation.revision == known_->revision) {
      known_->floor = std::max(known_->floor, observation.floor);
      return;
    }
    // Older than what we know, unless somebody purged the key and nothing is left of it.
    const bool gone = observation.revision.is_zero() && observation.floor >= known_->revision.value();
    if (!gone) return;
  }
  known_ = Known{.revision = observation.revision,
                 .record = observation.record,
                 .floor = observation.floor,
                 .since = now};
  if (options_.seen_before && options_.seen_before->first == observation.revision) {
    known_->since = std::min(now, options_.seen_before->second);
  }
  // An open write named an older revision: if it is not in here, it never will be.
  if (!ours()) unresolved_ = false;
}

void LockMachine::decide(base::BootTime now, Actions& actions) {
  switch (state_) {
    case State::claiming: decide_claim(now, actions); break;
    case State::held: decide_held(now, actions); break;
    case State::ending: decide_end(now, actions); break;
    case State::lost:
    case State::finished: break;
  }
}

void LockMachine::decide_claim(base::BootTime now, Actions& actions) {
  if (write_open_ || read_open_) return;
  if (read_wanted_) {
    if (now >= retry_at_) read(actions);
    return;
  }
  if (const auto sent_at = open_bid_in_record(); sent_at && now < *sent_at + usable_lease()) {
    return acquire(*sent_at, actions);
  }
  if (held_by_other() && now < known_->since + known_->record->lease) {
    if (options_.wait) return;
    state_ = State::finished;
    actions.emplace_back(action::Refused{known_->record->node});
    return;
  }
  if (now >= retry_at_) bid(actions);
}

void LockMachine::decide_held(base::BootTime now, Actions& actions) {
  if (now >= deadline_) return lose("not renewed in time", actions);
  if (!ours()) {
    if (!known_->record) return lose("its record was deleted", actions);
    return lose(known_->record->held ? "taken over by " + known_->record->node : "released by somebody else",
                actions);
  }
  if (unresolved_ && !read_wanted_ && !write_open_) {
    // The earlier renewal is either in the record that was just read or has to be sent again.
    unresolved_ = false;
    renew_at_ = std::min(renew_at_, now);
  }
  if (write_open_ || read_open_ || now < retry_at_) return;
  if (read_wanted_) return read(actions);
  if (now < renew_at_) return;
  LockRecord renewed = *known_->record;
  ++renewed.renewals;
  write(std::move(renewed), actions);
}

void LockMachine::decide_end(base::BootTime now, Actions& actions) {
  if (now >= give_up_at_) return finish(false, actions);
  if (write_open_) return;
  // An unresolved write that is not in the record after a read may still be made: nobody can tell.
  if (!ours() && !(unresolved_ && read_wanted_)) return finish(!unresolved_, actions);
  if (read_open_ || now < retry_at_) return;
  if (read_wanted_) return read(actions);
  LockRecord released = *known_->record;
  released.held = false;
  write(std::move(released), actions);
}

void LockMachine::bid(Actions& actions) {
  const std::uint64_t used =
      known_->record ? known_->record->token.value() : std::max(known_->floor, known_->revision.value());
  write(LockRecord{.held = true,
                   .token = FencingToken(used + 1),
                   .node = options_.node,
                   .hold = fmt::format("{}#{}", options_.hold, ++bids_),
                   .lease = options_.lease},
        actions);
}

void LockMachine::write(LockRecord record, Actions& actions) {
  write_open_ = action::Write{.expected = known_->revision, .record = std::move(record)};
  actions.emplace_back(*write_open_);
}

void LockMachine::read(Actions& actions) {
  read_open_ = true;
  actions.emplace_back(action::Read{});
}

void LockMachine::acquire(base::BootTime sent_at, Actions& actions) {
  state_ = State::held;
  unresolved_ = false;
  open_bids_.clear();
  deadline_ = sent_at + usable_lease();
  renew_at_ = sent_at + renew_interval();
  token_ = known_->record->token;
  actions.emplace_back(action::Acquired{token_});
}

void LockMachine::lose(std::string reason, Actions& actions) {
  state_ = State::lost;
  actions.emplace_back(action::Lost{std::move(reason)});
}

void LockMachine::finish(bool given_back, Actions& actions) {
  state_ = State::finished;
  actions.emplace_back(action::Finished{given_back});
}

std::optional<base::BootTime> LockMachine::open_bid_in_record() const {
  if (!ours()) return std::nullopt;
  const auto bid = std::ranges::find(open_bids_, known_->record->hold, &OpenBid::hold);
  if (bid == open_bids_.end()) return std::nullopt;
  return bid->sent_at;
}

bool LockMachine::ours() const {
  if (!known_ || !known_->record || !known_->record->held) return false;
  const std::string_view hold = known_->record->hold;
  return hold.substr(0, hold.find('#')) == options_.hold;
}

bool LockMachine::held_by_other() const {
  return known_ && known_->record && known_->record->held && !ours();
}

}  // namespace litecluster::locks
