#include "sim/cluster/world.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/logging.hpp"
#include "log/restore_plan.hpp"
#include "sim/cluster/agent.hpp"
#include "sim/cluster/host.hpp"

namespace litecluster::test::cluster {

namespace {

constexpr std::uint64_t events_max = 400'000;
/// How long after the last fault somebody leads and writes go through, and how long after the last write all
/// nodes are equal; in leases.
constexpr Time leases_to_lead = 8;
constexpr Time leases_to_converge = 5;
/// When servers lost something: how long after the last fault the operator looks.
constexpr Time leases_to_look = 6;

}  // namespace

World::World(PlantedBug bug, Profile profile) {
  simulation_.bug = bug;
  simulation_.profile = profile;
  base::configure_logging(base::LogLevel::off, base::LogFormat::automatic);
}

World::~World() = default;

Outcome World::run(std::uint64_t seed, const Reduction& reduction) {
  simulation_.reduction = reduction;
  set_up(seed);
  Judge& judge = simulation_.judge;
  while (judge.violation().empty() && simulation_.now() < simulation_.settings.end_at &&
         simulation_.schedule.step()) {
    if (++simulation_.statistics.events > events_max)
      judge.violated("the nodes keep each other busy without end");
  }
  if (judge.violation().empty()) check_end();
  if (!judge.violation().empty()) simulation_.trace("VIOLATED: {}", judge.violation());
  simulation_.hosts.clear();
  simulation_.schedule.clear();
  std::ranges::sort(simulation_.faults);
  return {judge.violation(),
          simulation_.statistics,
          std::move(simulation_.faults),
          std::move(simulation_.troubles),
          simulation_.settings.nodes,
          simulation_.settings.heal_at};
}

std::string World::history(std::uint64_t seed, const Reduction& reduction) {
  simulation_.tracing = true;
  simulation_.history.clear();
  run(seed, reduction);
  simulation_.tracing = false;
  return std::exchange(simulation_.history, {});
}

void World::set_up(std::uint64_t seed) {
  simulation_.hosts.clear();
  simulation_.schedule.reset(seed);
  simulation_.losses.start(seed ^ 0x6C6F'7373'6573'2E00ULL);
  simulation_.tears.start(seed ^ 0x7465'6172'7300'0000ULL);
  simulation_.states.reset();
  simulation_.server.reset();
  simulation_.judge.reset();
  simulation_.statistics = {};
  simulation_.faults.clear();
  simulation_.troubles.clear();
  simulation_.troubles_drawn = 0;
  simulation_.cuts.clear();
  simulation_.outages.clear();
  simulation_.healed = false;
  simulation_.lease_unsure_until = 0;
  simulation_.highest_revision_lost = 0;
  states_at_heal_ = 0;
  history_at_heal_ = 0;
  lost_ = false;
  choose_settings();
  Scheduler& schedule = simulation_.schedule;
  for (std::size_t index = 0; index < simulation_.settings.nodes; ++index) {
    simulation_.hosts.push_back(std::make_unique<Host>(simulation_, index));
    Host* const host = simulation_.hosts.back().get();
    schedule.at(schedule.between(0, simulation_.unit()), [host] { host->power_on(); });
  }
  schedule_faults();
  if (simulation_.lossy()) schedule_losses();
  schedule.at(simulation_.settings.heal_at, [this] { heal(); });
  schedule.at(3 * simulation_.unit(), [this] { members_hear(); });
  schedule.at(simulation_.settings.end_at, [] {});
  schedule.vary(simulation_.reduction.variation);
  simulation_.losses.vary(simulation_.reduction.variation);
  simulation_.tears.vary(simulation_.reduction.variation);
}

void World::choose_settings() {
  Scheduler& chance = simulation_.schedule;
  Settings& settings = simulation_.settings;
  settings = {};
  settings.nodes = static_cast<std::size_t>(chance.between(2, 5));
  // One in eight is slow, so that the log's grace of a minute is short beside a stop.
  const bool slow = chance.random() % 8 == 0;
  settings.lease_ttl = slow ? 20 * second : 2 * second;
  const auto sometimes = [&](std::uint32_t percent, std::int64_t low, std::int64_t high) {
    return chance.chance(percent) ? static_cast<std::uint32_t>(chance.between(low, high)) : 0U;
  };
  settings.loss_percent = sometimes(50, 1, 20);
  settings.slow_percent = sometimes(50, 1, 15);
  settings.stale_percent = sometimes(50, 1, 40);
  settings.stop_percent = sometimes(50, 1, 8);
  settings.failure_percent = sometimes(30, 1, 40);
  settings.two_steps = chance.chance(50);
  settings.few_values = chance.chance(30);
  settings.heal_at = chance.between(3, 12) * settings.lease_ttl;
  settings.faults_until = settings.heal_at;
  const Reduction& reduction = simulation_.reduction;
  if (reduction.nodes) settings.nodes = std::clamp<std::size_t>(*reduction.nodes, 2, settings.nodes);
  if (reduction.heal_ms) settings.heal_at = std::min(settings.heal_at, *reduction.heal_ms * millisecond);
  settings.quiet_at = settings.heal_at + leases_to_lead * settings.lease_ttl;
  if (simulation_.lossy()) settings.quiet_at += leases_to_look * settings.lease_ttl;
  settings.end_at = settings.quiet_at + leases_to_converge * settings.lease_ttl;
}

void World::schedule_faults() {
  Scheduler& chance = simulation_.schedule;
  const Settings& settings = simulation_.settings;
  if (chance.chance(30)) {
    const Time from = chance.between(0, settings.faults_until);
    const Time until = from + chance.between(1, 25) * simulation_.unit();
    if (contains(simulation_.reduction.faults, 0)) {
      simulation_.outages.push_back({0, true, true, from, until});
      chance.at(from, [this] {
        if (simulation_.healed) return;
        simulation_.faults.push_back(0);
        simulation_.trace("fault 0: the servers are away");
      });
    }
  }
  const std::int64_t count = chance.between(0, 12);
  for (std::int64_t fault = 1; fault <= count; ++fault) {
    schedule_fault(static_cast<std::uint32_t>(fault), chance.between(0, settings.faults_until));
  }
}

void World::schedule_fault(std::uint32_t number, Time time) {
  Scheduler& chance = simulation_.schedule;
  const Time unit = simulation_.unit();
  Host* const host = simulation_.hosts[chance.random() % simulation_.hosts.size()].get();
  const auto when_it_leads = [this](auto action) {
    // Faults hurt most where somebody leads.
    for (const auto& other : simulation_.hosts) {
      if (other->agent() != nullptr && other->agent()->leads()) return action(*other);
    }
  };
  const bool leader = chance.chance(60);
  const auto on = [this, number, host, leader, when_it_leads, time](auto action) {
    if (!contains(simulation_.reduction.faults, number)) return;
    simulation_.schedule.at(time, [this, number, host, leader, when_it_leads, action] {
      if (simulation_.healed) return;
      simulation_.trace("fault {}", number);
      simulation_.faults.push_back(number);
      if (leader) {
        when_it_leads(action);
      } else {
        action(*host);
      }
    });
  };
  switch (chance.random() % 9) {
    case 0: return on([](Host& at) { at.crash_agent(); });
    case 1: return on([](Host& at) { at.power_failure(); });
    case 2:
    case 3: {
      const bool whole = chance.chance(50);
      const Time length = chance.between(1, chance.chance(30) ? 100 : 30) * unit;
      return on([time, length, whole](Host& at) { at.pause(time + length, whole); });
    }
    case 4:
    case 5: return on([this, time](Host& at) { cut(at, time); });
    case 6: return on([this](Host& at) { ask_for_hand_over(at); });
    case 7: {
      const Time by = chance.between(-20, 20) * 10 * second;
      return on([by](Host& at) { at.step_wall_clock(by); });
    }
    default:
      return on([this, unit](Host& at) {
        if (at.agent() == nullptr) return;
        at.agent()->connection_changed(false);
        at.agent_at(simulation_.now() + simulation_.schedule.between(0, 5 * unit),
                    [&at] { at.agent()->connection_changed(true); });
      });
  }
}

void World::cut(Host& host, Time from) {
  Scheduler& chance = simulation_.schedule;
  const std::int64_t which = chance.between(0, 2);
  const Time until = from + chance.between(1, 40) * simulation_.unit();
  simulation_.trace("{}: cut off {}", host.name(),
                    which == 0   ? "both ways"
                    : which == 1 ? "outgoing"
                                 : "incoming");
  simulation_.cuts.push_back({host.index(), which != 2, which != 1, from, until});
}

void World::ask_for_hand_over(Host& host) {
  if (host.agent() == nullptr || host.agent_paused()) return;
  const std::size_t other = simulation_.schedule.random() % simulation_.hosts.size();
  const bool named = other != host.index() && simulation_.chance(50);
  host.agent()->step_down(named ? simulation_.hosts[other]->name() : "");
}

void World::members_hear() {
  for (const auto& host : simulation_.hosts) {
    if (host->agent() != nullptr && !host->agent_paused() && simulation_.arrival(host->index(), false)) {
      host->agent()->members_heard();
    }
  }
  simulation_.schedule.at(simulation_.now() + 3 * simulation_.unit(), [this] { members_hear(); });
}

void World::heal() {
  simulation_.trace("all is well from now on");
  simulation_.healed = true;
  states_at_heal_ = simulation_.states.size();
  history_at_heal_ = simulation_.judge.history().size();
  for (const auto& host : simulation_.hosts) {
    if (host->agent_paused() || host->machine_paused()) host->resume();
    host->power_on();
  }
  if (simulation_.lossy()) {
    simulation_.schedule.at(simulation_.now() + leases_to_look * simulation_.settings.lease_ttl,
                            [this] { operator_looks(); });
  }
}

void World::check_end() {
  Judge& judge = simulation_.judge;
  const auto& hosts = simulation_.hosts;
  Host* const leader = leading();
  // Servers that lost something may leave a node waiting for the operator, as long as it says so.
  const auto waits = [this](const Host& host) { return lost_ && !host.problem().empty(); };
  if (leader == nullptr) {
    if (std::ranges::all_of(hosts, [&](const auto& host) { return waits(*host); })) return account();
    std::string states;
    for (const auto& host : hosts) {
      states += fmt::format(" {}: {};", host->name(), host->agent() ? host->agent()->state_text() : "down");
    }
    return judge.violated("nobody leads although all has been well for long:" + states);
  }
  // Then the log is not what it should be either.
  if (waits(*leader)) return account();
  if (judge.history().size() <= history_at_heal_ || judge.end_state() < states_at_heal_) {
    return judge.violated("no write has gone through although all has been well for long");
  }
  check_log();
  const auto& end = judge.history().back().content.pages;
  for (const auto& host : hosts) {
    if (waits(*host)) continue;
    const bool leads = host.get() == leader;
    if (leads ? !host->disk().primary : host->disk().primary.has_value()) {
      return judge.violated(fmt::format("{} has not come to its role", host->name()));
    }
    const Content& content = leads ? host->disk().primary->content() : host->disk().replica.content();
    if (content.pages != end) {
      return judge.violated(fmt::format("{} is not at the end of the history", host->name()));
    }
  }
  account();
}

// The log alone brings back the end of the history.
void World::check_log() {
  const Server& server = simulation_.server;
  log::LogView view;
  static_cast<void>(view.replace(server.list(server.sequence())));
  const auto plan = log::plan_reachable(view);
  Content content = Content::fresh();
  if (plan) {
    for (const log::Object& object : plan->objects) {
      const Server::Stored* const stored = server.find(object.name);
      if (stored == nullptr || stored->torn) {
        return simulation_.judge.violated(fmt::format("object {} is incomplete", to_string(object.name)));
      }
      apply_pages(content, LogFile::decode(stored->bytes));
    }
  }
  if (content.pages != simulation_.judge.history().back().content.pages) {
    for (const log::Object& object : server.list(server.sequence())) {
      simulation_.trace("there is {}, sequence {}", to_string(object.name), object.sequence.value());
    }
    simulation_.judge.violated("the log does not bring back the end of the history");
  }
}

void World::account() {
  std::vector<StateId> held;
  for (const auto& host : simulation_.hosts) {
    if (host->disk().primary) held.push_back(host->disk().primary->content().state);
    held.push_back(host->disk().replica.content().state);
  }
  simulation_.judge.account(held);
}

}  // namespace litecluster::test::cluster
