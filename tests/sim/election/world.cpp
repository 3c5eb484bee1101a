#include "sim/election/world.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace litecluster::test {

namespace {

using election::Elector;
using election::LeaderRecord;
using election::LeaseState;

constexpr std::int64_t millisecond = 1'000'000;
constexpr std::int64_t second = 1'000 * millisecond;
constexpr std::int64_t lease_ttl = 10 * second;
constexpr std::uint64_t events_max = 20'000;
constexpr std::int64_t clock_error_ppm = 50'000;

template <typename... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};

std::string name_of(std::size_t node) {
  return std::string(1, static_cast<char>('a' + node));
}

std::string text_of(const LeaderRecord& record) {
  return fmt::format("{}.{} {} epoch {} sequence {}{}{}", record.node, record.incarnation.number,
                     record.state == LeaseState::held ? "held" : "released", record.epoch.value(),
                     record.sequence, record.successor.empty() ? "" : " for ", record.successor);
}

}  // namespace

template <typename Line>
void World::trace(Line line) {
  if (tracing_) history_ += fmt::format("{:10.3f}  {}\n", static_cast<double>(now_) / second, line());
}

SimulationResult World::run(std::uint64_t seed) {
  set_up(seed);
  while (!queue_.empty() && result_.violation.empty()) {
    std::ranges::pop_heap(queue_, Later());
    const Event event = queue_.back();
    queue_.pop_back();
    now_ = event.time;
    if (++result_.events > events_max) violated("the nodes keep each other busy without end");
    if (event.kind == Kind::end) break;
    handle(event);
  }
  if (result_.violation.empty() &&
      std::ranges::none_of(nodes_, [&](const Node& node) { return node.leads_until > now_; })) {
    violated("nobody leads although the store and a node were well for three leases");
  }
  return result_;
}

std::string World::history(std::uint64_t seed) {
  tracing_ = true;
  history_.clear();
  run(seed);
  tracing_ = false;
  return std::exchange(history_, {});
}

// SplitMix64 (Steele, Lea, Flood 2014).
std::uint64_t World::random() {
  state_ += 0x9E3779B97F4A7C15ULL;
  std::uint64_t mixed = state_;
  mixed = (mixed ^ (mixed >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  mixed = (mixed ^ (mixed >> 27U)) * 0x94D049BB133111EBULL;
  return mixed ^ (mixed >> 31U);
}

std::int64_t World::between(std::int64_t low, std::int64_t high) {
  return low + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(high - low + 1));
}

std::int64_t World::delay() {
  if (!healed_ && chance(slow_percent_)) return between(50 * millisecond, 6 * second);
  return between(millisecond / 10, 40 * millisecond);
}

bool World::store_is_away() const {
  return std::ranges::any_of(
      outages_, [&](const Outage& outage) { return now_ >= outage.from && now_ < outage.until; });
}

void World::set_up(std::uint64_t seed) {
  state_ = seed;
  queue_.clear();
  order_ = 0;
  now_ = 0;
  healed_ = false;
  writes_.clear();
  store_.clear();
  purged_.clear();
  outages_.clear();
  log_epoch_ = Epoch();
  announced_ = Epoch();
  result_ = {};

  heal_at_ = between(10 * second, 50 * second);
  loss_percent_ = chance(50) ? 0 : static_cast<std::uint32_t>(between(1, 30));
  slow_percent_ = chance(50) ? 0 : static_cast<std::uint32_t>(between(1, 20));
  stale_percent_ = chance(50) ? 0 : static_cast<std::uint32_t>(between(1, 50));
  stop_percent_ = chance(50) ? 0 : static_cast<std::uint32_t>(between(1, 15));
  promotion_failure_percent_ = chance(70) ? 0 : static_cast<std::uint32_t>(between(1, 50));
  purged_run_ = chance(3);
  nodes_.resize(static_cast<std::size_t>(between(1, 4)));
  for (std::size_t index = 0; index < nodes_.size(); ++index) {
    Node& node = nodes_[index];
    node = Node();
    node.clock_offset = between(0, 1'000'000) * second;
    // The corners matter most.
    node.clock_ppm = chance(50) ? (chance(50) ? clock_error_ppm : -clock_error_ppm)
                                : between(-clock_error_ppm, clock_error_ppm);
    node.txid = static_cast<std::uint64_t>(between(0, 200));
    start_process(static_cast<std::uint8_t>(index), true);
  }
  schedule_faults();
  push(heal_at_, Kind::heal, 0, 0);
  push(heal_at_ + 3 * lease_ttl, Kind::end, 0, 0);
}

void World::schedule_faults() {
  if (chance(40)) {
    const std::int64_t from = between(0, heal_at_);
    outages_.push_back({from, std::min(heal_at_, from + between(second, 25 * second))});
  }
  static constexpr std::array kinds = {Kind::crash,       Kind::crash,       Kind::pause,
                                       Kind::pause,       Kind::step_down,   Kind::connection_lost,
                                       Kind::peer_update, Kind::peer_update, Kind::eligible};
  const std::int64_t count = between(0, 12);
  for (std::int64_t fault = 0; fault < count; ++fault) {
    const auto node = static_cast<std::uint8_t>(random() % nodes_.size());
    push(between(0, heal_at_), kinds[random() % kinds.size()], node, random());
  }
  if (purged_run_) push(between(0, heal_at_), Kind::purge, 0, 0);
}

void World::push(std::int64_t time, Kind kind, std::uint8_t node, std::uint64_t value) {
  queue_.push_back({.time = time,
                    .order = order_++,
                    .kind = kind,
                    .node = node,
                    .life = nodes_[node].life,
                    .value = value});
  std::ranges::push_heap(queue_, Later());
}

base::BootTime World::local(const Node& node, std::int64_t real_time) const {
  return base::BootTime(
      base::Duration(node.clock_offset + real_time + real_time * node.clock_ppm / 1'000'000));
}

std::int64_t World::real(const Node& node, base::BootTime local_time) const {
  const std::int64_t since = local_time.time_since_epoch().count() - node.clock_offset;
  // In two steps: the product of the whole would overflow.
  const std::int64_t rate = 1'000'000 + node.clock_ppm;
  return since / rate * 1'000'000 + since % rate * 1'000'000 / rate + 1;
}

void World::handle(const Event& event) {
  switch (event.kind) {
    case Kind::write_at_store:
    case Kind::read_at_store:
    case Kind::purge: return handle_store(event);
    case Kind::heal: return heal();
    case Kind::crash:
    case Kind::restart:
    case Kind::pause:
    case Kind::resume: return handle_fault(event);
    default: break;
  }
  Node& node = nodes_[event.node];
  // Whatever was meant for a process that died is lost with it; a stopped one finds all of it when it goes
  // on.
  if (!node.elector || node.life != event.life) return;
  if (now_ < node.paused_until) {
    node.missed.push_back(event);
    return;
  }
  handle_process(node, event);
}

void World::handle_store(const Event& event) {
  if (event.kind == Kind::purge) {
    if (healed_ || store_.empty()) return;
    trace([] { return "store: the record is deleted"; });
    store_.push_back(store_.back());
    purged_.push_back(true);
    broadcast();
    return;
  }
  if (store_is_away()) return;
  if (event.kind == Kind::read_at_store) {
    std::uint64_t revision = store_.size();
    if (!healed_ && chance(stale_percent_)) revision -= std::min<std::uint64_t>(revision, random() % 4);
    return send_answer(event.node, event.life, Kind::read_answered, revision);
  }
  const InFlight& write = writes_[event.value];
  const bool fits = write.expected == store_.size();
  trace([&] {
    return fmt::format("store: {} on revision {}: {}", text_of(write.record), write.expected,
                       fits ? fmt::format("revision {}", store_.size() + 1) : "conflict");
  });
  if (fits) {
    if (!store_.empty() && !purged_.back() && write.record.epoch <= store_.back().epoch &&
        !(write.record.epoch == store_.back().epoch &&
          write.record.incarnation == store_.back().incarnation)) {
      violated("an epoch in the store did not grow");
    }
    store_.push_back(write.record);
    purged_.push_back(false);
    broadcast();
  }
  // The answer: 0 for a conflict, else the revision; the sequence in the upper half.
  send_answer(event.node, event.life, Kind::write_answered,
              write.record.sequence << 32U | (fits ? store_.size() : 0));
}

void World::send_answer(std::uint8_t index, std::uint16_t life, Kind kind, std::uint64_t value) {
  if (lost()) return;
  queue_.push_back(
      {.time = now_ + delay(), .order = order_++, .kind = kind, .node = index, .life = life, .value = value});
  std::ranges::push_heap(queue_, Later());
}

void World::broadcast() {
  for (std::size_t index = 0; index < nodes_.size(); ++index) {
    const auto node = static_cast<std::uint8_t>(index);
    if (!lost()) push(now_ + delay(), Kind::watched, node, store_.size());
    if (!healed_ && loss_percent_ > 0 && chance(10)) push(now_ + delay(), Kind::watched, node, store_.size());
  }
}

void World::handle_fault(const Event& event) {
  Node& node = nodes_[event.node];
  switch (event.kind) {
    case Kind::crash: {
      if (healed_ || !node.elector) return;
      trace([&] { return fmt::format("{}: crashes", name_of(event.node)); });
      node.elector.reset();
      ++node.life;
      node.leads_until = 0;
      node.paused_until = 0;
      node.missed.clear();
      // A guard starts the next agent at once; a host takes its time.
      const bool host = event.value % 2 == 0;
      push(now_ + (host ? between(second, 30 * second) : between(5 * millisecond, 300 * millisecond)),
           Kind::restart, event.node, host ? 1 : 0);
      return;
    }
    case Kind::restart:
      if (node.elector || event.life != node.life) return;
      return start_process(event.node, event.value == 1);
    case Kind::pause:
      if (healed_ || !node.elector) return;
      node.paused_until = now_ + between(100 * millisecond, 3 * lease_ttl);
      trace([&] {
        return fmt::format("{}: stopped until {:.3f}", name_of(event.node),
                           static_cast<double>(node.paused_until) / second);
      });
      push(node.paused_until, Kind::resume, event.node, 0);
      return;
    case Kind::resume:
      if (node.life == event.life && now_ >= node.paused_until) resume(node);
      return;
    default: return;
  }
}

void World::start_process(std::uint8_t index, bool new_host) {
  Node& node = nodes_[index];
  ++node.life;
  ++node.timer;
  if (new_host) {
    node.family = random();
    node.number = 0;
  }
  ++node.number;
  election::ElectorConfig config;
  config.node = name_of(index);
  config.incarnation = {.family = node.family, .number = node.number};
  config.planted_bug = bug_;
  trace([&] {
    return fmt::format("{}: starts as number {}{}", config.node, node.number,
                       new_host ? " of a new host" : "");
  });
  node.elector.emplace(std::move(config));
  const base::BootTime now = local(node, now_);
  perform(index, node.elector->start(now));
  perform(index, node.elector->position_changed(Txid(node.txid), now));
  if (purged_run_ || chance(80)) perform(index, node.elector->log_epoch_seen(log_epoch_, now));
  perform(index, node.elector->set_eligible(true, now));
}

void World::handle_process(Node& node, const Event& event) {
  Elector& elector = *node.elector;
  const base::BootTime now = local(node, now_);
  const auto index = event.node;
  switch (event.kind) {
    case Kind::timer:
      if (event.value == node.timer) perform(index, elector.tick(now));
      return;
    case Kind::write_answered: {
      const std::uint64_t revision = event.value & 0xFFFF'FFFFU;
      return perform(index, elector.write_finished(event.value >> 32U,
                                                   revision == 0 ? election::WriteOutcome::conflict
                                                                 : election::WriteOutcome::stored,
                                                   Revision(revision), now));
    }
    case Kind::read_answered:
    case Kind::watched: {
      const std::uint64_t revision = event.value;
      std::optional<LeaderRecord> record;
      if (revision > 0 && !purged_[revision - 1]) record = store_[revision - 1];
      return perform(index, elector.record_observed(Revision(revision), std::move(record), now));
    }
    case Kind::step_down: {
      if (healed_ || !elector.leads(now)) return;
      const std::string successor = chance(50) ? name_of(random() % nodes_.size()) : "";
      return perform(index, elector.release({.reason = election::ReleaseReason::stepped_down,
                                             .position = {},
                                             .successor = successor == name_of(index) ? "" : successor},
                                            now));
    }
    case Kind::demoted:
      if (elector.owes_demotion()) perform(index, elector.release({}, now));
      return;
    case Kind::promotion_failed:
      if (healed_ && !node.promotion_broken) return;
      if (!elector.leads(now) || elector.epoch() != Epoch(event.value)) return;
      return perform(
          index,
          elector.release(
              {.reason = election::ReleaseReason::promotion_failed, .position = {}, .successor = {}}, now));
    case Kind::fenced: return fence(Epoch(event.value), index);
    case Kind::peer_update:
      for (std::size_t other = 0; other < nodes_.size(); ++other) {
        if (other == index) continue;
        perform(index, elector.peer_seen(name_of(other), Txid(nodes_[other].txid), now));
      }
      return;
    case Kind::connection_lost:
      push(now_ + between(0, 5 * second), Kind::connection_regained, index, 0);
      return perform(index, elector.connection_changed(false, now));
    case Kind::connection_regained: return perform(index, elector.connection_changed(true, now));
    case Kind::eligible: return perform(index, elector.set_eligible(healed_ || event.value % 2 == 0, now));
    default: return;
  }
}

// All that a stopped process missed comes at once. Messages keep their order; whether its timer or its socket
// wakes it first is anybody's guess.
void World::resume(Node& node) {
  node.paused_until = 0;
  const bool timer_first = chance(50);
  for (const bool timers : {timer_first, !timer_first}) {
    for (Event event : node.missed) {
      if ((event.kind == Kind::timer) != timers) continue;
      event.time = now_;
      event.order = order_++;
      queue_.push_back(event);
      std::ranges::push_heap(queue_, Later());
    }
  }
  node.missed.clear();
}

void World::heal() {
  healed_ = true;
  trace([] { return "all is well from now on"; });
  // One node that is well, whatever becomes of the others.
  const std::size_t well = random() % nodes_.size();
  for (std::size_t index = 0; index < nodes_.size(); ++index) {
    Node& node = nodes_[index];
    const bool stays_bad = index != well && chance(50);
    if (stays_bad) {
      node.promotion_broken = chance(50);
      if (chance(30) && node.elector) node.paused_until = heal_at_ + 4 * lease_ttl;
      continue;
    }
    if (node.paused_until > now_) resume(node);
    if (!node.elector) start_process(static_cast<std::uint8_t>(index), true);
    push(now_, Kind::eligible, static_cast<std::uint8_t>(index), 0);
  }
}

void World::perform(std::uint8_t index, Elector::Actions span) {
  // Performing one may bring the elector to its next event only through the queue, so the span stays valid.
  Node& node = nodes_[index];
  for (const election::Action& action : span) {
    std::visit(
        Overloaded{
            [&](const election::ReadRecord&) {
              if (!lost()) push(now_ + delay(), Kind::read_at_store, index, 0);
            },
            [&](const election::WriteRecord& write) {
              trace([&] {
                return fmt::format("{}: writes {} on revision {}", name_of(index), text_of(write.record),
                                   write.expected.value());
              });
              stop_at_a_bad_moment(index);
              if (lost()) return;
              writes_.push_back({write.record, write.expected.value()});
              push(now_ + delay(), Kind::write_at_store, index, writes_.size() - 1);
              // Sent once more by what lies between: the second one comes too late for its revision, or is
              // the first to arrive.
              if (!healed_ && loss_percent_ > 0 && chance(10)) {
                push(now_ + delay(), Kind::write_at_store, index, writes_.size() - 1);
              }
            },
            [&](const election::SetTimer& timer) {
              push(std::max(now_, real(node, timer.at)), Kind::timer, index, ++node.timer);
            },
            [&](const election::BecameLeader& began) { led(index, began.deadline, began.epoch); },
            [&](const election::LeaseExtended& extended) { led(index, extended.deadline, std::nullopt); },
            [&](const election::LostLeadership& ended) {
              trace([&] {
                return fmt::format("{}: epoch {} ends: {}", name_of(index), ended.epoch.value(),
                                   election::to_string(ended.reason));
              });
              node.leads_until = 0;
              if (ended.reason == election::LossReason::given_back) return;
              push(now_ + between(millisecond, healed_ ? 200 * millisecond : 3 * second), Kind::demoted,
                   index, 0);
            },
            [&](const election::Released&) {
              trace([&] { return fmt::format("{}: released", name_of(index)); });
            },
            [&](const election::LeaderChanged& changed) {
              trace([&] {
                return fmt::format("{}: sees {} lead", name_of(index),
                                   changed.leader ? changed.leader->node : "nobody");
              });
            },
            [&](const election::DuplicateNode&) { violated("a node took itself for another"); },
        },
        action);
  }
}

void World::led(std::uint8_t index, base::BootTime deadline, std::optional<Epoch> epoch) {
  Node& node = nodes_[index];
  const std::int64_t until = real(node, deadline);
  trace([&] {
    return fmt::format("{}: {} until {:.3f}", name_of(index),
                       epoch ? fmt::format("leads epoch {}", epoch->value()) : std::string("goes on"),
                       static_cast<double>(until) / second);
  });
  if (epoch) {
    ++result_.terms;
    if (*epoch <= announced_ || *epoch <= log_epoch_) violated("an announced epoch did not grow");
    announced_ = *epoch;
    if (purged_run_) {
      fence(*epoch, index);
    } else {
      push(now_ + between(0, 50 * millisecond), Kind::fenced, index, epoch->value());
    }
    if (node.promotion_broken || (!healed_ && chance(promotion_failure_percent_))) {
      push(now_ + between(0, second), Kind::promotion_failed, index, epoch->value());
    }
  } else if (node.leads_until < now_) {
    violated("a term went on after its deadline");
  }
  for (std::size_t other = 0; other < nodes_.size(); ++other) {
    if (other != index && nodes_[other].leads_until > now_) violated("two nodes are inside their deadlines");
  }
  node.leads_until = until;
  stop_at_a_bad_moment(index);
}

// Stops hurt most between a write and its answer, and right after a lease was extended.
void World::stop_at_a_bad_moment(std::uint8_t index) {
  if (!healed_ && chance(stop_percent_)) push(now_, Kind::pause, index, 0);
}

// The first append of a term; everybody reads the log sooner or later.
void World::fence(Epoch epoch, std::uint8_t by) {
  log_epoch_ = std::max(log_epoch_, epoch);
  for (std::size_t index = 0; index < nodes_.size(); ++index) {
    Node& reader = nodes_[index];
    if (index == by || !reader.elector) continue;
    if (!purged_run_ && (now_ < reader.paused_until || (!healed_ && chance(20)))) continue;
    perform(static_cast<std::uint8_t>(index),
            reader.elector->log_epoch_seen(log_epoch_, local(reader, now_)));
  }
}

void World::violated(std::string what) {
  trace([&] { return "VIOLATED: " + what; });
  if (result_.violation.empty()) result_.violation = std::move(what);
}

}  // namespace litecluster::test
