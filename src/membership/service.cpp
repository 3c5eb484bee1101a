#include "membership/service.hpp"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "base/backoff.hpp"
#include "base/logging.hpp"
#include "base/mutex.hpp"
#include "base/random.hpp"
#include "membership/health_board.hpp"
#include "membership/process_identity.hpp"

namespace litecluster::membership {

using base::BootClock;
using base::BootTime;
using base::MutexLock;

namespace {

constexpr std::string_view key_prefix = "members.";
constexpr auto forget_interval = std::chrono::minutes(1);
constexpr auto watch_wait = std::chrono::seconds(30);

std::string key_of(std::string_view node) {
  return std::string(key_prefix) + std::string(node);
}

}  // namespace

class Service::Impl {
 public:
  Impl(nats::KeyValue bucket, ServiceOptions options, Record content)
      : bucket_(std::move(bucket)),
        options_(std::move(options)),
        key_(key_of(options_.node)),
        request_timeout_(std::max<base::Duration>(options_.heartbeat / 2, std::chrono::milliseconds(50))),
        content_(std::move(content)),
        session_({.node = options_.node,
                  .incarnation = base::random_hex(16),
                  .heartbeat = options_.heartbeat,
                  .dead_incarnation = options_.dead_incarnation}),
        roster_(options_.heartbeat) {
    timer_ = loop_->add_timer([this] { tick(); });
    forget_timer_ = loop_->add_timer([this] { forget(); });
  }

  ~Impl() { stop(); }

  void stop() {
    stopped_.cancel();
    watcher_ = {};  // joins
    io_.stop();
    loop_->stop();
    deadline_.store(0, std::memory_order_release);
  }

  void add_listener(ServiceListener listener) { listeners_.push_back(std::move(listener)); }

  void start() {
    session_.describe(BootClock::now(), content_, false);
    loop_->set_timer(forget_timer_, BootClock::now() + forget_interval);
    watcher_ = std::jthread([this] { watch(); });
  }

  Status wait_for(const Context& context, bool joined) {
    const auto registration = context.on_cancel([this] {
      const MutexLock lock(mutex_);
      changed_.notify_all();
    });
    MutexLock lock(mutex_);
    while (true) {
      if (refused_ && joined) return std::unexpected(*refused_);
      if (refused_ || left_ || (joined && live())) return {};
      if (auto status = context.status(joined ? "join cluster" : "leave cluster"); !status) return status;
      changed_.wait_for(lock, context.remaining(std::chrono::seconds(1)));
    }
  }

  void leave() {
    loop_->post([this] {
      session_.leave(BootClock::now());
      pump();
    });
  }

  [[nodiscard]] bool live() const {
    return BootClock::now().time_since_epoch().count() < deadline_.load(std::memory_order_acquire);
  }

  [[nodiscard]] std::vector<Member> members() {
    const MutexLock lock(mutex_);
    return members_;
  }
  [[nodiscard]] MemberId id() {
    const MutexLock lock(mutex_);
    return id_;
  }
  [[nodiscard]] std::string last_problem() {
    const MutexLock lock(mutex_);
    return problem_;
  }
  [[nodiscard]] Health health() {
    const MutexLock lock(mutex_);
    return board_.health();
  }

  void report(const std::string& name, HealthResult result) {
    bool added = true;
    bool changed = false;
    {
      const MutexLock lock(mutex_);
      added = board_.report(name, std::move(result));
      changed = board_.has_change();
    }
    if (!added) base::log_warning("too many health checks", {{"name", name}});
    if (changed) loop_->post([this] { health_changed(); });
  }

  /// Changes what the record says.
  void describe(std::move_only_function<void(Record&)> change, bool urgent) {
    loop_->post([this, change = std::move(change), urgent]() mutable {
      change(content_);
      session_.describe(BootClock::now(), content_, urgent);
      pump();
    });
  }

  void set_position(const std::optional<Position>& position) {
    {
      const MutexLock lock(mutex_);
      if (position == position_) return;
      position_ = position;
    }
    // The newest: of two that come at once the later one may be posted first.
    describe(
        [this](Record& record) {
          const MutexLock lock(mutex_);
          record.member.position = position_;
        },
        false);
  }

  // The loop only.
  void acknowledge(RingVersion released) {
    content_.ring.released = released;
    session_.describe(BootClock::now(), content_, true);
    pump();
  }
  void settled() {
    if (refusing_) {
      session_.leave(BootClock::now());
    } else {
      session_.settled(BootClock::now());
    }
    pump();
  }
  // What is owned has to be let go before the goodbye, as for a lease that was lost.
  void refuse_and_leave(Error error) {
    if (refusing_) return;
    refusing_ = std::move(error);
    deadline_.store(0, std::memory_order_release);
    if (!session_.live()) return session_.leave(BootClock::now());
    tell(LifeOver{session_.id(), refusing_->message()});
    if (options_.mode != Mode::ring) session_.leave(BootClock::now());
  }
  void leave_for(Error error) {
    refuse_and_leave(std::move(error));
    pump();
  }

  [[nodiscard]] const std::shared_ptr<Loop>& loop() { return loop_; }
  [[nodiscard]] const Roster& roster() const { return roster_; }

 private:
  void health_changed() {
    std::optional<Health> health;
    {
      const MutexLock lock(mutex_);
      health = board_.take_change();
    }
    if (!health) return;
    content_.member.health = health->level;
    content_.member.health_reason = health->reason();
    session_.describe(BootClock::now(), content_, true);
    tell(HealthChanged{std::move(*health)});
    pump();
  }

  void tell(const ServiceEvent& event) {
    for (const ServiceListener& listener : listeners_) listener(event);
  }

  void tick() {
    const BootTime now = BootClock::now();
    session_.tick(now);
    roster_.tick(now);
    if (watching_ && !started_) begin_when_allowed();
    pump();
  }

  // Acts on what the machines want. A listener may call back into acknowledge() or settled() and so into
  // here: the outer call then finds the rest.
  void pump() {
    if (std::exchange(pumping_, true)) return;
    for (bool more = true; more;) {
      std::vector<SessionAction> actions = session_.take_actions();
      for (SessionAction& action : actions) act(action);
      std::vector<RosterEvent> events = roster_.take_events();
      for (const RosterEvent& event : events) tell(event);
      more = !actions.empty() || !events.empty();
      if (session_.live() && !refusing_ && session_.deadline() != told_deadline_) {
        told_deadline_ = session_.deadline();
        deadline_.store(told_deadline_.time_since_epoch().count(), std::memory_order_release);
        tell(LifeRenewed{told_deadline_});
        more = true;
      }
      if (roster_.generation() != told_generation_) {
        told_generation_ = roster_.generation();
        publish_members();
        refuse_late_conflict();
        tell(RosterChanged{});
        more = true;
      }
    }
    pumping_ = false;
    const BootTime now = BootClock::now();
    std::optional<BootTime> next = session_.next_tick();
    for (const auto& candidate : {roster_.next_tick(now), started_ ? std::nullopt : recheck_at_}) {
      if (candidate) next = next ? std::min(*next, *candidate) : candidate;
    }
    loop_->set_timer(timer_, next);
  }

  void act(SessionAction& action) {
    if (std::holds_alternative<ReadRecord>(action)) {
      io_.post([this] { read(); });
    } else if (auto* write = std::get_if<WriteRecord>(&action)) {
      io_.post([this, write = std::move(*write)] { this->write(write); });
    } else if (const auto* joined = std::get_if<SessionJoined>(&action)) {
      base::log_info("joined the cluster", {{"node", joined->id.node}, {"life", joined->id.joined.value()}});
      told_deadline_ = session_.deadline();
      deadline_.store(told_deadline_.time_since_epoch().count(), std::memory_order_release);
      {
        const MutexLock lock(mutex_);
        id_ = joined->id;
        changed_.notify_all();
      }
      tell(LifeBegun{joined->id, told_deadline_});
      refuse_late_conflict();
    } else if (const auto* lapsed = std::get_if<SessionLapsed>(&action)) {
      base::log_warning("membership lost", {{"node", lapsed->id.node}, {"reason", lapsed->reason}});
      deadline_.store(0, std::memory_order_release);
      tell(LifeOver{lapsed->id, lapsed->reason});
      if (refusing_ && options_.mode != Mode::ring) {
        session_.leave(BootClock::now());
      } else if (options_.mode != Mode::ring) {
        session_.settled(BootClock::now());
      }
    } else if (std::holds_alternative<SessionLeft>(action)) {
      deadline_.store(0, std::memory_order_release);
      {
        const MutexLock lock(mutex_);
        left_ = true;
        changed_.notify_all();
      }
      if (!refusing_) return tell(Left{});
      refuse(*refusing_);
    } else if (auto* refused = std::get_if<SessionRefused>(&action)) {
      refuse(refused->error);
    }
  }

  void refuse(const Error& error) {
    deadline_.store(0, std::memory_order_release);
    base::log_error("refused", {{"reason", error.message()}});
    {
      const MutexLock lock(mutex_);
      refused_ = error;
      changed_.notify_all();
    }
    tell(Refused{error});
  }

  /// Why this node and the one of `entry` cannot be in one cluster; nullopt when they can.
  [[nodiscard]] std::optional<Error> conflict_with(const RosterEntry& entry) const {
    const Record& other = entry.record;
    if (other.member.id.node == options_.node || other.state != RecordState::alive || entry.deleted) {
      return std::nullopt;
    }
    std::string difference;
    if (other.member.mode != options_.mode) {
      difference = "this node is configured for mode " + std::string(to_string(options_.mode)) + ", but " +
                   other.member.id.node + " runs in mode " + std::string(to_string(other.member.mode)) +
                   "; give each cluster a name of its own";
    } else if (other.ring.partitions != options_.partitions) {
      difference = "this node is configured with " + std::to_string(options_.partitions) +
                   " partitions, but " + other.member.id.node + " runs the ring with " +
                   std::to_string(other.ring.partitions) +
                   "; use the same number everywhere, or stop all nodes to change it";
    } else {
      return std::nullopt;
    }
    return Error(ErrorCode::failed_precondition, "join cluster", options_.node, std::move(difference));
  }

  // Before the own record is written: a node that is seen to renew another configuration keeps us out. One
  // that is silent for its lease does not count.
  void begin_when_allowed() {
    const BootTime now = BootClock::now();
    recheck_at_.reset();
    for (const auto& [node, entry] : roster_.entries()) {
      auto conflict = conflict_with(entry);
      if (!conflict) continue;
      if (entry.renewed) {
        started_ = true;
        return refuse(*conflict);
      }
      const BootTime silent_at = entry.seen_at + entry.record.lease;
      if (now < silent_at) recheck_at_ = recheck_at_ ? std::min(*recheck_at_, silent_at) : silent_at;
    }
    if (recheck_at_) return;
    started_ = true;
    session_.start(now);
  }

  // Two that started at the same moment: the one that joined later goes.
  void refuse_late_conflict() {
    if (!session_.live() || refusing_) return;
    for (const auto& [node, entry] : roster_.entries()) {
      if (!entry.present || entry.life.joined > session_.id().joined) continue;
      auto conflict = conflict_with(entry);
      if (!conflict) continue;
      return refuse_and_leave(std::move(*conflict));
    }
  }

  void publish_members() {
    std::vector<Member> members = roster_.members();
    const MutexLock lock(mutex_);
    members_ = std::move(members);
  }

  void forget() {
    const BootTime now = BootClock::now();
    for (ForgetRecord& record : roster_.take_forgettable(now)) {
      io_.post([this, record = std::move(record)] {
        // Somebody else may do it as well, or the node may be back: the revision decides.
        const auto context = stopped_.with_timeout(request_timeout_);
        static_cast<void>(bucket_.purge(context, key_of(record.node), record.revision));
      });
    }
    loop_->set_timer(forget_timer_, now + forget_interval);
  }

  void note_problem(std::string problem) {
    const MutexLock lock(mutex_);
    problem_ = std::move(problem);
  }

  // On the thread of io_.
  void read() {
    auto entry = bucket_.last(stopped_.with_timeout(request_timeout_), key_, nats::KvRead::leader);
    if (!entry) {
      note_problem(entry.error().message());
      return loop_->post([this] {
        session_.read_failed(BootClock::now());
        pump();
      });
    }
    OwnRecord own;
    if (*entry) {
      own.revision = (*entry)->revision;
      if ((*entry)->operation == KvOperation::put) own.record = decoded(**entry);
      own.process_is_dead = own.record && is_certainly_dead(own.record->process);
    }
    loop_->post([this, own = std::move(own)] {
      session_.read_done(BootClock::now(), own);
      pump();
    });
  }

  void write(const WriteRecord& write) {
    WriteOutcome outcome = WriteOutcome::unknown;
    Revision revision;
    const auto text = encode(write.record);
    if (text) {
      auto written = bucket_.update(stopped_.with_timeout(request_timeout_), key_, *text, write.expected);
      if (written) {
        outcome = WriteOutcome::done;
        revision = *written;
        note_problem({});
      } else {
        if (written.error().code() == ErrorCode::conflict) outcome = WriteOutcome::conflict;
        note_problem(written.error().message());
      }
    } else {
      note_problem(text.error().message());
    }
    loop_->post([this, outcome, revision] {
      session_.written(BootClock::now(), outcome, revision);
      pump();
    });
  }

  static std::optional<Record> decoded(const KvEntry& entry) {
    auto record = decode(entry.value);
    if (record && key_of(record->member.id.node) == entry.key) return std::move(*record);
    base::log_warning("unreadable member record",
                      {{"key", entry.key}, {"reason", record ? "of another node" : record.error().reason()}});
    return std::nullopt;
  }

  void watch() {
    base::Backoff backoff(std::chrono::milliseconds(50), std::chrono::seconds(2));
    const std::string_view pattern = options_.mode == Mode::ring ? ">" : "members.*";
    bool initial = true;
    std::optional<Error> lost;
    while (!stopped_.done()) {
      auto watch = bucket_.watch(stopped_, pattern);
      // While the bucket is gone, nobody knows what comes in its place.
      if (watch && lost) {
        loop_->post([this, lost = *std::exchange(lost, std::nullopt)] { history_lost(lost); });
        if (options_.mode == Mode::ring) return;
        initial = true;
      }
      const Error ended = watch ? follow(*watch, initial, backoff) : watch.error();
      if (stopped_.done()) return;
      if (watch && ended.code() == ErrorCode::failed_precondition) lost = ended;
      note_problem(ended.message());
      stopped_.wait_for(backoff.next(base::random_u64()));
    }
  }

  /// Until it ends. failed_precondition: what was watched is not the bucket's history any more, which a mere
  /// interruption or a server that lags behind is not taken for.
  Error follow(nats::KeyValueWatch& watch, bool& initial, base::Backoff& backoff) {
    while (true) {
      auto next = watch.next(stopped_.with_timeout(watch_wait));
      if (!next) {
        if (next.error().code() == ErrorCode::deadline_exceeded && !stopped_.done()) continue;
        return next.error();
      }
      backoff.reset();
      if (*next) {
        loop_->post([this, entry = std::move(**next), initial] { seen(entry, initial); });
      } else if (std::exchange(initial, false)) {
        loop_->post([this] { initial_complete(); });
      }
    }
  }

  // Whatever is remembered by revision is worth nothing now. In a ring that is all that this process goes by,
  // its versions included, so only a new process can take part in what there is now.
  void history_lost(const Error& why) {
    base::log_error("the coordination bucket lost what was known", {{"reason", why.reason()}});
    if (options_.mode != Mode::ring) return roster_.history_lost();
    leave_for(Error(ErrorCode::failed_precondition, "watch members", options_.node,
                    why.reason() + "; this node has to start anew"));
  }

  void initial_complete() {
    if (std::exchange(watching_, true)) return;
    tell(InitialComplete{});
    begin_when_allowed();
    pump();
  }

  void seen(const KvEntry& entry, bool initial) {
    if (!entry.key.starts_with(key_prefix)) return tell(OtherKeySeen{entry});
    const BootTime now = BootClock::now();
    const std::string node = entry.key.substr(key_prefix.size());
    if (entry.operation != KvOperation::put) {
      roster_.record_deleted(now, entry.revision, node);
      if (node == options_.node && started_) session_.record_seen(now, {entry.revision, std::nullopt});
      return tick();
    }
    const auto record = decoded(entry);
    if (!record) return;
    roster_.record_seen(now, entry.revision, *record, {.initial = initial, .written_at = entry.time});
    if (node == options_.node && session_.live()) session_.record_seen(now, {entry.revision, record});
    tick();
  }

  nats::KeyValue bucket_;
  const ServiceOptions options_;
  const std::string key_;
  const base::Duration request_timeout_;
  const Context stopped_ = Context::background().with_cancel();
  std::atomic<std::int64_t> deadline_{0};

  // On the loop.
  Record content_;
  Session session_;
  Roster roster_;
  std::vector<ServiceListener> listeners_;
  bool watching_ = false;
  bool started_ = false;
  bool pumping_ = false;
  std::optional<BootTime> recheck_at_;
  std::optional<Error> refusing_;
  BootTime told_deadline_{};
  std::uint64_t told_generation_ = 0;
  Loop::Timer* timer_ = nullptr;
  Loop::Timer* forget_timer_ = nullptr;

  base::Mutex mutex_;
  base::ConditionVariable changed_;
  HealthBoard board_ LITECLUSTER_GUARDED_BY(mutex_);
  std::optional<Position> position_ LITECLUSTER_GUARDED_BY(mutex_);
  std::vector<Member> members_ LITECLUSTER_GUARDED_BY(mutex_);
  MemberId id_ LITECLUSTER_GUARDED_BY(mutex_);
  bool left_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  std::optional<Error> refused_ LITECLUSTER_GUARDED_BY(mutex_);
  std::string problem_ LITECLUSTER_GUARDED_BY(mutex_);

  const std::shared_ptr<Loop> loop_ = std::make_shared<Loop>();
  Loop io_;
  std::jthread watcher_;
};

Result<std::unique_ptr<Service>> Service::create(nats::KeyValue bucket, ServiceOptions options) {
  Record content;
  Member& member = content.member;
  member.id.node = options.node;
  member.mode = options.mode;
  member.addresses = options.addresses;
  member.labels = options.labels;
  member.version = options.version;
  content.lease = std::chrono::ceil<std::chrono::milliseconds>(3 * options.heartbeat);
  content.process = own_process();
  content.ring.partitions = options.mode == Mode::ring ? options.partitions : 0;
  options.partitions = content.ring.partitions;
  if (const auto text = encode(content); !text) return std::unexpected(text.error());
  return std::unique_ptr<Service>(
      new Service(std::make_unique<Impl>(std::move(bucket), std::move(options), std::move(content))));
}

Service::Service(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Service::~Service() = default;

void Service::add_listener(ServiceListener listener) {
  impl_->add_listener(std::move(listener));
}
void Service::start() {
  impl_->start();
}
Status Service::wait_joined(const Context& context) {
  return impl_->wait_for(context, true);
}
void Service::stop() {
  impl_->stop();
}
Status Service::leave(const Context& context) {
  impl_->leave();
  return impl_->wait_for(context, false);
}
std::vector<Member> Service::members() const {
  return impl_->members();
}
MemberId Service::id() const {
  return impl_->id();
}
bool Service::live() const {
  return impl_->live();
}
std::string Service::last_problem() const {
  return impl_->last_problem();
}
Health Service::health() const {
  return impl_->health();
}
void Service::report(const std::string& name, HealthResult result) {
  impl_->report(name, std::move(result));
}
void Service::set_position(std::optional<Position> position) {
  impl_->set_position(position);
}
void Service::set_role(Role role, Epoch epoch) {
  impl_->describe(
      [role, epoch](Record& record) {
        record.member.role = role;
        record.member.epoch = epoch;
      },
      true);
}
std::shared_ptr<Loop> Service::loop() {
  return impl_->loop();
}
const Roster& Service::roster() const {
  return impl_->roster();
}
void Service::acknowledge(RingVersion released) {
  impl_->acknowledge(released);
}
void Service::settled() {
  impl_->settled();
}
void Service::refuse(Error error) {
  impl_->leave_for(std::move(error));
}

nats::KeyValueOptions coordination_bucket(std::string_view cluster) {
  return {.bucket = std::string(cluster) + "-coord",
          .description = "litecluster: leader, members and ring of " + std::string(cluster),
          .permanent = true,
          .replaceable = true};
}

}  // namespace litecluster::membership
