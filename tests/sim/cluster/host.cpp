#include "sim/cluster/host.hpp"

#include <utility>

#include "sim/cluster/agent.hpp"

namespace litecluster::test::cluster {

namespace {

constexpr std::int64_t clock_error_ppm = 50'000;
constexpr std::uint32_t tear_percent = 15;
constexpr std::int64_t wall_start_ms = 1'700'000'000'000;

}  // namespace

Host::Host(Simulation& simulation, std::size_t index) : simulation_(simulation), index_(index) {
  Scheduler& chance = simulation_.schedule;
  clock_offset_ = chance.between(0, 1'000'000) * second;
  // The corners matter most.
  clock_ppm_ = chance.chance(50) ? (chance.chance(50) ? clock_error_ppm : -clock_error_ppm)
                                 : chance.between(-clock_error_ppm, clock_error_ppm);
  wall_offset_ = chance.between(-second, second);
}

Host::~Host() {
  end_agent();
}

base::BootTime Host::boot_time() const {
  const Time now = simulation_.now();
  return base::BootTime(base::Duration(clock_offset_ + now + now / 1000 * clock_ppm_ / 1000));
}

base::WallTime Host::wall_time() const {
  return base::WallTime(
      std::chrono::milliseconds(wall_start_ms + (simulation_.now() + wall_offset_) / millisecond));
}

Time Host::true_time(base::BootTime local) const {
  const std::int64_t since = local.time_since_epoch().count() - clock_offset_;
  // In two steps: the product of the whole would overflow. Never too early.
  const std::int64_t rate = 1'000'000 + clock_ppm_;
  return since / rate * 1'000'000 + since % rate * 1'000'000 / rate + 1001;
}

void Host::agent_at(Time time, std::uint32_t life, Scheduler::Action action) {
  simulation_.schedule.at(time, [this, life, action = std::move(action)]() mutable {
    if (life != agent_life_ || !agent_) return;
    if (agent_paused()) {
      missed_by_agent_.push_back(std::move(action));
    } else {
      action();
    }
  });
}

void Host::machine_at(Time time, Scheduler::Action action) {
  simulation_.schedule.at(time, [this, life = machine_life_, action = std::move(action)]() mutable {
    if (life != machine_life_) return;
    if (machine_paused()) {
      missed_by_machine_.push_back(std::move(action));
    } else {
      action();
    }
  });
}

void Host::power_on() {
  if (powered_) return;
  powered_ = true;
  family_ = simulation_.schedule.random();
  number_ = 0;
  start_agent();
}

void Host::start_agent() {
  ++agent_life_;
  ++number_;
  agent_paused_until_ = 0;
  simulation_.trace("{}: agent {} starts", name(), number_);
  agent_ = std::make_unique<Agent>(simulation_, *this,
                                   election::Incarnation{.family = family_, .number = number_});
  agent_->start();
}

void Host::end_agent() {
  ++agent_life_;
  missed_by_agent_.clear();
  agent_.reset();
  leads_until = 0;
}

// The guard sees it at once, kills the application, and starts the next agent.
void Host::crash_agent() {
  if (!agent_ || machine_paused()) return;
  simulation_.trace("{}: the agent dies", name());
  end_agent();
  stop_application();
  armed_ = false;
  deadline_.reset();
  const Time unit = simulation_.unit();
  machine_at(simulation_.now() + simulation_.schedule.between(unit / 200, unit / 3),
             [this] { start_agent(); });
}

void Host::power_failure() {
  if (!powered_) return;
  simulation_.trace("{}: power fails", name());
  ++simulation_.statistics.power_failures;
  end_agent();
  stop_application();
  armed_ = false;
  deadline_.reset();
  powered_ = false;
  ++machine_life_;
  machine_paused_until_ = 0;
  missed_by_machine_.clear();
  const auto lost = [&](StateId from, StateId to) {
    for (; from != to && from != 0; from = simulation_.states.parent(from)) simulation_.judge.excused(from);
  };
  if (disk_.primary) {
    const StateId before = disk_.primary->content().state;
    disk_.primary->power_failure(simulation_.schedule, simulation_.states);
    lost(before, disk_.primary->content().state);
  }
  const StateId standby = disk_.replica.content().state;
  const StateId taken_for = disk_.replica.power_failure(simulation_.schedule);
  if (simulation_.lossy()) lost(standby, taken_for);
  if (simulation_.tears.chance(tear_percent)) tear_records();
  standby_seen = Txid();
  const Time unit = simulation_.unit();
  machine_at(simulation_.now() + simulation_.schedule.between(unit, 30 * unit), [this] { power_on(); });
}

void Host::tear_records() {
  simulation_.trace("{}: its records are torn", name());
  ++simulation_.statistics.torn;
  if (disk_.primary) disk_.primary->tear();
  if (!disk_.replica.empty()) disk_.replica.tear();
}

void Host::refused(const std::string& reason) {
  if (refusal_.empty()) ++simulation_.statistics.alarms;
  refusal_ = reason;
  note_said();
  simulation_.trace("{}: refuses: {}", name(), reason);
  end_agent();
  stop_application();
  armed_ = false;
  deadline_.reset();
  const Time unit = simulation_.unit();
  machine_at(simulation_.now() + simulation_.losses.between(unit, 10 * unit), [this] { start_agent(); });
}

std::string Host::problem(bool of_promotions) const {
  if (!refusal_.empty()) return refusal_;
  return agent_ ? agent_->problem(of_promotions) : std::string();
}

void Host::stop() {
  end_agent();
  stop_application();
  armed_ = false;
  deadline_.reset();
  ++machine_life_;
  missed_by_machine_.clear();
  refusal_.clear();
}

void Host::start() {
  powered_ = true;
  start_agent();
}

void Host::pause(Time until, bool whole) {
  if (!agent_ || agent_paused() || machine_paused()) return;
  simulation_.trace("{}: {} stopped until {:.4f}", name(), whole ? "all of it" : "the agent",
                    static_cast<double>(until) / second);
  agent_paused_until_ = until;
  if (whole) machine_paused_until_ = until;
  simulation_.schedule.at(until, [this, agent = agent_life_, machine = machine_life_] {
    if (agent == agent_life_ && machine == machine_life_) resume();
  });
}

// All that a stopped process missed comes at once. Whether the application or the guard is first is anybody's
// guess, and so is what wakes the agent first.
void Host::resume() {
  agent_paused_until_ = 0;
  machine_paused_until_ = 0;
  resumed_at_ = simulation_.now();
  auto machine = std::exchange(missed_by_machine_, {});
  auto agent = std::exchange(missed_by_agent_, {});
  if (machine.size() > 1 && simulation_.chance(50)) std::swap(machine.front(), machine.back());
  if (agent.size() > 1 && simulation_.chance(50)) std::swap(agent.front(), agent.back());
  for (auto& action : machine) machine_at(simulation_.now(), std::move(action));
  for (auto& action : agent) agent_at(simulation_.now(), std::move(action));
}

// The guard and the application.

void Host::share_deadline(base::BootTime deadline) {
  deadline_ = deadline;
  machine_at(true_time(deadline), [this] { guard_wakes(); });
}

void Host::guard_wakes() {
  if (!armed_ || !deadline_ || boot_time() < *deadline_ || !application_runs_) return;
  if (simulation_.bug == PlantedBug::guard_asleep) return;
  simulation_.trace("{}: the guard kills the application", name());
  stop_application();
}

void Host::start_application() {
  simulation_.trace("{}: the application starts", name());
  for (const auto& other : simulation_.hosts) {
    if (other.get() != this && other->application_can_act() && !simulation_.lease_is_unsure()) {
      simulation_.judge.violated("two applications are at work");
    }
  }
  application_runs_ = true;
  ++application_life_;
  schedule_write();
}

void Host::stop_application() {
  if (!application_runs_) return;
  simulation_.trace("{}: the application ends", name());
  application_runs_ = false;
}

void Host::schedule_write() {
  const Time unit = simulation_.unit();
  Scheduler& chance = simulation_.schedule;
  const Time pause =
      chance.chance(50) ? chance.between(unit / 500, unit / 20) : chance.between(unit / 20, 8 * unit);
  machine_at(simulation_.now() + pause, [this, life = application_life_] {
    if (!application_runs_ || life != application_life_) return;
    write();
    schedule_write();
  });
}

void Host::write() {
  if (simulation_.now() >= simulation_.settings.quiet_at || !disk_.primary) return;
  Scheduler& chance = simulation_.schedule;
  const StateId state = simulation_.states.commit(disk_.primary->content().state);
  const auto page = static_cast<std::size_t>(chance.random() % page_count);
  // Equal changes of two pages would cancel each other out in the checksum, which is linear.
  const std::uint64_t few = chance.random() % 2 * (page + 1) * 0x9E3779B97F4A7C15ULL;
  const std::uint64_t value = simulation_.settings.few_values ? few : chance.random();
  disk_.primary->commit(page, value, state);
  simulation_.judge.written(state, index_);
  ++simulation_.statistics.writes;
  simulation_.trace("{}: commit {}", name(), state);
  // inotify tells the agent.
  if (agent_) agent_at(simulation_.now(), [this] { agent_->database_changed(); });
}

}  // namespace litecluster::test::cluster
