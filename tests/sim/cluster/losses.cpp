// What servers lose that they had acknowledged, and what the operator does about it: the lossy profile of
// World. Its chances come from a stream of their own.
//
// The log's bucket goes back to an earlier sequence (a majority lost what it had not synced, or was restored
// from an older state, which holds what was removed since), the leader's record to an earlier revision, or
// the bucket is gone, and somebody may create an empty one. All of these come with a start of the servers, so
// consumers end.
//
// Some time after the last fault the operator looks. Who needs nothing is left alone; otherwise a new log is
// begun as docs/operations.md says (The bucket is gone, or lost its end).
#include <algorithm>
#include <optional>

#include "log/log_view.hpp"
#include "sim/cluster/agent.hpp"
#include "sim/cluster/host.hpp"
#include "sim/cluster/world.hpp"

namespace litecluster::test::cluster {

namespace {

/// Numbers of their own, behind those of all other faults.
constexpr std::uint32_t first_loss = 100;

}  // namespace

void World::schedule_losses() {
  const std::int64_t count = simulation_.losses.between(0, 3);
  for (std::int64_t number = 0; number < count; ++number) {
    schedule_loss(first_loss + static_cast<std::uint32_t>(number));
  }
}

void World::schedule_loss(std::uint32_t number) {
  Chance& chance = simulation_.losses;
  const Time time = chance.between(0, simulation_.settings.faults_until);
  const Time away = chance.chance(70) ? chance.between(1, 15) * simulation_.unit() : 0;
  const std::int64_t kind = chance.between(0, 9);
  if (!contains(simulation_.reduction.faults, number)) return;
  simulation_.schedule.at(time, [this, number, away, kind] {
    if (simulation_.healed) return;
    simulation_.faults.push_back(number);
    simulation_.trace("fault {}: the servers start anew", number);
    simulation_.server.restart();
    simulation_.outages.push_back({0, true, true, simulation_.now(), simulation_.now() + away});
    for (const auto& host : simulation_.hosts) {
      if (!lost_) host->forget_said();
      if (host->agent() == nullptr) continue;
      host->agent_at(simulation_.now(), [at = host.get()] { at->agent()->connection_changed(false); });
      host->agent_at(simulation_.now() + away + simulation_.unit() / 20,
                     [at = host.get()] { at->agent()->connection_changed(true); });
    }
    if (kind <= 5) lose_log();
    if (kind >= 5 && kind <= 7) lose_records();
    if (kind >= 8) lose_bucket();
    note_loss();
  });
}

void World::lose_log() {
  Server& server = simulation_.server;
  Chance& chance = simulation_.losses;
  const std::int64_t most = chance.chance(70) ? 8 : 60;
  const auto back = std::min(server.sequence(), static_cast<std::uint64_t>(chance.between(1, most)));
  const bool restored = chance.chance(50);
  simulation_.trace("the log goes back from sequence {} to {}", server.sequence(), server.sequence() - back);
  server.lose_log(server.sequence() - back, restored);
}

void World::lose_records() {
  Server& server = simulation_.server;
  const auto back = std::min(server.revision(), static_cast<std::uint64_t>(simulation_.losses.between(1, 6)));
  simulation_.trace("the leader record goes back from revision {} to {}", server.revision(),
                    server.revision() - back);
  simulation_.statistics.records_lost += back;
  simulation_.highest_revision_lost = std::max(simulation_.highest_revision_lost, server.revision());
  server.lose_records(server.revision() - back);
  simulation_.make_lease_unsure();
}

void World::lose_bucket() {
  Chance& chance = simulation_.losses;
  simulation_.trace("the bucket is gone");
  ++simulation_.statistics.buckets_lost;
  simulation_.server.delete_bucket();
  if (!chance.chance(50)) return;
  simulation_.schedule.at(simulation_.now() + chance.between(0, 40) * simulation_.unit(), [this] {
    if (simulation_.server.exists()) return;
    simulation_.trace("somebody creates the bucket anew");
    simulation_.server.create();
  });
}

void World::note_loss() {
  Server& server = simulation_.server;
  lost_ = true;
  log::LogView view;
  static_cast<void>(view.replace(server.list(server.sequence())));
  const std::size_t lost = simulation_.judge.servers_lost(server.sequence(), view.end().txid);
  if (lost == 0) return;
  ++simulation_.statistics.logs_lost;
  simulation_.trace("{} transactions are lost, the log ends at TXID {}", lost, view.end().txid.value());
}

Host* World::leading() const {
  for (const auto& host : simulation_.hosts) {
    if (host->agent() != nullptr && host->agent()->leads()) return host.get();
  }
  return nullptr;
}

void World::operator_looks() {
  if (!lost_) return;
  const auto& hosts = simulation_.hosts;
  // That one could not be promoted matters when nobody is.
  const bool led = leading() != nullptr;
  const auto fine = [led](const auto& host) { return host->problem(!led).empty(); };
  for (const auto& host : hosts) {
    if (const auto problem = host->problem(); !problem.empty())
      simulation_.trace("{}: says: {}", host->name(), problem);
  }
  if (led) {
    // Some wait for as long as somebody serves.
    if (std::ranges::all_of(hosts, fine) || simulation_.losses.chance(50)) return;
  } else if (std::ranges::all_of(hosts, fine)) {
    return simulation_.judge.violated("nobody leads, and nobody says why");
  }
  begin_log_anew();
}

void World::begin_log_anew() {
  const auto& hosts = simulation_.hosts;
  Host* chosen = leading();
  if (chosen == nullptr) chosen = hosts[simulation_.judge.last_leader()].get();
  if (!chosen->disk().primary) {
    chosen = std::ranges::max_element(hosts, {}, [](const auto& host) {
               return host->disk().replica.txid();
             })->get();
  }
  simulation_.trace("the operator begins a new log with what {} has", chosen->name());
  ++simulation_.statistics.operators;
  // Nothing: nobody has got any database yet.
  std::optional<Content> content;
  if (chosen->disk().primary) {
    content = chosen->disk().primary->content();
  } else if (!chosen->disk().replica.empty()) {
    content = chosen->disk().replica.content();
  }
  for (const auto& host : hosts) {
    host->stop();
    if (host->disk().primary) simulation_.judge.kept_aside(host->disk().primary->content(), host->index());
    simulation_.judge.kept_aside(host->disk().replica.content(), host->index());
    host->disk() = Disk();
    host->standby_seen = Txid();
  }
  // What is still on its way to the old bucket is not for the new one.
  simulation_.schedule.at(simulation_.now() + 10 * simulation_.unit(),
                          [this, chosen, content] { start_with(*chosen, content); });
}

void World::start_with(Host& chosen, const std::optional<Content>& content) {
  const auto& hosts = simulation_.hosts;
  if (content) chosen.disk().primary.emplace(*content);
  simulation_.server.delete_bucket();
  simulation_.server.create();
  simulation_.judge.begins_anew();
  history_at_heal_ = 0;
  states_at_heal_ = simulation_.states.size();
  for (const auto& host : hosts) host->start();
}

}  // namespace litecluster::test::cluster
