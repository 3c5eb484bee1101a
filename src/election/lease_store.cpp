#include "election/lease_store.hpp"

#include <algorithm>
#include <deque>
#include <thread>
#include <utility>
#include <vector>

#include "base/backoff.hpp"
#include "base/clock.hpp"
#include "base/fault_point.hpp"
#include "base/logging.hpp"
#include "base/mutex.hpp"
#include "base/random.hpp"
#include "nats/connection.hpp"

namespace litecluster::election {

using base::BootClock;
using base::BootTime;
using base::MutexLock;

namespace {

/// How long one wait on the watch lasts; only bounds how late a cancelled context is looked at.
constexpr auto watch_wait = std::chrono::seconds(30);
/// CLOCK_BOOTTIME goes on while the machine sleeps and the condition variable's clock does not, so no wait is
/// longer than this.
constexpr auto timer_wait_max = std::chrono::milliseconds(500);

WriteOutcome outcome_of(const Error& error) {
  const ErrorCode code = error.code();
  return code == ErrorCode::conflict || code == ErrorCode::already_exists ? WriteOutcome::conflict
                                                                          : WriteOutcome::unknown;
}

}  // namespace

class LeaseStore::Impl {
 public:
  Impl(nats::KeyValue bucket, std::shared_ptr<nats::Connection> connection, LeaseStoreOptions options)
      : bucket_(std::move(bucket)),
        connection_(std::move(connection)),
        options_(std::move(options)),
        request_timeout_(options_.elector.request_timeout.value_or(options_.elector.heartbeat / 2)),
        elector_(options_.elector) {}

  ~Impl() {
    stopped_.cancel();
    {
      const MutexLock lock(mutex_);
      stopping_ = true;
      for (base::ConditionVariable* waiting : {&read_due_, &write_due_, &timer_set_, &event_due_}) {
        waiting->notify_all();
      }
    }
    observer_ = {};
    threads_.clear();  // joins
  }

  void start() {
    if (connection_) {
      observer_ = connection_->observe([this](nats::ConnectionState state) {
        if (state == nats::ConnectionState::closed) return;
        const bool connected = state == nats::ConnectionState::connected;
        submit([&](Elector& elector, BootTime now) { return elector.connection_changed(connected, now); });
      });
    }
    submit([&](Elector& elector, BootTime now) { return elector.start(now); });
    threads_.emplace_back([this] { watch(); });
    threads_.emplace_back([this] { read(); });
    threads_.emplace_back([this] { write(); });
    threads_.emplace_back([this] { keep_time(); });
    threads_.emplace_back([this] { call_listener(); });
  }

  /// Hands one event to the elector, with the time taken under the lock so that it never goes back, and
  /// queues what it wants done.
  template <typename Event>
  void submit(const Event& event) LITECLUSTER_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    take(event(elector_, BootClock::now()));
  }

  Status release_and_wait(const Context& context, ReleaseOrder order) LITECLUSTER_EXCLUDES(mutex_) {
    const auto registration = context.on_cancel([this] {
      const MutexLock lock(mutex_);
      released_.notify_all();
    });
    MutexLock lock(mutex_);
    const std::uint64_t before = releases_;
    take(elector_.release(std::move(order), BootClock::now()));
    while (releases_ == before) {
      if (auto status = context.status("release the leader lease"); !status) return status;
      released_.wait_for(lock, context.remaining(std::chrono::seconds(1)));
    }
    return {};
  }

  [[nodiscard]] bool leads() const {
    return BootClock::now().time_since_epoch().count() < deadline_.load(std::memory_order_acquire);
  }
  [[nodiscard]] Epoch epoch() LITECLUSTER_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return elector_.epoch();
  }
  [[nodiscard]] std::optional<LeaderInfo> leader() LITECLUSTER_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return leader_;
  }
  [[nodiscard]] std::string last_problem() LITECLUSTER_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return problem_;
  }

 private:
  void publish_deadline(std::int64_t nanoseconds) {
    deadline_.store(nanoseconds, std::memory_order_release);
    if (options_.shared_deadline != nullptr) {
      options_.shared_deadline->store(nanoseconds, std::memory_order_release);
    }
  }

  // The guard keeps the deadline of a term that was lost: should this process hang before it has demoted, the
  // backend still dies on time.
  void withdraw_deadline(LossReason reason) {
    deadline_.store(0, std::memory_order_release);
    if (reason == LossReason::given_back && options_.shared_deadline != nullptr) {
      options_.shared_deadline->store(0, std::memory_order_release);
    }
  }

  void take(Elector::Actions actions) LITECLUSTER_REQUIRES(mutex_) {
    for (const Action& action : actions) {
      if (std::holds_alternative<ReadRecord>(action)) {
        read_wanted_ = true;
        read_due_.notify_one();
      } else if (const auto* wanted = std::get_if<WriteRecord>(&action)) {
        write_wanted_ = *wanted;
        write_due_.notify_one();
      } else if (const auto* timer = std::get_if<SetTimer>(&action)) {
        // A later time is seen when the earlier one has come.
        if (timer->at < timer_) timer_set_.notify_one();
        timer_ = timer->at;
      } else {
        tell(action);
      }
    }
    if (!events_.empty()) event_due_.notify_one();
  }

  void tell(const Action& action) LITECLUSTER_REQUIRES(mutex_) {
    if (const auto* began = std::get_if<BecameLeader>(&action)) {
      publish_deadline(began->deadline.time_since_epoch().count());
      events_.emplace_back(*began);
    } else if (const auto* extended = std::get_if<LeaseExtended>(&action)) {
      publish_deadline(extended->deadline.time_since_epoch().count());
      events_.emplace_back(*extended);
    } else if (const auto* lost = std::get_if<LostLeadership>(&action)) {
      withdraw_deadline(lost->reason);
      events_.emplace_back(*lost);
    } else if (const auto* changed = std::get_if<LeaderChanged>(&action)) {
      leader_ = changed->leader;
      events_.emplace_back(*changed);
    } else if (const auto* duplicate = std::get_if<DuplicateNode>(&action)) {
      events_.emplace_back(*duplicate);
    } else if (std::holds_alternative<Released>(action)) {
      ++releases_;
      released_.notify_all();
      events_.emplace_back(Released{});
    }
  }

  void observe(const std::optional<KvEntry>& entry) LITECLUSTER_EXCLUDES(mutex_) {
    if (!entry || entry->operation != KvOperation::put) {
      const Revision revision = entry ? entry->revision : Revision();
      submit([&](Elector& elector, BootTime now) {
        return elector.record_observed(revision, std::nullopt, now);
      });
      return;
    }
    auto record = decode_record(entry->value);
    if (record) {
      submit([&](Elector& elector, BootTime now) {
        return elector.record_observed(entry->revision, std::move(*record), now);
      });
    } else {
      note_problem(record.error().message());
      submit([&](Elector& elector, BootTime now) { return elector.record_unreadable(entry->revision, now); });
    }
  }

  void note_problem(std::string problem) LITECLUSTER_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    problem_ = std::move(problem);
  }

  void watch() {
    base::Backoff backoff(std::chrono::milliseconds(50), std::chrono::seconds(2));
    while (!stopped_.done()) {
      auto watch = bucket_.watch(stopped_, options_.key);
      while (watch && !stopped_.done()) {
        auto next = watch->next(stopped_.with_timeout(watch_wait));
        if (next) {
          backoff.reset();
          if (*next) observe(*next);
        } else if (next.error().code() != ErrorCode::deadline_exceeded) {
          watch = std::unexpected(next.error());
        }
      }
      if (stopped_.done()) return;
      note_problem(watch.error().message());
      stopped_.wait_for(backoff.next(base::random_u64()));
    }
  }

  void read() LITECLUSTER_EXCLUDES(mutex_) {
    while (wait_for_work(
        read_due_, [this]() LITECLUSTER_REQUIRES(mutex_) { return std::exchange(read_wanted_, false); })) {
      // Any replica's answer may be stale; the leader's is so only in the middle of its own election.
      const auto entry =
          bucket_.last(stopped_.with_timeout(request_timeout_), options_.key, nats::KvRead::leader);
      if (entry) {
        note_problem({});
        observe(*entry);
      } else if (!stopped_.done()) {
        note_problem(entry.error().message());
        submit([&](Elector& elector, BootTime now) { return elector.read_failed(now); });
      }
    }
  }

  void write() LITECLUSTER_EXCLUDES(mutex_) {
    std::optional<WriteRecord> wanted;
    while (wait_for_work(write_due_, [&]() LITECLUSTER_REQUIRES(mutex_) {
      wanted = std::exchange(write_wanted_, std::nullopt);
      return wanted.has_value();
    })) {
      LITECLUSTER_FAULT_POINT("election.write");
      const auto revision = bucket_.update(stopped_.with_timeout(request_timeout_), options_.key,
                                           encode_record(wanted->record), wanted->expected);
      LITECLUSTER_FAULT_POINT("election.written");
      note_problem(revision ? std::string() : revision.error().message());
      submit([&](Elector& elector, BootTime now) {
        return elector.write_finished(wanted->record.sequence,
                                      revision ? WriteOutcome::stored : outcome_of(revision.error()),
                                      revision.value_or(Revision()), now);
      });
    }
  }

  /// Waits on `due`, which is of one thread alone, until `take_work` says that there is some; false when it
  /// is time to stop.
  template <typename TakeWork>
  bool wait_for_work(base::ConditionVariable& due, const TakeWork& take_work) LITECLUSTER_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (!stopping_) {
      if (take_work()) return true;
      due.wait(lock);
    }
    return false;
  }

  void keep_time() LITECLUSTER_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (!stopping_) {
      const BootTime now = BootClock::now();
      if (now >= timer_) {
        timer_ = BootTime::max();
        take(elector_.tick(now));
      } else if (timer_ == BootTime::max()) {
        timer_set_.wait(lock);
      } else {
        timer_set_.wait_for(lock, std::min<base::Duration>(timer_ - now, timer_wait_max));
      }
    }
  }

  void call_listener() LITECLUSTER_EXCLUDES(mutex_) {
    std::optional<LeaseEvent> event;
    while (wait_for_work(event_due_, [&]() LITECLUSTER_REQUIRES(mutex_) {
      if (events_.empty()) return false;
      event = std::move(events_.front());
      events_.pop_front();
      return true;
    })) {
      if (options_.listener) options_.listener(*event);
    }
  }

  nats::KeyValue bucket_;
  std::shared_ptr<nats::Connection> connection_;
  const LeaseStoreOptions options_;
  const base::Duration request_timeout_;
  const Context stopped_ = Context::background().with_cancel();
  std::atomic<std::int64_t> deadline_{0};

  base::Mutex mutex_;
  // Each thread sleeps on its own, so that an event wakes none that has nothing to do.
  base::ConditionVariable read_due_;
  base::ConditionVariable write_due_;
  base::ConditionVariable timer_set_;
  base::ConditionVariable event_due_;
  base::ConditionVariable released_;  // of those who wait in release_and_wait()
  Elector elector_ LITECLUSTER_GUARDED_BY(mutex_);
  bool stopping_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  bool read_wanted_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  std::optional<WriteRecord> write_wanted_ LITECLUSTER_GUARDED_BY(mutex_);
  BootTime timer_ LITECLUSTER_GUARDED_BY(mutex_) = BootTime::max();
  /// Grows by one per heartbeat while the listener hangs, and no faster.
  std::deque<LeaseEvent> events_ LITECLUSTER_GUARDED_BY(mutex_);
  std::optional<LeaderInfo> leader_ LITECLUSTER_GUARDED_BY(mutex_);
  std::uint64_t releases_ LITECLUSTER_GUARDED_BY(mutex_) = 0;
  std::string problem_ LITECLUSTER_GUARDED_BY(mutex_);

  nats::Connection::Observer observer_;
  std::vector<std::jthread> threads_;
};

Result<std::unique_ptr<LeaseStore>> LeaseStore::start(nats::KeyValue bucket,
                                                      std::shared_ptr<nats::Connection> connection,
                                                      LeaseStoreOptions options) {
  if (auto status = validate(options.elector); !status) return std::unexpected(status.error());
  auto impl = std::make_unique<Impl>(std::move(bucket), std::move(connection), std::move(options));
  impl->start();
  return std::unique_ptr<LeaseStore>(new LeaseStore(std::move(impl)));
}

LeaseStore::LeaseStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LeaseStore::~LeaseStore() = default;

void LeaseStore::set_eligible(bool eligible) {
  impl_->submit([&](Elector& elector, BootTime now) { return elector.set_eligible(eligible, now); });
}
void LeaseStore::log_epoch_seen(Epoch epoch) {
  impl_->submit([&](Elector& elector, BootTime now) { return elector.log_epoch_seen(epoch, now); });
}
void LeaseStore::position_changed(Txid txid) {
  impl_->submit([&](Elector& elector, BootTime now) { return elector.position_changed(txid, now); });
}
void LeaseStore::peer_seen(std::string_view node, Txid txid) {
  impl_->submit([&](Elector& elector, BootTime now) { return elector.peer_seen(node, txid, now); });
}
void LeaseStore::peer_left(std::string_view node) {
  impl_->submit([&](Elector& elector, BootTime now) { return elector.peer_left(node, now); });
}
void LeaseStore::release(ReleaseOrder order) {
  impl_->submit([&](Elector& elector, BootTime now) { return elector.release(std::move(order), now); });
}
Status LeaseStore::release_and_wait(const Context& context, ReleaseOrder order) {
  return impl_->release_and_wait(context, std::move(order));
}
bool LeaseStore::leads() const {
  return impl_->leads();
}
Epoch LeaseStore::epoch() const {
  return impl_->epoch();
}
std::optional<LeaderInfo> LeaseStore::leader() const {
  return impl_->leader();
}
std::string LeaseStore::last_problem() const {
  return impl_->last_problem();
}

}  // namespace litecluster::election
