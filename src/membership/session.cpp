#include "membership/session.hpp"

#include <algorithm>
#include <utility>

namespace litecluster::membership {
namespace {

base::Duration eight_tenths(base::Duration lease) {
  return lease / 10 * 8;
}

std::chrono::milliseconds to_milliseconds(base::Duration duration) {
  return std::chrono::ceil<std::chrono::milliseconds>(duration);
}

}  // namespace

Session::Session(SessionOptions options)
    : options_(std::move(options)), lease_(options_.lease.value_or(3 * options_.heartbeat)) {
  id_.node = options_.node;
  id_.incarnation = options_.incarnation;
}

void Session::start(base::BootTime now) {
  if (state_ != State::idle) return;
  state_ = State::claiming;
  read(now);
}

void Session::read_done(base::BootTime now, const OwnRecord& own) {
  if (in_flight_ != Operation::read) return;
  in_flight_ = Operation::none;
  if (state_ == State::claiming) return claim(now, own);
  if (live()) own_record_while_live(now, own, true);
}

// While an operation is in flight its result tells more, and news must not be taken for it: the answer would
// then be taken for that of the next operation.
void Session::record_seen(base::BootTime now, const OwnRecord& own) {
  if (state_ == State::claiming && in_flight_ == Operation::none) return claim(now, own);
  if (live()) own_record_while_live(now, own, false);
}

void Session::read_failed(base::BootTime now) {
  if (in_flight_ != Operation::read) return;
  in_flight_ = Operation::none;
  retry_at(now + options_.heartbeat / 4);
}

// The name is free, or was ours, or its holder is known to be gone: write. Otherwise watch the holder.
void Session::claim(base::BootTime now, const OwnRecord& own) {
  if (!own.record) return write(now, own.revision, RecordState::alive);
  const Record& record = *own.record;
  const std::string& incarnation = record.member.id.incarnation;
  const bool seen_dead =
      own.process_is_dead || (!options_.dead_incarnation.empty() && incarnation == options_.dead_incarnation);
  if (record.state != RecordState::alive || is_mine(record) || seen_dead) {
    return write(now, own.revision, RecordState::alive);
  }
  if (obstacle_ && own.revision > obstacle_->revision) return refuse(name_in_use(record));
  if (!obstacle_) {
    obstacle_ = own;
    obstacle_seen_at_ = now;
  }
  const base::BootTime free_at = obstacle_seen_at_ + obstacle_->record->lease;
  if (now >= free_at) return write(now, obstacle_->revision, RecordState::alive);
  retry_at(std::min(free_at,
                    now + std::max<base::Duration>(obstacle_->record->lease / 6, options_.heartbeat / 4)));
}

void Session::claimed(base::BootTime now, Revision revision) {
  conflicted_before_ = false;
  revision_ = revision;
  deadline_ = sent_at_ + eight_tenths(lease_);
  // Too slow an answer: nobody relied on this life yet, so it is simply begun again.
  if (now >= deadline_) return read(now);
  id_.joined = revision;
  obstacle_.reset();
  renew_at_ = sent_at_ + options_.heartbeat;
  state_ = State::live;
  actions_.emplace_back(SessionJoined{id_});
}

void Session::written(base::BootTime now, WriteOutcome outcome, Revision revision) {
  if (in_flight_ != Operation::write) return;
  in_flight_ = Operation::none;
  if (state_ == State::claiming) {
    // A settled() may have come since the write was sent; then it belongs to a former life.
    if (outcome == WriteOutcome::done && !rejoining_) return claimed(now, revision);
    rejoining_ = false;
    return read_after(now, outcome);
  }
  if (!live()) return;
  if (state_ == State::leaving && outcome == WriteOutcome::done && writing_ == RecordState::left) {
    return end_leaving();
  }
  if (past_deadline(now)) return;
  if (outcome != WriteOutcome::done) {
    conflicted_ = outcome == WriteOutcome::conflict;
    return read_after(now, outcome);
  }
  conflicted_before_ = false;
  revision_ = revision;
  deadline_ = std::max(deadline_, sent_at_ + eight_tenths(lease_));
  renew_at_ = sent_at_ + options_.heartbeat;
  tick(now);
}

// One conflict is answered by the next read. What is refused at once again and again (the server's storage is
// full, a read is stale) is not written more often than four times a heartbeat.
void Session::read_after(base::BootTime now, WriteOutcome outcome) {
  const base::BootTime paced = sent_at_ + options_.heartbeat / 4;
  const bool first_conflict = outcome == WriteOutcome::conflict && !std::exchange(conflicted_before_, true);
  if (first_conflict || outcome == WriteOutcome::done || now >= paced) return read(now);
  retry_at(paced);
}

void Session::own_record_while_live(base::BootTime now, const OwnRecord& own, bool answer) {
  const bool news = own.revision > revision_;
  if (!answer && (!news || in_flight_ != Operation::none)) return;
  const bool ours = own.record && own.record->state == RecordState::alive &&
                    own.record->member.id.incarnation == id_.incarnation;
  if (ours) {
    if (news) revision_ = own.revision;
    if (!answer) return;
    // An answer older than the conflict that we met is stale: ask again in a moment.
    if (!news && conflicted_) return retry_at(now + options_.heartbeat / 8);
    renew_at_ = now;
    return tick(now);
  }
  if (own.record && !news) return retry_at(now + options_.heartbeat / 8);
  if (state_ == State::leaving) return end_leaving();
  if (!own.record) return lapse("the member record was deleted");
  if (own.record->state == RecordState::alive && !is_mine(*own.record)) {
    superseded_ = name_in_use(*own.record);
    return lapse("another process took the name");
  }
  lapse("expelled after a lease without a renewal");
}

bool Session::past_deadline(base::BootTime now) {
  if (!live() || now < deadline_) return false;
  if (state_ == State::leaving) {
    end_leaving();
  } else {
    lapse("not renewed before its deadline");
  }
  return true;
}

void Session::tick(base::BootTime now) {
  if (past_deadline(now)) return;
  if (in_flight_ != Operation::none) return;
  if (retry_at_) {
    if (now >= *retry_at_) read(now);
    return;
  }
  if (state_ == State::leaving) return write(now, revision_, RecordState::left);
  if (state_ == State::live && (urgent_ || now >= renew_at_)) write(now, revision_, RecordState::alive);
}

void Session::describe(base::BootTime now, const Record& content, bool urgent) {
  content_ = content;
  urgent_ = urgent_ || urgent;
  if (urgent && state_ == State::live) tick(now);
}

void Session::settled(base::BootTime now) {
  if (state_ != State::lapsed) return;
  if (superseded_) return refuse(*superseded_);
  ++lives_;
  id_ = {options_.node, options_.incarnation + "-" + std::to_string(lives_), Revision()};
  state_ = State::claiming;
  obstacle_.reset();
  rejoining_ = in_flight_ == Operation::write;
  if (in_flight_ == Operation::none) read(now);
}

void Session::leave(base::BootTime now) {
  if (state_ == State::live) {
    state_ = State::leaving;
    return tick(now);
  }
  if (state_ == State::left || state_ == State::refused || state_ == State::leaving) return;
  end_leaving();
}

void Session::lapse(std::string reason) {
  state_ = State::lapsed;
  retry_at_.reset();
  actions_.emplace_back(SessionLapsed{id_, std::move(reason)});
}

void Session::refuse(Error error) {
  state_ = State::refused;
  retry_at_.reset();
  actions_.emplace_back(SessionRefused{std::move(error)});
}

void Session::end_leaving() {
  state_ = State::left;
  retry_at_.reset();
  actions_.emplace_back(SessionLeft{});
}

void Session::read(base::BootTime /*now*/) {
  retry_at_.reset();
  in_flight_ = Operation::read;
  actions_.emplace_back(ReadRecord{});
}

void Session::write(base::BootTime now, Revision expected, RecordState state) {
  retry_at_.reset();
  conflicted_ = false;
  urgent_ = false;
  in_flight_ = Operation::write;
  writing_ = state;
  sent_at_ = now;
  Record record = content_;
  record.member.id = id_;
  record.state = state;
  record.heartbeat = to_milliseconds(options_.heartbeat);
  record.lease = to_milliseconds(lease_);
  actions_.emplace_back(WriteRecord{expected, std::move(record)});
}

bool Session::is_mine(const Record& record) const {
  const std::string& incarnation = record.member.id.incarnation;
  return incarnation == options_.incarnation || incarnation.starts_with(options_.incarnation + "-");
}

Error Session::name_in_use(const Record& record) const {
  std::string reason = "another process with this name is alive";
  if (!record.member.addresses.empty()) reason += " at " + record.member.addresses.front();
  return {ErrorCode::already_exists, "join cluster", options_.node,
          reason + "; give each node a name of its own"};
}

std::vector<SessionAction> Session::take_actions() {
  return std::exchange(actions_, {});
}

std::optional<base::BootTime> Session::next_tick() const {
  std::optional<base::BootTime> next;
  const auto consider = [&](base::BootTime time) { next = next ? std::min(*next, time) : time; };
  if (live()) consider(deadline_);
  if (in_flight_ == Operation::none) {
    if (retry_at_) {
      consider(*retry_at_);
    } else if (state_ == State::live) {
      consider(renew_at_);
    }
  }
  return next;
}

}  // namespace litecluster::membership
