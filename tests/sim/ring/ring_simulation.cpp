#include "sim/ring/ring_simulation.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <optional>
#include <queue>
#include <utility>

#include <fmt/format.h>

#include "membership/roster.hpp"
#include "membership/session.hpp"
#include "ring/coordinator.hpp"
#include "ring/participant.hpp"

namespace litecluster::ring::sim {
namespace {

using base::BootTime;
using base::Duration;
using membership::Record;
using Nanoseconds = std::int64_t;

constexpr Nanoseconds millisecond = 1'000'000;
constexpr Nanoseconds second = 1'000 * millisecond;
constexpr Nanoseconds heartbeat = second;
constexpr Nanoseconds lease = 3 * heartbeat;
/// "Once membership is quiet all is owned within": stated in docs/pool-and-ring.md.
constexpr double rest_leases_max = 5;
/// Requests that a process may send within a lease, not counting that it expels others.
constexpr int requests_per_lease_max = 200;

/// splitmix64: small, fast, good enough.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9E37'79B9'7F4A'7C15ULL + 1) {}
  std::uint64_t next() {
    std::uint64_t value = (state_ += 0x9E37'79B9'7F4A'7C15ULL);
    value = (value ^ (value >> 30U)) * 0xBF58'476D'1CE4'E5B9ULL;
    value = (value ^ (value >> 27U)) * 0x94D0'49BB'1331'11EBULL;
    return value ^ (value >> 31U);
  }
  double real() { return static_cast<double>(next() >> 11U) * 0x1.0p-53; }
  bool chance(double probability) { return real() < probability; }
  Nanoseconds between(Nanoseconds low, Nanoseconds high) {
    return low + static_cast<Nanoseconds>(real() * static_cast<double>(high - low));
  }
  int below(int count) { return static_cast<int>(next() % static_cast<std::uint64_t>(count)); }

 private:
  std::uint64_t state_;
};

struct Value {
  Revision revision{};
  std::shared_ptr<const Record> record{};
  std::shared_ptr<const Assignment> assignment{};
  membership::ServerTime written_at{};
};

enum class EventKind { arrive, reply, timeout, news, watch_snapshot, wake, hook_done, start, chaos, quiet };
enum class Operation { session_read, session_write, assignment_write, expel };

struct Event {
  EventKind kind = EventKind::wake;
  int node = -1;
  std::uint32_t process = 0;  ///< events of a process that is gone are dropped
  Operation operation = Operation::session_read;
  std::uint64_t request = 0;
  int key = 0;
  Revision expected{};
  Value value{};
  membership::WriteOutcome outcome = membership::WriteOutcome::unknown;
  bool repeated = false;
  bool succeeded = true;
};

struct Process {
  Process(const membership::SessionOptions& session_options, const CoordinatorOptions& coordinator_options)
      : session(session_options),
        roster(session_options.heartbeat),
        coordinator(coordinator_options),
        participant(coordinator_options.partitions) {}

  membership::Session session;
  membership::Roster roster;
  Coordinator coordinator;
  Participant participant;
  Record content;
  std::vector<std::uint64_t> pending;  ///< requests that wait for an answer
  std::vector<Partition> hook_partitions;
  bool hook_owns = false;
  bool hook_cancelled = false;
  std::uint64_t hook = 0;
  bool leaving = false;
  bool watching = false;  ///< the first snapshot has come
  bool dirty = true;
  std::uint64_t generation = 0;
  Nanoseconds wake_at = std::numeric_limits<Nanoseconds>::max();
  Nanoseconds counted_from = 0;
  int counted = 0;  ///< requests since then, for up to a lease
};

struct Node {
  std::string name;
  double rate = 1;
  Nanoseconds offset = 0;
  std::uint32_t process_number = 0;
  std::unique_ptr<Process> process;
  Nanoseconds frozen_until = 0;
  Nanoseconds cut_off_until = 0;  ///< all of its messages are lost
  Nanoseconds watch_broken_until = 0;
  bool predecessor_known_dead = false;
};

class Simulation {
 public:
  explicit Simulation(const Config& config)
      : config_(config), random_(config.seed), keys_(static_cast<std::size_t>(config.nodes) + 1) {
    const double rate_max = config.planted == PlantedBug::clocks_out_of_range ? 0.35 : 0.05;
    for (int index = 0; index < config.nodes; ++index) {
      Node& node = nodes_.emplace_back();
      node.name = fmt::format("n{:02}", index);
      node.rate = 1 + rate_max * (2 * random_.real() - 1);
      node.offset = random_.between(0, 1000 * second);
    }
    owners_.resize(config.partitions);
    loss_ = random_.chance(0.5) ? 0 : 0.15 * random_.real();
    repeat_ = random_.chance(0.5) ? 0 : 0.1 * random_.real();
    slow_ = random_.chance(0.3) ? 0 : 0.1 * random_.real();
    stale_ = random_.chance(0.5) ? 0 : 0.5 * random_.real();
  }

  Outcome run();

 private:
  [[nodiscard]] BootTime local(const Node& node) const {
    return BootTime(Duration(node.offset + static_cast<Nanoseconds>(static_cast<double>(now_) * node.rate)));
  }
  [[nodiscard]] Nanoseconds real(const Node& node, BootTime time) const {
    const auto ticks = static_cast<double>(time.time_since_epoch().count() - node.offset);
    return static_cast<Nanoseconds>(ticks / node.rate) + 1;
  }
  template <typename... Arguments>
  void trace(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
    if (!config_.trace) return;
    outcome_.history.push_back(fmt::format("{:9.3f} ms  ", static_cast<double>(now_) / millisecond) +
                               fmt::format(text, std::forward<Arguments>(arguments)...));
  }
  void violate(std::string what) {
    if (!outcome_.violation.empty()) return;
    trace("VIOLATION {}", what);
    outcome_.violation = fmt::format("seed {}: {}", config_.seed, what);
  }

  void schedule(Nanoseconds time, Event event);
  Nanoseconds delay();
  void dispatch(Event& event);
  bool finished(EventKind kind);
  void node_event(Node& node, Event& event);

  // The server.
  void arrive(Event& event);
  void check_assignment(const Assignment& before, const Assignment& after);
  static void swap_targets(std::shared_ptr<const Assignment>& assignment);
  void tell_watchers(int key, const Value& value);

  // A node.
  void start(int index);
  void stop(Node& node, const char* how);
  void send(Node& node, Operation operation, int key, Revision expected, Value value);
  void count_request(Node& node);
  void answer(Node& node, Event& event);
  void news(Node& node, int key, const Value& value, bool initial);
  void pump(Node& node);
  void session_actions(Node& node);
  void participant_actions(Node& node);
  void coordinator_actions(Node& node);
  void schedule_wake(Node& node);
  void open(Node& node, Partition partition);
  void close(const Node& node, Partition partition);
  void hook_done(Node& node, const Event& event);

  void chaos();
  /// A time within the rough part.
  Nanoseconds trouble_ends() {
    return std::min(now_ + random_.between(0, 2 * lease),
                    static_cast<Nanoseconds>(config_.rough_seconds * second));
  }
  void turn_quiet();
  [[nodiscard]] bool at_rest() const;
  /// What is not at rest, for people.
  [[nodiscard]] std::string unrest() const;

  Config config_;
  Random random_;
  Outcome outcome_;
  Nanoseconds now_ = 0;
  std::uint64_t sequence_ = 0;
  std::uint64_t requests_ = 0;
  std::uint64_t revision_ = 0;
  bool quiet_ = false;
  bool resting_ = false;
  Nanoseconds quiet_at_ = 0;
  Nanoseconds storage_full_until_ = 0;  ///< writes are refused at once, reads are not
  double loss_ = 0;
  double repeat_ = 0;
  double slow_ = 0;
  double stale_ = 0;
  std::vector<Node> nodes_;
  std::vector<std::vector<Value>> keys_;  ///< newest last, a few older ones for stale reads
  std::vector<std::vector<int>> owners_;  ///< nodes whose interval of a partition is open

  using Ticket = std::tuple<Nanoseconds, std::uint64_t, std::uint32_t>;
  std::priority_queue<Ticket, std::vector<Ticket>, std::greater<>> queue_;
  std::vector<Event> events_;
  std::vector<std::uint32_t> free_events_;
};

void Simulation::schedule(Nanoseconds time, Event event) {
  std::uint32_t slot = 0;
  if (free_events_.empty()) {
    slot = static_cast<std::uint32_t>(events_.size());
    events_.push_back(std::move(event));
  } else {
    slot = free_events_.back();
    free_events_.pop_back();
    events_[slot] = std::move(event);
  }
  queue_.emplace(std::max(time, now_), ++sequence_, slot);
}

Nanoseconds Simulation::delay() {
  if (!quiet_ && random_.chance(slow_)) return random_.between(0, 2 * lease);
  return random_.between(millisecond / 10, 3 * millisecond);
}

Outcome Simulation::run() {
  const int at_start = 1 + random_.below(config_.nodes);
  for (int index = 0; index < at_start; ++index) {
    schedule(random_.between(0, second / 10), {.kind = EventKind::start, .node = index});
  }
  const auto rough = static_cast<Nanoseconds>(config_.rough_seconds * second);
  const int incidents = 1 + random_.below(2 * config_.nodes + 2);
  for (int incident = 0; incident < incidents; ++incident) {
    schedule(random_.between(second / 5, rough), {.kind = EventKind::chaos});
  }
  schedule(rough, {.kind = EventKind::quiet});
  while (!queue_.empty() && outcome_.violation.empty()) {
    const auto [time, order, slot] = queue_.top();
    queue_.pop();
    now_ = time;
    Event event = std::move(events_[slot]);
    free_events_.push_back(slot);
    dispatch(event);
    if (quiet_ && finished(event.kind)) break;
  }
  return std::move(outcome_);
}

// Most runs end as soon as the world is at rest; each eighth goes on, to see that it stays so.
bool Simulation::finished(EventKind kind) {
  const double leases = static_cast<double>(now_ - quiet_at_) / static_cast<double>(lease);
  const bool last = leases > rest_leases_max;
  const bool goes_on = config_.seed % 8 == 0;
  if (!goes_on && !last && config_.partitions > 32 && kind != EventKind::hook_done &&
      kind != EventKind::quiet)
    return false;
  if (!at_rest()) {
    resting_ = false;
    if (last) {
      trace("{}", unrest());
      violate(fmt::format("not all partitions owned {} leases after quiet", rest_leases_max));
    }
    return last;
  }
  if (!std::exchange(resting_, true)) outcome_.rest_leases = leases;
  return !goes_on || last;
}

void Simulation::dispatch(Event& event) {
  switch (event.kind) {
    case EventKind::chaos: return chaos();
    case EventKind::quiet: return turn_quiet();
    case EventKind::arrive: return arrive(event);
    case EventKind::start: return start(event.node);
    default: break;
  }
  Node& node = nodes_[static_cast<std::size_t>(event.node)];
  if (!node.process || node.process_number != event.process) return;
  if (now_ < node.frozen_until) return schedule(node.frozen_until, std::move(event));
  node_event(node, event);
  if (node.process) pump(node);
}

void Simulation::node_event(Node& node, Event& event) {
  bool initial = false;
  switch (event.kind) {
    case EventKind::reply:
    case EventKind::timeout: return answer(node, event);
    case EventKind::news:
      if (now_ < node.watch_broken_until || now_ < node.cut_off_until || !node.process->watching) return;
      return news(node, event.key, event.value, false);
    case EventKind::watch_snapshot:
      if (now_ < node.cut_off_until) return schedule(node.cut_off_until, std::move(event));
      node.watch_broken_until = 0;
      initial = !std::exchange(node.process->watching, true);
      for (std::size_t key = 0; key < keys_.size(); ++key) {
        if (!keys_[key].empty()) news(node, static_cast<int>(key), keys_[key].back(), initial);
      }
      node.process->coordinator.initial_complete(local(node));
      node.process->dirty = true;
      return;
    case EventKind::hook_done: return hook_done(node, event);
    case EventKind::wake:
      node.process->wake_at = std::numeric_limits<Nanoseconds>::max();
      node.process->session.tick(local(node));
      node.process->roster.tick(local(node));
      node.process->participant.tick(local(node));
      return;
    default: return;
  }
}

void Simulation::arrive(Event& event) {
  Node& node = nodes_[static_cast<std::size_t>(event.node)];
  if (now_ < node.cut_off_until) return;
  std::vector<Value>& versions = keys_[static_cast<std::size_t>(event.key)];
  if (event.operation == Operation::session_read) {
    if (!versions.empty()) {
      const auto back = !quiet_ && random_.chance(stale_) ? static_cast<std::size_t>(random_.below(3)) : 0;
      event.value = versions[versions.size() - 1 - std::min(back, versions.size() - 1)];
    }
  } else {
    const Revision present = versions.empty() ? Revision() : versions.back().revision;
    const bool blind =
        config_.planted == PlantedBug::expel_without_look && event.operation == Operation::expel;
    if (now_ < storage_full_until_) {
      event.outcome = membership::WriteOutcome::unknown;
    } else if (present != event.expected && !blind) {
      event.outcome = membership::WriteOutcome::conflict;
    } else {
      event.outcome = membership::WriteOutcome::done;
      event.value.revision = Revision(++revision_);
      event.value.written_at = membership::ServerTime(Duration(now_));
      if (event.value.assignment) {
        if (config_.planted == PlantedBug::needless_moves) swap_targets(event.value.assignment);
        static const Assignment nothing;
        const Assignment& before = versions.empty() ? nothing : *versions.back().assignment;
        check_assignment(before, *event.value.assignment);
      }
      if (event.operation == Operation::expel) ++outcome_.expelled;
      trace("server: revision {} of {} by {}", revision_,
            event.value.assignment ? fmt::format("assignment {}", event.value.assignment->version.value())
                                   : "member " + event.value.record->member.id.node + " state " +
                                         std::to_string(static_cast<int>(event.value.record->state)),
            node.name);
      versions.push_back(event.value);
      if (versions.size() > 4) versions.erase(versions.begin());
      tell_watchers(event.key, event.value);
    }
  }
  if (!quiet_ && (event.repeated || random_.chance(loss_))) return;
  event.kind = EventKind::reply;
  schedule(now_ + delay(), std::move(event));
}

// Still balanced, but two pairs of partitions change hands that need not.
void Simulation::swap_targets(std::shared_ptr<const Assignment>& assignment) {
  auto changed = std::make_shared<Assignment>(*assignment);
  const std::size_t half = changed->slots.size() / 2;
  for (std::size_t pair = 0; pair < 2 && half >= 2; ++pair) {
    std::swap(changed->slots[pair].target, changed->slots[half + pair].target);
  }
  assignment = std::move(changed);
}

void Simulation::check_assignment(const Assignment& before, const Assignment& after) {
  ++outcome_.versions;
  if (after.version != before.version.next()) violate("a version was skipped or repeated");
  const std::size_t partitions = after.slots.size();
  std::vector<std::size_t> now_has(after.members.size(), 0);
  std::vector<std::size_t> had(after.members.size(), 0);
  for (const Slot& slot : after.slots) ++now_has[slot.target];
  const auto stays = [&](std::uint16_t index) -> std::uint16_t {
    const MemberId* life = before.member(index);
    const std::uint16_t found = life == nullptr ? nobody : after.index_of(*life);
    return found != nobody && now_has[found] > 0 ? found : nobody;
  };
  std::size_t moved = 0;
  for (std::size_t partition = 0; partition < partitions; ++partition) {
    std::uint16_t base = nobody;
    if (!before.slots.empty()) {
      base = stays(before.slots[partition].target);
      if (base == nobody) base = stays(before.slots[partition].holder);
    }
    if (base != nobody) ++had[base];
    if (base != after.slots[partition].target) ++moved;
  }
  outcome_.moves += moved;
  std::erase(now_has, std::size_t{0});
  const std::size_t live = now_has.size();
  const auto [fewest, most] = std::ranges::minmax(now_has);
  if (most - fewest > 1) violate("an assignment is not balanced");
  std::ranges::sort(had, std::greater<>());
  std::size_t kept = 0;
  for (std::size_t rank = 0; rank < live; ++rank) {
    kept += std::min(had[rank], partitions / live + (rank < partitions % live ? 1 : 0));
  }
  if (moved > partitions - kept + 1) {
    violate(fmt::format("version {} moves {} partitions, {} would do", after.version.value(), moved,
                        partitions - kept));
  }
}

void Simulation::tell_watchers(int key, const Value& value) {
  for (std::size_t index = 0; index < nodes_.size(); ++index) {
    Node& node = nodes_[index];
    if (!node.process) continue;
    Event event{.kind = EventKind::news,
                .node = static_cast<int>(index),
                .process = node.process_number,
                .key = key,
                .value = value};
    if (!quiet_ && random_.chance(repeat_)) schedule(now_ + delay(), event);
    schedule(now_ + delay(), std::move(event));
  }
}

void Simulation::start(int index) {
  Node& node = nodes_[static_cast<std::size_t>(index)];
  if (node.process) return;
  ++node.process_number;
  node.frozen_until = 0;
  node.process = std::make_unique<Process>(
      membership::SessionOptions{.node = node.name,
                                 .incarnation = fmt::format("{}.{}", node.name, node.process_number),
                                 .heartbeat = Duration(heartbeat)},
      CoordinatorOptions{.partitions = config_.partitions, .lease = Duration(lease)});
  Record& content = node.process->content;
  content.member.mode = Mode::ring;
  content.member.role = Role::worker;
  content.ring.partitions = config_.partitions;
  trace("{} starts", node.name);
  const BootTime now = local(node);
  node.process->session.describe(now, content, false);
  node.process->session.start(now);
  schedule(now_ + delay(),
           {.kind = EventKind::watch_snapshot, .node = index, .process = node.process_number});
  pump(node);
}

void Simulation::stop(Node& node, const char* how) {
  if (!node.process) return;
  trace("{} {}", node.name, how);
  const int index = static_cast<int>(&node - nodes_.data());
  for (std::vector<int>& open : owners_) std::erase(open, index);
  node.process.reset();
}

void Simulation::send(Node& node, Operation operation, int key, Revision expected, Value value) {
  const int index = static_cast<int>(&node - nodes_.data());
  Event event{.kind = EventKind::arrive,
              .node = index,
              .process = node.process_number,
              .operation = operation,
              .request = ++requests_,
              .key = key,
              .expected = expected,
              .value = std::move(value)};
  trace("{} sends operation {}", node.name, static_cast<int>(operation));
  if (operation != Operation::expel) count_request(node);
  node.process->pending.push_back(event.request);
  Event timeout{.kind = EventKind::timeout,
                .node = index,
                .process = node.process_number,
                .operation = operation,
                .request = event.request};
  schedule(now_ + heartbeat, std::move(timeout));
  if (now_ < node.cut_off_until) return;
  if (!quiet_ && random_.chance(loss_)) return;
  if (!quiet_ && random_.chance(repeat_)) {
    Event again = event;
    again.repeated = true;
    schedule(now_ + delay(), std::move(again));
  }
  schedule(now_ + delay(), std::move(event));
}

void Simulation::count_request(Node& node) {
  Process& process = *node.process;
  if (now_ - process.counted_from > lease) {
    process.counted_from = now_;
    process.counted = 0;
  }
  ++process.counted;
  outcome_.requests_per_lease = std::max(outcome_.requests_per_lease, process.counted);
  if (process.counted > requests_per_lease_max) violate(fmt::format("{} spins", node.name));
}

void Simulation::answer(Node& node, Event& event) {
  Process& process = *node.process;
  if (now_ < node.cut_off_until && event.kind == EventKind::reply) return;
  if (std::erase(process.pending, event.request) == 0) return;
  const BootTime now = local(node);
  const bool answered = event.kind == EventKind::reply;
  trace("{} gets {} to operation {}", node.name, answered ? "an answer" : "no answer",
        static_cast<int>(event.operation));
  switch (event.operation) {
    case Operation::session_read:
      if (!answered) return process.session.read_failed(now);
      if (event.value.record) {
        const bool dead =
            node.predecessor_known_dead && !event.value.record->member.id.incarnation.starts_with(
                                               fmt::format("{}.{}", node.name, node.process_number));
        return process.session.read_done(now, {event.value.revision, *event.value.record, dead});
      }
      return process.session.read_done(now, {});
    case Operation::session_write:
      return process.session.written(now, answered ? event.outcome : membership::WriteOutcome::unknown,
                                     event.value.revision);
    case Operation::assignment_write:
      process.dirty = true;
      return process.coordinator.assignment_written(now);
    case Operation::expel: process.dirty = true; return process.coordinator.expel_done(now);
  }
}

void Simulation::news(Node& node, int key, const Value& value, bool initial) {
  Process& process = *node.process;
  const BootTime now = local(node);
  if (value.assignment) {
    process.dirty = true;
    process.coordinator.assignment_seen(now, value.revision, value.assignment);
    if (config_.planted == PlantedBug::own_before_release) {
      auto wrong = std::make_shared<Assignment>(*value.assignment);
      for (Slot& slot : wrong->slots) slot.holder = slot.target;
      return process.participant.assignment_seen(now, std::move(wrong));
    }
    return process.participant.assignment_seen(now, value.assignment);
  }
  process.roster.record_seen(now, value.revision, *value.record,
                             {.initial = initial, .written_at = value.written_at});
  if (&node == &nodes_[static_cast<std::size_t>(key)]) {
    process.session.record_seen(now, {value.revision, *value.record, false});
  }
}

void Simulation::pump(Node& node) {
  for (int round = 0; round < 8 && node.process; ++round) {
    session_actions(node);
    if (!node.process) return;
    participant_actions(node);
    if (!node.process) return;
    Process& process = *node.process;
    static_cast<void>(process.roster.take_events());
    const auto due = process.coordinator.next_tick();
    if (process.dirty || process.generation != process.roster.generation() || (due && *due <= local(node))) {
      process.dirty = false;
      process.generation = process.roster.generation();
      process.coordinator.evaluate(local(node), process.roster);
    }
    coordinator_actions(node);
  }
  if (node.process) schedule_wake(node);
}

void Simulation::session_actions(Node& node) {
  Process& process = *node.process;
  const int key = static_cast<int>(&node - nodes_.data());
  const BootTime now = local(node);
  if (process.session.live()) process.participant.renewed(process.session.deadline());
  for (membership::SessionAction& action : process.session.take_actions()) {
    if (std::holds_alternative<membership::ReadRecord>(action)) {
      send(node, Operation::session_read, key, Revision(), {});
    } else if (auto* write = std::get_if<membership::WriteRecord>(&action)) {
      send(node, Operation::session_write, key, write->expected,
           {.record = std::make_shared<const Record>(std::move(write->record))});
    } else if (auto* joined = std::get_if<membership::SessionJoined>(&action)) {
      trace("{} joined as {} at {}", node.name, joined->id.incarnation, joined->id.joined.value());
      process.participant.life_begun(now, joined->id, process.session.deadline());
      process.coordinator.life_begun(now, joined->id);
      process.dirty = true;
    } else if (auto* lapsed = std::get_if<membership::SessionLapsed>(&action)) {
      trace("{} lapsed: {}", node.name, lapsed->reason);
      ++outcome_.lapses;
      process.participant.life_over(now);
      process.coordinator.life_over();
    } else if (std::holds_alternative<membership::SessionLeft>(action)) {
      return stop(node, "left");
    } else if (auto* refused = std::get_if<membership::SessionRefused>(&action)) {
      // A last write of the predecessor that was still on its way looks like a living namesake.
      trace("{} refused: {}", node.name, refused->error.message());
      schedule(now_ + second, {.kind = EventKind::start, .node = key});
      return stop(node, "ends");
    }
  }
}

void Simulation::participant_actions(Node& node) {
  Process& process = *node.process;
  const BootTime now = local(node);
  Event done{.kind = EventKind::hook_done,
             .node = static_cast<int>(&node - nodes_.data()),
             .process = node.process_number};
  for (ParticipantAction& action : process.participant.take_actions()) {
    if (auto* own = std::get_if<RunOwn>(&action)) {
      trace("{} on_own of {} under version {}", node.name, own->partitions.size(), own->version.value());
      for (const Partition partition : own->partitions) open(node, partition);
      process.hook_partitions = std::move(own->partitions);
      process.hook_owns = true;
      process.hook_cancelled = false;
      done.request = process.hook = ++requests_;
      done.succeeded = quiet_ || !random_.chance(0.03);
      schedule(now_ + random_.between(0, 50 * millisecond), done);
    } else if (auto* release = std::get_if<RunRelease>(&action)) {
      trace("{} on_release of {} under version {}{}", node.name, release->partitions.size(),
            release->version.value(), release->life_is_over ? ", life is over" : "");
      process.hook_partitions = std::move(release->partitions);
      process.hook_owns = false;
      done.request = process.hook = ++requests_;
      done.succeeded = true;
      schedule(now_ + random_.between(0, 50 * millisecond), done);
    } else if (std::holds_alternative<CancelHook>(action)) {
      trace("{} on_own cancelled", node.name);
      process.hook_cancelled = true;
      done.request = process.hook;
      done.succeeded = false;
      schedule(now_ + random_.between(0, 20 * millisecond), done);
    } else if (auto* acknowledge = std::get_if<AcknowledgeRelease>(&action)) {
      trace("{} released version {}", node.name, acknowledge->version.value());
      process.content.ring.released = acknowledge->version;
      process.session.describe(now, process.content, true);
    } else if (process.leaving) {
      process.session.leave(now);
    } else {
      process.session.settled(now);
    }
  }
}

void Simulation::coordinator_actions(Node& node) {
  for (CoordinatorAction& action : node.process->coordinator.take_actions()) {
    if (auto* write = std::get_if<WriteAssignment>(&action)) {
      trace("{} writes version {} over revision {}", node.name, write->assignment->version.value(),
            write->expected.value());
      send(node, Operation::assignment_write, config_.nodes, write->expected,
           {.assignment = std::move(write->assignment)});
    } else if (auto* expel = std::get_if<ExpelMember>(&action)) {
      const std::string name = expel->record.member.id.node;
      trace("{} expels {} at revision {}", node.name, name, expel->expected.value());
      send(node, Operation::expel, std::stoi(name.substr(1)), expel->expected,
           {.record = std::make_shared<const Record>(std::move(expel->record))});
    } else {
      violate("a node was refused: " + std::get<RingRefused>(action).error.message());
    }
  }
}

void Simulation::schedule_wake(Node& node) {
  Process& process = *node.process;
  std::optional<BootTime> next;
  for (const auto& candidate : {process.session.next_tick(), process.roster.next_tick(local(node)),
                                process.coordinator.next_tick(), process.participant.next_tick()}) {
    if (candidate) next = next ? std::min(*next, *candidate) : *candidate;
  }
  if (!next) return;
  const Nanoseconds time = std::max(real(node, *next), now_ + 1);
  if (time >= process.wake_at) return;
  process.wake_at = time;
  schedule(time, {.kind = EventKind::wake,
                  .node = static_cast<int>(&node - nodes_.data()),
                  .process = node.process_number});
}

void Simulation::open(Node& node, Partition partition) {
  const int index = static_cast<int>(&node - nodes_.data());
  for (const int other : owners_[partition.value()]) {
    if (other == index) continue;
    const Node& holder = nodes_[static_cast<std::size_t>(other)];
    const Nanoseconds deadline = real(holder, holder.process->session.deadline());
    // A frozen process does nothing, and when it wakes up it looks at its deadline first.
    if (deadline <= now_ && holder.frozen_until >= deadline) continue;
    violate(fmt::format("partition {} is owned by {} and {}", partition.value(), holder.name, node.name));
  }
  owners_[partition.value()].push_back(index);
}

void Simulation::close(const Node& node, Partition partition) {
  std::erase(owners_[partition.value()], static_cast<int>(&node - nodes_.data()));
}

void Simulation::hook_done(Node& node, const Event& event) {
  Process& process = *node.process;
  if (event.request != process.hook) return;
  process.hook = 0;
  const bool succeeded = event.succeeded && !process.hook_cancelled;
  const bool still_owned = process.hook_owns && succeeded;
  if (!still_owned) {
    for (const Partition partition : process.hook_partitions) close(node, partition);
  }
  process.participant.hook_done(local(node), process.hook_owns ? succeeded : true);
}

void Simulation::chaos() {
  const int index = random_.below(config_.nodes);
  Node& node = nodes_[static_cast<std::size_t>(index)];
  if (!node.process) {
    node.predecessor_known_dead = random_.chance(0.5);
    return start(index);
  }
  switch (random_.below(7)) {
    case 0:
      if (node.process->leaving) return;
      trace("{} wants to leave", node.name);
      node.process->leaving = true;
      node.process->coordinator.life_over();
      node.process->participant.life_over(local(node));
      if (now_ >= node.frozen_until) pump(node);
      return;
    case 1: return stop(node, "crashes");
    case 2:
      stop(node, "crashes and starts again");
      node.predecessor_known_dead = random_.chance(0.5);
      return schedule(now_ + random_.between(0, lease), {.kind = EventKind::start, .node = index});
    case 3:
      node.frozen_until = std::max(node.frozen_until, trouble_ends());
      return trace("{} freezes until {} ms", node.name, node.frozen_until / millisecond);
    case 4:
      storage_full_until_ = std::max(storage_full_until_, trouble_ends());
      return trace("the server refuses all writes until {} ms", storage_full_until_ / millisecond);
    case 5:
      node.watch_broken_until = std::max(node.watch_broken_until, trouble_ends());
      trace("{} hears nothing until {} ms", node.name, node.watch_broken_until / millisecond);
      return schedule(node.watch_broken_until,
                      {.kind = EventKind::watch_snapshot, .node = index, .process = node.process_number});
    default:
      node.cut_off_until = std::max(node.cut_off_until, trouble_ends());
      trace("{} is cut off until {} ms", node.name, node.cut_off_until / millisecond);
      return schedule(node.cut_off_until,
                      {.kind = EventKind::watch_snapshot, .node = index, .process = node.process_number});
  }
}

void Simulation::turn_quiet() {
  quiet_ = true;
  quiet_at_ = now_;
  trace("quiet");
  if (std::ranges::none_of(nodes_, [](const Node& node) { return node.process && !node.process->leaving; })) {
    for (int index = 0; index < config_.nodes; ++index) {
      schedule(now_ + second, {.kind = EventKind::start, .node = index});
    }
  }
  for (std::size_t index = 0; index < nodes_.size(); ++index) {
    const Node& node = nodes_[index];
    if (node.process) {
      schedule(now_ + delay(), {.kind = EventKind::watch_snapshot,
                                .node = static_cast<int>(index),
                                .process = node.process_number});
    }
  }
}

bool Simulation::at_rest() const {
  std::vector<std::size_t> count(nodes_.size(), 0);
  std::size_t live = 0;
  for (const Node& node : nodes_) {
    if (node.process) ++live;
  }
  for (std::uint32_t partition = 0; partition < config_.partitions; ++partition) {
    if (owners_[partition].size() != 1) return false;
    const auto owner = static_cast<std::size_t>(owners_[partition].front());
    if (nodes_[owner].process->participant.state(Partition(partition)) != Participant::State::owned) {
      return false;
    }
    ++count[owner];
  }
  const std::size_t fewest = config_.partitions / live;
  for (std::size_t index = 0; index < nodes_.size(); ++index) {
    if (nodes_[index].process && (count[index] < fewest || count[index] > fewest + 1)) return false;
  }
  return true;
}

std::string Simulation::unrest() const {
  std::string text = "at the end:";
  for (const Node& node : nodes_) {
    if (!node.process) continue;
    const Process& process = *node.process;
    const auto& seen = process.participant.assignment();
    text += fmt::format(" {}: life {} (live {}), version {}, hook {}, failing {};", node.name,
                        process.session.id().incarnation, process.session.live(),
                        seen ? seen->version.value() : 0, process.hook, process.participant.failing());
  }
  for (std::uint32_t partition = 0; partition < config_.partitions; ++partition) {
    if (owners_[partition].size() == 1) continue;
    text += fmt::format(" partition {} has {} owners;", partition, owners_[partition].size());
    for (const Node& node : nodes_) {
      const auto seen = node.process ? node.process->participant.assignment() : nullptr;
      if (!seen) continue;
      const Slot& slot = seen->slots[partition];
      const auto name = [&](std::uint16_t index) {
        return index == nobody ? std::string("nobody") : seen->members[index].incarnation;
      };
      text += fmt::format(" {} sees holder {}, target {}, leaving since {}, and is in state {};", node.name,
                          name(slot.holder), name(slot.target), slot.leaving_since.value(),
                          static_cast<int>(node.process->participant.state(Partition(partition))));
    }
  }
  return text;
}

}  // namespace

Config random_config(std::uint64_t seed) {
  Random random(seed ^ 0x5EED);
  Config config{.seed = seed};
  if (seed % 32 == 0) {
    config.nodes = 5 + random.below(16);
    config.partitions = static_cast<std::uint32_t>(16 + random.below(241));
    config.rough_seconds = 20;
  } else if (seed % 4 == 0) {
    config.nodes = 3 + random.below(5);
    config.partitions = static_cast<std::uint32_t>(1 + random.below(32));
    config.rough_seconds = 15;
  } else {
    config.nodes = 2 + random.below(2);
    config.partitions = static_cast<std::uint32_t>(1 + random.below(6));
    config.rough_seconds = 4 + 6 * random.real();
  }
  return config;
}

Outcome simulate(const Config& config) {
  return Simulation(config).run();
}

std::string explain(Config config) {
  config.trace = true;
  const Outcome outcome = simulate(config);
  std::string text = fmt::format("{}\n{} nodes, {} partitions; the last of its history:\n", outcome.violation,
                                 config.nodes, config.partitions);
  const std::size_t first = outcome.history.size() > 120 ? outcome.history.size() - 120 : 0;
  for (std::size_t line = first; line < outcome.history.size(); ++line) text += outcome.history[line] + "\n";
  return text;
}

}  // namespace litecluster::ring::sim
