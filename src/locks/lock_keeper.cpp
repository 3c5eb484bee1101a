#include "locks/lock_keeper.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/backoff.hpp"
#include "base/random.hpp"
#include "nats/kv_pattern.hpp"

namespace litecluster::locks {

using namespace std::chrono_literals;

namespace {

// Waits run on a clock that stands still while the machine is suspended; leases do not. No wait is longer
// than this, so that a loss is noticed soon after the machine wakes up.
constexpr base::Duration wait_max = 1s;
constexpr base::Duration farewell_max = 2s;
constexpr base::Duration watch_pause = 200ms;
constexpr std::size_t seen_max = 4096;

Status check_arguments(std::string_view name, const LockOptions& options) {
  if (!nats::valid_key(name)) {
    return failure(ErrorCode::invalid_argument, "acquire lock", std::string(name),
                   "a name has letters, digits and - / _ = ., and no part between dots is empty");
  }
  if (options.lease < lease_min || options.lease > lease_max) {
    return failure(ErrorCode::invalid_argument, "acquire lock", std::string(name),
                   fmt::format("the lease is {} ms; it has to be {} to {} ms", options.lease.count(),
                               lease_min.count(), lease_max.count()));
  }
  return {};
}

}  // namespace

LockKeeper::LockKeeper(nats::JetStream jetstream, std::string bucket, std::string node)
    : jetstream_(std::move(jetstream)),
      bucket_name_(std::move(bucket)),
      node_(std::move(node)),
      thread_([this] { run(); }) {}

LockKeeper::~LockKeeper() {
  {
    const base::MutexLock lock(mutex_);
    stopping_ = true;
    stop_at_ = base::BootClock::now() + farewell_max;
    for (const auto& hold : holds_) hold->request_end();
    changed_.notify_all();
  }
  thread_.join();
}

Result<std::shared_ptr<LockHold>> LockKeeper::claim(const Context& context, std::string_view name,
                                                    const LockOptions& options, bool wait) {
  if (const Status fine = check_arguments(name, options); !fine) return std::unexpected(fine.error());
  // Without waiting for a holder there is still the server to wait for.
  const base::Duration limit = 2 * jetstream_.connection().options().request_timeout;
  const Context patience = wait ? context : context.with_timeout(limit);
  auto bucket = open_bucket(patience, wait);
  if (!bucket) return std::unexpected(bucket.error().within("acquire lock", std::string(name)));
  LockMachine::Options machine{.node = node_,
                               .hold = base::random_hex(16),
                               .lease = options.lease,
                               .wait = wait,
                               .seen_before = std::nullopt};
  {
    const base::MutexLock lock(mutex_);
    if (const auto seen = seen_.find(std::string(name)); seen != seen_.end()) {
      machine.seen_before = seen->second;
    }
  }
  auto hold = std::make_shared<LockHold>(std::string(name), std::move(*bucket), std::move(machine));
  const Status claimed = pursue(patience, *hold);
  if (claimed) {
    keep(hold);
    return hold;
  }
  release_in_background(hold);
  if (claimed.error().code() == ErrorCode::deadline_exceeded && !context.done()) {
    return failure(ErrorCode::unavailable, "acquire lock", std::string(name),
                   "the server did not answer in time");
  }
  return std::unexpected(claimed.error());
}

Result<nats::KeyValue> LockKeeper::open_bucket(const Context& context, bool wait) {
  {
    const base::MutexLock lock(mutex_);
    if (bucket_) return *bucket_;
  }
  // A connection that has just been made is not yet established.
  (void)jetstream_.connection().wait_connected(context);
  base::Backoff backoff(50ms, 1s);
  while (true) {
    auto bucket = nats::KeyValue::open_or_create(
        context, jetstream_, {.bucket = bucket_name_, .description = "litecluster locks", .permanent = true});
    if (bucket) {
      const base::MutexLock lock(mutex_);
      bucket_ = *bucket;
      return bucket;
    }
    if (!wait || bucket.error().code() != ErrorCode::unavailable) return bucket;
    if (context.wait_for(backoff.next(base::random_u64()))) {
      return failure(context.status().error().code(), "open bucket", bucket_name_, bucket.error().reason());
    }
  }
}

Status LockKeeper::pursue(const Context& context, LockHold& hold) {
  const base::MutexLock driving(hold.driving);
  std::optional<nats::KeyValueWatch> watch;
  DriveReport report = hold.start(context);
  while (true) {
    remember(hold);
    if (report.fatal) return std::unexpected(*report.fatal);
    if (report.refused_by) {
      return failure(ErrorCode::busy, "acquire lock", hold.name(), "held by " + *report.refused_by);
    }
    if (hold.state() == LockMachine::State::held) return {};
    if (const Status status = context.status("acquire lock " + hold.name()); !status) return status;

    const auto wake = hold.wake_at().value_or(base::BootClock::now());
    const base::Duration wait = std::min<base::Duration>(wake - base::BootClock::now(), wait_max);
    if (wait <= 0ns) {
      report = hold.tick(context);
      continue;
    }
    if (!watch) {
      auto started = hold.bucket().watch(context.with_timeout(hold.call_timeout()), hold.name());
      if (started) watch.emplace(std::move(*started));
    }
    if (!watch) {
      (void)context.wait_for(wait);
      report = hold.tick(context);
      continue;
    }
    const auto entry = watch->next(context.with_timeout(wait));
    if (entry && *entry) {
      report = hold.observed(context, **entry);
      continue;
    }
    if (!entry && entry.error().code() == ErrorCode::failed_precondition) {
      return std::unexpected(entry.error());
    }
    if (!entry && entry.error().code() != ErrorCode::deadline_exceeded) {
      watch.reset();
      (void)context.wait_for(std::min<base::Duration>(wait, watch_pause));
    }
    report = hold.tick(context);
  }
}

void LockKeeper::remember(LockHold& hold) {
  const auto seen = hold.seen();
  const base::MutexLock lock(mutex_);
  if (hold.state() == LockMachine::State::held) seen_.erase(hold.name());
  if (!seen) return;
  if (seen_.size() >= seen_max && !seen_.contains(hold.name())) {
    // Whoever still asked for one that has not changed for the longest lease would have it by now.
    const base::BootTime long_ago = base::BootClock::now() - lease_max;
    std::erase_if(seen_, [&](const auto& entry) { return entry.second.second < long_ago; });
    // Those seen first are judged first, and then make room: a new one in their place would be no gain.
    if (seen_.size() >= seen_max) return;
  }
  seen_.insert_or_assign(hold.name(), *seen);
}

Status LockKeeper::release(const Context& context, const std::shared_ptr<LockHold>& hold) {
  withdraw(hold);
  const Context limit = context.with_timeout(2 * jetstream_.connection().options().request_timeout);
  bool given_back = false;
  {
    const base::MutexLock driving(hold->driving);
    DriveReport report = hold->end(limit);
    while (!report.finished && !limit.done()) {
      const base::Duration wait = hold->wake_at().value_or(base::BootTime{}) - base::BootClock::now();
      (void)limit.wait_for(std::clamp<base::Duration>(wait, 0ns, wait_max));
      report = hold->tick(limit);
    }
    given_back = report.given_back;
  }
  if (hold->state() != LockMachine::State::finished) {
    keep(hold);
    if (const Status status = context.status("release lock " + hold->name()); !status) return status;
  }
  if (const std::string loss = hold->loss(); !loss.empty()) {
    return failure(ErrorCode::failed_precondition, "release lock", hold->name(),
                   "it had been lost before: " + loss);
  }
  if (given_back) return {};
  return failure(ErrorCode::unavailable, "release lock", hold->name(),
                 "the server did not answer; others get the lock when its lease has run out");
}

void LockKeeper::release_in_background(const std::shared_ptr<LockHold>& hold) {
  hold->request_end();
  keep(hold);
}

void LockKeeper::keep(const std::shared_ptr<LockHold>& hold) {
  const base::MutexLock lock(mutex_);
  if (std::ranges::find(holds_, hold) == holds_.end()) holds_.push_back(hold);
  if (serving_ && hold->held() && hold->deadline() < serving_until_) serving_context_.cancel();
  changed_.notify_all();
}

void LockKeeper::withdraw(const std::shared_ptr<LockHold>& hold) {
  base::MutexLock lock(mutex_);
  std::erase(holds_, hold);
  while (serving_ == hold) changed_.wait(lock);
}

void LockKeeper::run() {
  base::MutexLock lock(mutex_);
  while (true) {
    const base::BootTime now = base::BootClock::now();
    if (stopping_ && (holds_.empty() || now >= stop_at_)) return;
    const auto [hold, due] = most_urgent();
    if (!hold || due > now) {
      if (hold || stopping_) {
        changed_.wait_for(lock, std::min<base::Duration>(due - now, wait_max));
      } else {
        changed_.wait(lock);
      }
      continue;
    }
    // Nobody else's loss may go unnoticed because of a slow answer for this one.
    serving_until_ = std::min(first_deadline(*hold), stop_at_);
    serving_context_ = Context::background().with_timeout(
        std::clamp<base::Duration>(serving_until_ - now, 1ms, hold->call_timeout()));
    serving_ = hold;
    const Context context = serving_context_;
    lock.unlock();
    serve(hold, context);
    lock.lock();
    serving_.reset();
    if (hold->state() == LockMachine::State::finished) std::erase(holds_, hold);
    changed_.notify_all();
  }
}

void LockKeeper::serve(const std::shared_ptr<LockHold>& hold, const Context& context) {
  const base::MutexLock driving(hold->driving);
  (void)hold->tick(context);
}

std::pair<std::shared_ptr<LockHold>, base::BootTime> LockKeeper::most_urgent() {
  std::pair<std::shared_ptr<LockHold>, base::BootTime> first{nullptr, base::BootTime::max()};
  for (const auto& hold : holds_) {
    const auto due = hold->wake_at();
    if (due && *due < first.second) first = {hold, *due};
  }
  return first;
}

base::BootTime LockKeeper::first_deadline(const LockHold& hold) {
  base::BootTime first = base::BootTime::max();
  for (const auto& other : holds_) {
    if (other.get() != &hold && other->held()) first = std::min(first, other->deadline());
  }
  return first;
}

}  // namespace litecluster::locks
