#include "ring/service.hpp"

#include <algorithm>
#include <atomic>
#include <utility>
#include <variant>

#include "base/logging.hpp"
#include "base/mutex.hpp"
#include "ring/coordinator.hpp"
#include "ring/participant.hpp"
#include "ring/request_server.hpp"
#include "ring/ring_impl.hpp"

namespace litecluster::ring {

using base::BootClock;
using base::BootTime;
using base::MutexLock;
using membership::Loop;

namespace {

constexpr std::string_view assignment_key = "ring.assignment";
constexpr std::string_view check_name = "ring";
/// A node that leaves goes on answering `not_owner` until nobody can take it for an owner any more: for at
/// most this long until the assignment says so, and then a moment for those who hear of it later.
constexpr auto hand_over_max = std::chrono::seconds(1);
constexpr auto linger = std::chrono::milliseconds(50);
/// For how long requests may go on after their partition is to be released, before they are cancelled.
constexpr auto request_patience = std::chrono::seconds(5);

}  // namespace

// All but what says otherwise happens on the loop.
class Service::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(membership::Service& members, nats::KeyValue bucket, std::shared_ptr<nats::Connection> connection,
       ServiceOptions options)
      : members_(members),
        loop_(members.loop()),
        bucket_(std::move(bucket)),
        options_(std::move(options)),
        request_timeout_(std::max<base::Duration>(options_.heartbeat / 2, std::chrono::milliseconds(50))),
        ring_(options_.ring ? options_.ring
                            : std::make_shared<Ring::Impl>(nullptr, options_.cluster, options_.node,
                                                           options_.partitions)),
        coordinator_({.partitions = options_.partitions, .lease = 3 * options_.heartbeat}),
        participant_(options_.partitions) {
    ring_->connect(std::move(connection));
  }

  void attach() {
    timer_ = loop_->add_timer([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->tick();
    });
    members_.add_listener([weak = weak_from_this()](const membership::ServiceEvent& event) {
      if (const auto self = weak.lock()) self->on_event(event);
    });
  }

  // Any thread. The membership service may be gone already.
  void stop() {
    wait_handed_over();
    stopped_.cancel();
    ring_->cancel_requests();
    std::unique_ptr<RequestServer> server;
    {
      const MutexLock lock(mutex_);
      server = std::move(server_);
    }
    server.reset();
    io_.stop();
    ring_->table.set_deadline(0);
    ring_->connect(nullptr);
  }

  [[nodiscard]] Ring ring() const { return Ring(ring_); }

  // Any thread.
  Status release_all(const Context& context) {
    const auto registration = context.on_cancel([this] {
      const MutexLock lock(mutex_);
      changed_.notify_all();
    });
    loop_->post([self = shared_from_this()] {
      self->leaving_ = true;
      self->let_go();
      self->pump();
    });
    MutexLock lock(mutex_);
    while (!settled_) {
      if (auto status = context.status("release partitions"); !status) return status;
      changed_.wait_for(lock, context.remaining(std::chrono::seconds(1)));
    }
    return {};
  }

 private:
  void on_event(const membership::ServiceEvent& event) {
    const BootTime now = BootClock::now();
    if (const auto* begun = std::get_if<membership::LifeBegun>(&event)) {
      start_serving();
      if (leaving_) return;
      set_deadline(begun->deadline);
      participant_.life_begun(now, begun->id, begun->deadline);
      coordinator_.life_begun(now, begun->id);
    } else if (const auto* renewed = std::get_if<membership::LifeRenewed>(&event)) {
      if (leaving_ || !alive_) return;
      set_deadline(renewed->deadline);
      participant_.renewed(renewed->deadline);
      return set_timer();
    } else if (const auto* over = std::get_if<membership::LifeOver>(&event)) {
      base::log_warning("ring: letting go of everything", {{"reason", over->reason}});
      lose_everything();
    } else if (std::holds_alternative<membership::Refused>(event) ||
               std::holds_alternative<membership::Left>(event)) {
      lose_everything();
    } else if (std::holds_alternative<membership::RosterChanged>(event)) {
      coordinator_due_ = true;
      others_ = std::ranges::any_of(members_.roster().entries(), [&](const auto& entry) {
        return entry.second.present && entry.first != options_.node;
      });
    } else if (const auto* other = std::get_if<membership::OtherKeySeen>(&event)) {
      assignment_entry(other->entry);
    } else if (std::holds_alternative<membership::InitialComplete>(event)) {
      coordinator_.initial_complete(now);
    } else {
      return;
    }
    pump();
  }

  // Any thread.
  void wait_handed_over() {
    {
      const MutexLock lock(mutex_);
      if (!settled_ || !server_) return;
    }
    const Context context = Context::background().with_timeout(hand_over_max);
    while (others_.load() && !context.done()) {
      const std::uint64_t change = ring_->table.change();
      if (!named_as_owner()) {
        Context::background().wait_for(linger);
        return;
      }
      static_cast<void>(ring_->table.wait_for_change(context, change, hand_over_max));
    }
  }

  [[nodiscard]] bool named_as_owner() const {
    for (std::uint32_t partition = 0; partition < options_.partitions; ++partition) {
      if (ring_->table.owner(Partition(partition)) == options_.node) return true;
    }
    return false;
  }

  void start_serving() {
    std::string problem;
    {
      const MutexLock lock(mutex_);
      if (server_ || !ring_->has_handler() || stopped_.done()) return;
      auto server = RequestServer::start(ring_, options_.request_threads);
      if (server) {
        server_ = std::move(*server);
      } else {
        problem = server.error().message();
      }
    }
    server_problem_ = std::move(problem);
  }

  void set_deadline(BootTime deadline) {
    alive_ = true;
    ring_->table.set_deadline(deadline.time_since_epoch().count());
  }

  void let_go() {
    alive_ = false;
    ring_->table.set_deadline(0);
    participant_.life_over(BootClock::now());
    coordinator_.life_over();
  }
  void lose_everything() {
    ring_->cancel_requests();
    let_go();
  }

  void assignment_entry(const KvEntry& entry) {
    if (entry.key != assignment_key) return;
    const BootTime now = BootClock::now();
    if (entry.operation != KvOperation::put) {
      record_problem_ = {HealthLevel::warning,
                         "the ring's assignment was deleted; it is being written again"};
      return coordinator_.assignment_deleted(now, entry.revision);
    }
    auto assignment = decode(entry.value);
    if (!assignment) {
      record_problem_ = {HealthLevel::critical, assignment.error().message()};
      return;
    }
    assignment_seen(entry.revision, std::make_shared<const Assignment>(std::move(*assignment)));
  }

  void assignment_seen(Revision revision, const std::shared_ptr<const Assignment>& assignment) {
    const BootTime now = BootClock::now();
    coordinator_.assignment_seen(now, revision, assignment);
    participant_.assignment_seen(now, assignment);
    record_problem_ = {};
    if (participant_.assignment() != assignment) return;
    ring_->table.set_assignment(assignment);
  }

  void tick() {
    participant_.tick(BootClock::now());
    pump();
  }

  // Listeners and hooks may call back into here: the outer call then finds the rest.
  void pump() {
    if (std::exchange(pumping_, true)) return;
    for (bool more = true; more;) {
      std::vector<ParticipantAction> actions = participant_.take_actions();
      for (ParticipantAction& action : actions) act(action);
      const auto due = coordinator_.next_tick();
      const BootTime now = BootClock::now();
      if (std::exchange(coordinator_due_, false) || (due && *due <= now)) {
        coordinator_.evaluate(now, members_.roster());
      }
      std::vector<CoordinatorAction> decisions = coordinator_.take_actions();
      for (CoordinatorAction& decision : decisions) act(decision);
      more = !actions.empty() || !decisions.empty();
    }
    pumping_ = false;
    set_timer();
    report(findings());
  }

  void set_timer() {
    auto next = coordinator_.next_tick();
    if (const auto other = participant_.next_tick()) next = next ? std::min(*next, *other) : other;
    loop_->set_timer(timer_, next);
  }

  void act(ParticipantAction& action) {
    if (auto* own = std::get_if<RunOwn>(&action)) {
      run_own(std::move(*own));
    } else if (auto* release = std::get_if<RunRelease>(&action)) {
      run_release(std::move(*release));
    } else if (std::holds_alternative<CancelHook>(action)) {
      own_context_.cancel();
    } else if (const auto* acknowledge = std::get_if<AcknowledgeRelease>(&action)) {
      members_.acknowledge(acknowledge->version);
    } else {
      if (options_.on_settled) options_.on_settled();
      if (!leaving_) return members_.settled();
      const MutexLock lock(mutex_);
      settled_ = true;
      changed_.notify_all();
    }
  }

  void run_own(RunOwn own) {
    own_context_ = stopped_.with_cancel();
    auto partitions = std::make_shared<const std::vector<Partition>>(std::move(own.partitions));
    base::log_info("ring: own", {{"partitions", partitions->size()}, {"version", own.version.value()}});
    membership::HookCall call{.name = "on_own", .parent = own_context_, .body = {}, .done = {}};
    if (options_.on_own) {
      call.body = [hook = options_.on_own, partitions](Context& context) {
        return hook(context, *partitions);
      };
    }
    submit(std::move(call), [partitions](Impl& self, const Status& status) {
      // What was cancelled because its partitions were taken away is no failure.
      if (!status && !self.own_context_.done()) {
        self.own_problem_ = "on_own failed: " + status.error().message();
      }
      self.participant_.hook_done(BootClock::now(), status.has_value());
      for (const Partition partition : *partitions) {
        self.ring_->table.set_owned(partition,
                                    self.participant_.state(partition) == Participant::State::owned);
      }
      self.ring_->table.announce();
    });
  }

  void run_release(RunRelease release) {
    for (const Partition partition : release.partitions) ring_->table.set_owned(partition, false);
    ring_->table.announce();
    auto partitions = std::make_shared<const std::vector<Partition>>(std::move(release.partitions));
    base::log_info("ring: release",
                   {{"partitions", partitions->size()}, {"version", release.version.value()}});
    // A node that leaves in good order goes on renewing its lease meanwhile.
    const bool hurry = release.life_is_over && !leaving_;
    const auto patience =
        hurry ? std::chrono::nanoseconds::zero() : std::chrono::nanoseconds(request_patience);
    membership::HookCall call{
        .name = "on_release",
        .body = [ring = ring_, hook = options_.on_release, partitions, patience](Context& context) -> Status {
          const Status idle = ring->finish_requests(context, *partitions, patience);
          if (hook) {
            if (Status status = hook(context, *partitions); !status) return status;
          }
          return idle;
        },
        .done = {}};
    submit(std::move(call), [](Impl& self, const Status& /*status*/) {
      // Failed or not, it was told, and nothing of these is served any more.
      self.participant_.hook_done(BootClock::now(), true);
    });
  }

  template <typename Done>
  void submit(membership::HookCall call, Done done) {
    call.done = [loop = loop_, weak = weak_from_this(), done = std::move(done)](const Status& status) {
      loop->post(
          [weak, done, status] {
            const auto self = weak.lock();
            if (!self || self->stopped_.done()) return;
            done(*self, status);
            self->pump();
          },
          Loop::Room::not_needed);
    };
    options_.executor(std::move(call));
  }

  void act(CoordinatorAction& action) {
    if (auto* write = std::get_if<WriteAssignment>(&action)) {
      io_.post([this, write = std::move(*write)] { this->write(write); });
    } else if (auto* expel = std::get_if<ExpelMember>(&action)) {
      io_.post([this, expel = std::move(*expel)] { this->expel(expel); });
    } else {
      members_.refuse(std::get<RingRefused>(action).error);
    }
  }

  /// From the thread of io_.
  template <typename Job>
  void post(Job job) {
    loop_->post([weak = weak_from_this(), job = std::move(job)] {
      if (const auto self = weak.lock()) {
        job(*self);
        self->pump();
      }
    });
  }

  // On the thread of io_.
  void write(const WriteAssignment& write) {
    const auto revision = bucket_.update(stopped_.with_timeout(request_timeout_), assignment_key,
                                         encode(*write.assignment), write.expected);
    post([revision, assignment = write.assignment](Impl& self) {
      if (revision) self.assignment_seen(*revision, assignment);
      self.coordinator_.assignment_written(BootClock::now());
      self.coordinator_due_ = true;
    });
  }

  void expel(const ExpelMember& expel) {
    const std::string& node = expel.record.member.id.node;
    if (const auto text = membership::encode(expel.record)) {
      const Context limit = stopped_.with_timeout(request_timeout_);
      const std::string key = "members." + node;
      // A record that was deleted by hand leaves a marker, which has a revision.
      const auto written = expel.expected.is_zero() ? bucket_.create(limit, key, *text)
                                                    : bucket_.update(limit, key, *text, expel.expected);
      if (written) base::log_warning("ring: expelled a silent member", {{"node", node}});
    }
    post([](Impl& self) { self.coordinator_.expel_done(BootClock::now()); });
  }

  [[nodiscard]] HealthResult findings() const {
    if (participant_.failing()) return {HealthLevel::critical, own_problem_};
    if (record_problem_.level != HealthLevel::passing) return record_problem_;
    if (!server_problem_.empty()) return {HealthLevel::critical, server_problem_};
    return {};
  }

  void report(HealthResult result) {
    if (result == reported_) return;
    reported_ = result;
    members_.report(std::string(check_name), std::move(result));
  }

  membership::Service& members_;  ///< to be used on its loop only
  const std::shared_ptr<Loop> loop_;
  nats::KeyValue bucket_;
  const ServiceOptions options_;
  const base::Duration request_timeout_;
  const Context stopped_ = Context::background().with_cancel();
  const std::shared_ptr<Ring::Impl> ring_;

  Coordinator coordinator_;
  Participant participant_;
  Context own_context_ = stopped_.with_cancel();
  std::atomic<bool> others_{false};
  bool alive_ = false;
  bool leaving_ = false;
  bool pumping_ = false;
  bool coordinator_due_ = false;
  std::string own_problem_;      ///< counts while the participant is failing
  HealthResult record_problem_;  ///< with the assignment as it lies in the bucket
  std::string server_problem_;
  HealthResult reported_;
  Loop::Timer* timer_ = nullptr;

  base::Mutex mutex_;
  base::ConditionVariable changed_;
  bool settled_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  std::unique_ptr<RequestServer> server_ LITECLUSTER_GUARDED_BY(mutex_);

  Loop io_;
};

Result<std::unique_ptr<Service>> Service::create(membership::Service& members, nats::KeyValue bucket,
                                                 std::shared_ptr<nats::Connection> connection,
                                                 ServiceOptions options) {
  if (auto status = check_partitions(options.partitions); !status) return std::unexpected(status.error());
  auto impl = std::make_shared<Impl>(members, std::move(bucket), std::move(connection), std::move(options));
  impl->attach();
  return std::unique_ptr<Service>(new Service(std::move(impl)));
}

Service::Service(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Service::~Service() {
  impl_->stop();
}

Ring Service::ring() const {
  return impl_->ring();
}

Status Service::release_all(const Context& context) {
  return impl_->release_all(context);
}

}  // namespace litecluster::ring
