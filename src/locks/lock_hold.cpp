#include "locks/lock_hold.hpp"

#include <algorithm>
#include <utility>

#include "base/logging.hpp"

namespace litecluster::locks {

using namespace std::chrono_literals;

namespace {

constexpr base::Duration call_timeout_min = 50ms;
constexpr base::Duration call_timeout_max = 2s;

bool worth_retrying(ErrorCode code) {
  return code == ErrorCode::unavailable || code == ErrorCode::deadline_exceeded ||
         code == ErrorCode::cancelled;
}

}  // namespace

LockHold::LockHold(std::string name, nats::KeyValue bucket, LockMachine::Options options)
    : name_(std::move(name)),
      bucket_(std::move(bucket)),
      lease_(options.lease),
      machine_(std::move(options)) {}

DriveReport LockHold::start(const Context& context) {
  return drive(context, machine_.start());
}

DriveReport LockHold::observed(const Context& context, const KvEntry& entry) {
  Observation observation{
      .revision = entry.revision, .record = std::nullopt, .floor = entry.revision.value()};
  if (entry.operation == KvOperation::put) {
    auto record = parse_lock_record(entry.value);
    // The read that follows anyway says what is wrong with it.
    if (!record) return tick(context);
    observation.record = std::move(*record);
  }
  return drive(context, machine_.observed(base::BootClock::now(), observation));
}

DriveReport LockHold::tick(const Context& context) {
  if (end_requested_.exchange(false)) return end(context);
  return drive(context, machine_.tick(base::BootClock::now()));
}

DriveReport LockHold::end(const Context& context) {
  Actions actions = machine_.end(base::BootClock::now());
  publish_view();
  context_.cancel();
  return drive(context, std::move(actions));
}

void LockHold::request_end() {
  end_requested_ = true;
  {
    const base::MutexLock lock(mutex_);
    view_.deadline = base::BootTime{};
  }
  context_.cancel();
}

std::optional<base::BootTime> LockHold::wake_at() const {
  if (end_requested_) return base::BootTime{};
  const base::MutexLock lock(mutex_);
  return view_.wake_at;
}

LockMachine::State LockHold::state() const {
  const base::MutexLock lock(mutex_);
  return view_.state;
}

bool LockHold::held() const {
  const base::MutexLock lock(mutex_);
  return view_.state == LockMachine::State::held && base::BootClock::now() < view_.deadline;
}

base::BootTime LockHold::deadline() const {
  const base::MutexLock lock(mutex_);
  return view_.deadline;
}

FencingToken LockHold::token() const {
  const base::MutexLock lock(mutex_);
  return view_.token;
}

std::string LockHold::loss() const {
  const base::MutexLock lock(mutex_);
  return view_.loss;
}

base::Duration LockHold::call_timeout() const {
  return std::clamp(lease_ / 5, call_timeout_min, call_timeout_max);
}

DriveReport LockHold::drive(const Context& context, Actions actions) {
  DriveReport report;
  while (!actions.empty() && !report.fatal) {
    Actions next;
    for (const Action& action : actions) {
      // The machine asks for one call at a time, so `next` is set at most once.
      if (std::holds_alternative<action::Read>(action)) {
        next = read(context, report);
      } else if (const auto* change = std::get_if<action::Write>(&action)) {
        publish_view();
        next = write(context, *change, report);
      } else if (const auto* acquired = std::get_if<action::Acquired>(&action)) {
        base::log_debug("lock acquired", {{"lock", name_}, {"token", acquired->token.value()}});
      } else if (const auto* refused = std::get_if<action::Refused>(&action)) {
        report.refused_by = refused->node;
      } else if (const auto* finished = std::get_if<action::Finished>(&action)) {
        report.finished = true;
        report.given_back = finished->given_back;
      } else if (const auto* lost = std::get_if<action::Lost>(&action)) {
        base::log_warning("lock lost", {{"lock", name_}, {"reason", lost->reason}});
        {
          const base::MutexLock lock(mutex_);
          view_.loss = lost->reason;
        }
        publish_view();
        context_.cancel();
      }
    }
    actions = std::move(next);
  }
  publish_view();
  return report;
}

Actions LockHold::read(const Context& context, DriveReport& report) {
  const auto observation = look(context.with_timeout(call_timeout()));
  const base::BootTime now = base::BootClock::now();
  if (observation) return machine_.read_done(now, *observation);
  if (machine_.state() == LockMachine::State::claiming && !worth_retrying(observation.error().code())) {
    report.fatal = observation.error().within("acquire lock", name_);
  }
  return machine_.read_done(now, std::nullopt);
}

Result<std::optional<Observation>> LockHold::look(const Context& context) {
  const auto entry = bucket_.last(context, name_, nats::KvRead::leader);
  if (!entry) return std::unexpected(entry.error());
  if (*entry && (*entry)->operation == KvOperation::put) {
    auto record = parse_lock_record((*entry)->value);
    if (record) {
      return Observation{
          .revision = (*entry)->revision, .record = std::move(*record), .floor = (*entry)->revision.value()};
    }
    // For one who holds it, a record that is not one of ours is as good as none.
    if (machine_.state() == LockMachine::State::claiming) return std::unexpected(record.error());
  }
  const auto status = bucket_.status(context);
  if (!status) return std::unexpected(status.error());
  return Observation{.revision = *entry ? (*entry)->revision : Revision(),
                     .record = std::nullopt,
                     .floor = status->last_revision.value()};
}

Actions LockHold::write(const Context& context, const action::Write& write, DriveReport& report) {
  const base::BootTime sent_at = base::BootClock::now();
  const auto revision =
      bucket_.update(context.with_timeout(call_timeout()), name_, encode(write.record), write.expected);
  const base::BootTime now = base::BootClock::now();
  if (revision) return machine_.write_done(now, sent_at, WriteOutcome::done, *revision);
  const ErrorCode code = revision.error().code();
  if (code == ErrorCode::conflict) {
    return machine_.write_done(now, sent_at, WriteOutcome::conflict, {});
  }
  if (machine_.state() == LockMachine::State::claiming && !worth_retrying(code)) {
    report.fatal = revision.error().within("acquire lock", name_);
  }
  return machine_.write_done(now, sent_at, WriteOutcome::unknown, {});
}

void LockHold::publish_view() {
  const base::MutexLock lock(mutex_);
  view_.state = machine_.state();
  view_.wake_at = machine_.wake_at();
  view_.deadline = end_requested_ ? base::BootTime{} : machine_.deadline();
  view_.token = machine_.token();
}

}  // namespace litecluster::locks
