#include "election/elector.hpp"

#include <algorithm>
#include <utility>

namespace litecluster::election {

using base::BootTime;
using base::Duration;

namespace {

constexpr BootTime never = BootTime::max();
/// More than any cluster has members; further ones do not count for the order of bids.
constexpr std::size_t peers_max = 256;
/// A named successor is alive and waiting, so it bids within milliseconds; this is for the case that it died.
constexpr Duration successor_wait_max = std::chrono::seconds(1);

std::unexpected<Error> invalid(std::string reason) {
  return failure(ErrorCode::invalid_argument, "configure election", {}, std::move(reason));
}

}  // namespace

Status validate(const ElectorConfig& config) {
  if (config.node.empty() || config.node.size() > node_name_size_max) {
    return invalid("the node's name must have 1 to 128 bytes");
  }
  if (config.lease_ttl < std::chrono::milliseconds(100) || config.lease_ttl > std::chrono::hours(24)) {
    return invalid("lease_ttl must be between 100 ms and 24 h");
  }
  if (config.heartbeat <= Duration::zero() || config.heartbeat > config.lease_ttl / 3) {
    return invalid("heartbeat must be above 0 and at most a third of lease_ttl");
  }
  return {};
}

std::string_view to_string(LossReason reason) {
  switch (reason) {
    case LossReason::deadline: return "lease not renewed in time";
    case LossReason::superseded: return "another term began";
    case LossReason::record_gone: return "leader record gone";
    case LossReason::given_back: return "given back";
  }
  return "unknown";
}

Elector::Elector(ElectorConfig config)
    : config_(std::move(config)),
      cooldown_(config_.cooldown.value_or(config_.lease_ttl)),
      request_timeout_(config_.request_timeout.value_or(config_.heartbeat / 2)),
      retry_delay_(config_.heartbeat / 10),
      bid_delay_max_(config_.bid_delay_max.value_or(
          std::min<Duration>(config_.lease_ttl / 4, std::chrono::milliseconds(400)))) {
  actions_.reserve(8);
}

// Events. Each one first lets time pass (a term that is past its deadline is over before anything else is
// looked at), then takes in the news, then decides what to do.

Elector::Actions Elector::start(BootTime now) {
  begin(now);
  heard_at_ = now;
  seen_at_ = now;
  armed_ = never;
  return finish(now);
}

Elector::Actions Elector::tick(BootTime now) {
  begin(now);
  armed_ = never;  // spent, even when the driver's timer fired early
  return finish(now);
}

Elector::Actions Elector::record_observed(Revision revision, std::optional<LeaderRecord> record,
                                          BootTime now) {
  begin(now);
  observe(revision, std::move(record), true, now);
  return finish(now);
}

Elector::Actions Elector::record_unreadable(Revision revision, BootTime now) {
  begin(now);
  observe(revision, std::nullopt, false, now);
  return finish(now);
}

Elector::Actions Elector::read_failed(BootTime now) {
  begin(now);
  read_sent_at_.reset();
  request_unanswered(now);
  return finish(now);
}

Elector::Actions Elector::write_finished(std::uint64_t sequence, WriteOutcome outcome, Revision revision,
                                         BootTime now) {
  begin(now);
  if (!write_ || write_->record.sequence != sequence) {
    // Given up on before. It may tell something new; the record itself says it best.
    read_needed_ = true;
    return finish(now);
  }
  Write written = std::move(*write_);
  write_.reset();
  switch (outcome) {
    case WriteOutcome::stored:
      if (config_.planted_bug == PlantedBug::deadline_after_reply) {
        attempts_[sequence % attempts_.size()].sent_at = now;
      }
      observe(revision, std::move(written.record), true, now);
      break;
    case WriteOutcome::conflict:
      conflicted_revision_ = std::max(conflicted_revision_.value_or(Revision()), written.expected);
      break;
    case WriteOutcome::unknown:
      read_needed_ = true;
      retry_at_ = now + retry_delay_;
      break;
  }
  return finish(now);
}

Elector::Actions Elector::connection_changed(bool connected, BootTime now) {
  begin(now);
  if (write_ || !connected) read_needed_ = true;
  write_.reset();
  read_sent_at_.reset();
  retry_at_ = connected ? now : now + retry_delay_;
  if (connected) read_needed_ = true;
  return finish(now);
}

Elector::Actions Elector::set_eligible(bool eligible, BootTime now) {
  begin(now);
  eligible_ = eligible;
  return finish(now);
}

Elector::Actions Elector::log_epoch_seen(Epoch epoch, BootTime now) {
  begin(now);
  log_epoch_ = std::max(log_epoch_, epoch);
  return finish(now);
}

Elector::Actions Elector::position_changed(Txid txid, BootTime now) {
  begin(now);
  position_ = txid;
  return finish(now);
}

Elector::Actions Elector::peer_seen(std::string_view node, Txid txid, BootTime now) {
  begin(now);
  const auto found = std::ranges::find(peers_, node, &Peer::node);
  if (found != peers_.end()) {
    found->txid = txid;
    found->seen_at = now;
  } else if (node != config_.node && peers_.size() < peers_max) {
    peers_.push_back({.node = std::string(node), .txid = txid, .seen_at = now});
  }
  return finish(now);
}

Elector::Actions Elector::peer_left(std::string_view node, BootTime now) {
  begin(now);
  std::erase_if(peers_, [&](const Peer& peer) { return peer.node == node; });
  return finish(now);
}

Elector::Actions Elector::release(ReleaseOrder order, BootTime now) {
  begin(now);
  if (term_ == Term::leading) lose(LossReason::given_back);
  term_ = Term::none;
  release_order_ = std::move(order);
  release_pending_ = true;
  switch (release_order_.reason) {
    case ReleaseReason::demoted: break;
    case ReleaseReason::promotion_failed:
      failed_until_ = now + config_.heartbeat;
      cooldown_until_ = now + cooldown_;
      break;
    case ReleaseReason::stepped_down: cooldown_until_ = now + cooldown_; break;
    case ReleaseReason::shutdown: shutdown_ = true; break;
  }
  return finish(now);
}

void Elector::begin(BootTime now) {
  actions_.clear();
  if (term_ == Term::leading && now >= deadline_ &&
      config_.planted_bug != PlantedBug::resume_after_deadline) {
    lose(LossReason::deadline);
  }
}

Elector::Actions Elector::finish(BootTime now) {
  wake_ = never;
  if (term_ == Term::leading && now < deadline_) wake_at(deadline_);
  expire_requests(now);
  finish_release();
  choose_write(now);
  choose_read(now);
  if (wake_ != armed_) {
    armed_ = wake_;
    if (wake_ != never) actions_.emplace_back(SetTimer{wake_});
  }
  return actions_;
}

void Elector::wake_at(BootTime time) {
  wake_ = std::min(wake_, time);
}

// What is seen of the record.

void Elector::observe(Revision revision, std::optional<LeaderRecord> record, bool readable, BootTime now) {
  heard_at_ = now;
  read_sent_at_.reset();
  const bool rewritten = known_ && noticed_another_history(revision, record, now);
  if (known_ && revision < revision_ && !rewritten) {
    // A stale read or a late message. It answers nothing, so what had to be read is still to be read.
    if (read_needed_ || conflicted()) retry_at_ = std::max(retry_at_, now + retry_delay_);
    return;
  }
  read_needed_ = false;
  older_since_.reset();
  if (known_ && revision == revision_ && !rewritten) {
    if (conflicted()) retry_at_ = std::max(retry_at_, now + retry_delay_);
    return;
  }
  if (rewritten) conflicted_revision_.reset();
  known_ = true;
  readable_ = readable;
  revision_ = revision;
  record_ = std::move(record);
  seen_at_ = now;
  retry_at_ = now;
  record_changed(now);
}

// Servers that lost the newest changes go on with revisions that were there before. It shows by a record that
// cannot have come before the known one (epochs grow), by another one under the same revision, or, when a
// write of ours was refused or has to be looked for, by nothing but older ones for a whole lease. No decision
// rests on it alone: it is taken for a change seen now, and the next write has to fit what the servers hold.
bool Elector::noticed_another_history(Revision revision, const std::optional<LeaderRecord>& record,
                                      BootTime now) {
  if (revision > revision_) return false;
  if (revision == revision_) return record && record_ && record != record_;
  if (record && record_ && record->epoch > epoch_max_) return true;
  if (!conflicted() && !read_needed_) return false;
  if (!older_since_) older_since_ = now;
  return now >= *older_since_ + patience(record_ttl_);
}

void Elector::record_changed(BootTime now) {
  if (record_) {
    epoch_max_ = std::max(epoch_max_, record_->epoch);
    record_ttl_ = record_->lease_ttl;
  }
  check_duplicate(now);
  publish_leader_of_record();
  if (holds_record()) {
    own_record_seen(now);
    return;
  }
  // Somebody took it: that is what the cooldown was for.
  if (record_ && record_->state == LeaseState::held) cooldown_until_ = {};
  if (term_ == Term::leading) lose(record_ ? LossReason::superseded : LossReason::record_gone);
  if (term_ == Term::claiming) term_ = Term::none;
}

void Elector::own_record_seen(BootTime now) {
  // One of an earlier term, there again or seen late, is not the claim: epochs do not go back.
  if (term_ == Term::claiming && record_->epoch < claimed_epoch_) {
    term_ = Term::none;
    return;
  }
  const Attempt& attempt = attempts_[record_->sequence % attempts_.size()];
  // Too old to remember its time: it proves that the record is ours, and extends nothing.
  const bool remembered = attempt.sequence == record_->sequence;
  const BootTime deadline = remembered ? attempt.sent_at + hold() : BootTime::min();
  if (term_ == Term::leading) {
    if (record_->epoch != epoch_) {
      lose(LossReason::superseded);
    } else if (deadline > deadline_) {
      deadline_ = deadline;
      renewed_at_ = attempt.sent_at;
      actions_.emplace_back(LeaseExtended{deadline_});
    }
  } else if (term_ == Term::claiming && now < deadline && record_->epoch > log_epoch_) {
    term_ = Term::leading;
    epoch_ = record_->epoch;
    deadline_ = deadline;
    renewed_at_ = attempt.sent_at;
    actions_.emplace_back(BecameLeader{epoch_, deadline_});
  }
}

// A record with our name may stem from a dead process of ours, and so may the next few: writes that were
// still on their way, and stale reads that show its history bit by bit. What keeps changing it for longer is
// alive.
void Elector::check_duplicate(BootTime now) {
  if (!record_ || record_->node != config_.node || record_->incarnation == config_.incarnation ||
      config_.incarnation.knows_dead(record_->incarnation)) {
    return;
  }
  if (record_->incarnation != foreign_) {
    foreign_ = record_->incarnation;
    foreign_since_ = now;
    foreign_changes_ = 0;
    return;
  }
  constexpr int changes_of_a_dead_process_max = 4;
  ++foreign_changes_;
  if (duplicate_ || foreign_changes_ <= changes_of_a_dead_process_max ||
      now < foreign_since_ + patience(record_->lease_ttl)) {
    return;
  }
  duplicate_ = true;
  actions_.emplace_back(DuplicateNode{foreign_});
}

void Elector::publish_leader(std::optional<LeaderInfo> leader) {
  if (leader == leader_) return;
  leader_ = std::move(leader);
  actions_.emplace_back(LeaderChanged{leader_});
}

void Elector::publish_leader_of_record() {
  if (!record_ || record_->state != LeaseState::held) {
    publish_leader(std::nullopt);
  } else if (!leader_ || leader_->epoch != record_->epoch || leader_->incarnation != record_->incarnation) {
    publish_leader(LeaderInfo{record_->node, record_->incarnation, record_->epoch});
  }
}

void Elector::lose(LossReason reason) {
  term_ = Term::lost;
  actions_.emplace_back(LostLeadership{epoch_, reason});
}

// What to do.

void Elector::request_unanswered(BootTime now) {
  retry_at_ = std::max(retry_at_, now + retry_delay_);
  // A leader that cannot read tries to write all the same: the answer tells as much, and time runs.
  if (term_ == Term::leading) read_needed_ = false;
}

void Elector::expire_requests(BootTime now) {
  if (write_) {
    if (now >= write_->sent_at + request_timeout_) {
      write_.reset();
      read_needed_ = true;
    } else {
      wake_at(write_->sent_at + request_timeout_);
    }
  }
  if (read_sent_at_) {
    if (now >= *read_sent_at_ + request_timeout_) {
      read_sent_at_.reset();
      request_unanswered(now);
    } else {
      wake_at(*read_sent_at_ + request_timeout_);
    }
  }
}

void Elector::choose_read(BootTime now) {
  if (read_sent_at_) return;
  // A watch that died looks like a record that nobody renews.
  const BootTime quiet_until = heard_at_ + 2 * config_.heartbeat;
  const bool needed = !known_ || read_needed_ || (conflicted() && !write_);
  if (!needed && now < quiet_until) return wake_at(quiet_until);
  if (now < retry_at_) return wake_at(retry_at_);
  read_sent_at_ = now;
  wake_at(now + request_timeout_);
  actions_.emplace_back(ReadRecord{});
}

void Elector::choose_write(BootTime now) {
  if (known_ && record_ && record_->state == LeaseState::held && leader_) {
    const BootTime silent_at = seen_at_ + patience(record_->lease_ttl);
    if (now >= silent_at) {
      publish_leader(std::nullopt);
    } else {
      wake_at(silent_at);
    }
  }
  if (!known_ || write_ || read_needed_ || conflicted()) return;
  const bool knows_holder_dead =
      record_ && record_->state == LeaseState::held && config_.incarnation.knows_dead(record_->incarnation);
  if (holds_record()) {
    choose_as_holder(now);
  } else if (!knows_holder_dead) {
    choose_as_bidder(now);
  } else if (now < retry_at_) {
    wake_at(retry_at_);
  } else {
    write_released({}, now);
  }
}

void Elector::choose_as_holder(BootTime now) {
  if (term_ == Term::lost) return;
  BootTime due = retry_at_;
  if (term_ == Term::leading) due = std::max(due, renewed_at_ + config_.heartbeat);
  if (now < due) return wake_at(due);
  switch (term_) {
    case Term::none: return write_released(release_order_, now);
    // Stored, but too late to lead on it, or below the log's epoch.
    case Term::claiming:
      claimed_epoch_ = std::max(record_->epoch, log_epoch_.next());
      return write_held(claimed_epoch_, now);
    case Term::leading: return write_held(epoch_, now);
    case Term::lost: return;
  }
}

void Elector::choose_as_bidder(BootTime now) {
  if (!eligible_ || shutdown_ || duplicate_ || term_ == Term::lost) return;
  BootTime due = std::max(retry_at_, bid_time());
  const bool named = record_ && record_->state == LeaseState::released && record_->successor == config_.node;
  if (!named) {
    due = std::max({due, bid_time() + bid_delay(now), failed_until_});
    if (const auto until = peers_until(now); until && now < cooldown_until_) {
      due = std::max(due, std::min(cooldown_until_, *until));
    }
  }
  if (now < due) return wake_at(due);
  term_ = Term::claiming;
  claimed_epoch_ = next_epoch();
  write_held(claimed_epoch_, now);
}

void Elector::finish_release() {
  if (!release_pending_ || term_ != Term::none || write_ || read_needed_ || conflicted() || !known_ ||
      holds_record()) {
    return;
  }
  release_pending_ = false;
  actions_.emplace_back(Released{});
}

void Elector::write_held(Epoch epoch, BootTime now) {
  write({.node = config_.node,
         .incarnation = config_.incarnation,
         .epoch = epoch,
         .state = LeaseState::held,
         .lease_ttl = std::chrono::ceil<std::chrono::milliseconds>(config_.lease_ttl),
         .heartbeat = std::chrono::ceil<std::chrono::milliseconds>(config_.heartbeat),
         .sequence = 0,
         .position = {},
         .successor = {}},
        now);
}

void Elector::write_released(const ReleaseOrder& order, BootTime now) {
  LeaderRecord record = *record_;
  record.state = LeaseState::released;
  record.position = order.position;
  record.successor = order.successor;
  write(std::move(record), now);
}

void Elector::write(LeaderRecord record, BootTime now) {
  record.sequence = ++sequence_;
  attempts_[sequence_ % attempts_.size()] = {.sequence = sequence_, .sent_at = now};
  write_ = Write{.expected = revision_, .record = record, .sent_at = now};
  wake_at(now + request_timeout_);
  actions_.emplace_back(WriteRecord{revision_, std::move(record)});
}

bool Elector::holds_record() const {
  return record_ && record_->state == LeaseState::held && record_->incarnation == config_.incarnation;
}

Epoch Elector::next_epoch() const {
  return std::max(epoch_max_, log_epoch_).next();
}

Duration Elector::patience(Duration record_ttl) const {
  const Duration whole = std::max(config_.lease_ttl, record_ttl);
  return config_.planted_bug == PlantedBug::impatient_taker ? whole * 7 / 10 : whole;
}

BootTime Elector::bid_time() const {
  if (!record_) {
    // Nobody ever led: begin. Otherwise the record was lost, and its holder may still be inside its deadline.
    const bool virgin = readable_ && revision_.is_zero() && log_epoch_.is_zero() && epoch_max_.is_zero();
    return virgin ? seen_at_ : seen_at_ + patience(record_ttl_);
  }
  if (record_->state == LeaseState::held) return seen_at_ + patience(record_->lease_ttl);
  // Somebody has led since, whose record was lost with its release, or without.
  if (record_->epoch < std::max(epoch_max_, log_epoch_)) return seen_at_ + patience(record_->lease_ttl);
  const bool for_another = !record_->successor.empty() && record_->successor != config_.node;
  return for_another ? seen_at_ + std::min(config_.heartbeat, successor_wait_max) : seen_at_;
}

Duration Elector::bid_delay(BootTime now) const {
  Txid best = position_;
  for (const Peer& peer : peers_) {
    // The one whose term ended is no rival, and always ahead.
    const bool was_holder = record_ && record_->node == peer.node;
    if (!was_holder && now <= peer.seen_at + 3 * config_.heartbeat) best = std::max(best, peer.txid);
  }
  const std::uint64_t lag = best.value() - position_.value();
  const auto steps_max =
      static_cast<std::uint64_t>(bid_delay_max_ / std::max(config_.bid_delay_per_txid, Duration(1)));
  if (lag > steps_max) return bid_delay_max_;
  return config_.bid_delay_per_txid * static_cast<Duration::rep>(lag);
}

std::optional<BootTime> Elector::peers_until(BootTime now) const {
  std::optional<BootTime> until;
  for (const Peer& peer : peers_) {
    const BootTime gone_at = peer.seen_at + 3 * config_.heartbeat;
    if (gone_at > now && (!until || gone_at > *until)) until = gone_at;
  }
  return until;
}

}  // namespace litecluster::election
