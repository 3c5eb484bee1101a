#include "sim/cluster/lease.hpp"

#include <utility>
#include <vector>

#include "sim/cluster/agent.hpp"

namespace litecluster::test::cluster {

using election::Action;
using election::LeaderRecord;

namespace {

// The watches of all nodes learn of the newest revision.
void broadcast(Simulation& simulation) {
  const std::uint64_t revision = simulation.server.revision();
  const LeaderRecord record = simulation.server.record(revision);
  const std::uint32_t starts = simulation.server.starts();
  for (const auto& host : simulation.hosts) {
    if (!host->agent()) continue;
    if (const auto arrival = simulation.arrival(host->index(), false)) {
      host->agent_at(*arrival, [&simulation, host = host.get(), starts, revision, record] {
        if (simulation.server.starts() == starts) host->agent()->lease_news(revision, record);
      });
    }
  }
}

}  // namespace

Lease::Lease(Process& process, election::ElectorConfig config, Listener listener)
    : process_(process), listener_(std::move(listener)), elector_(std::move(config)) {}

void Lease::start() {
  perform(elector_.start(local()));
}

void Lease::observed(std::uint64_t revision, std::optional<LeaderRecord> record) {
  perform(elector_.record_observed(Revision(revision), std::move(record), local()));
}

Status Lease::release_and_wait(const Context& context, const election::ReleaseOrder& order) {
  const std::uint64_t before = releases_;
  const Time deadline = process_.now() + process_.simulation().settings.lease_ttl;
  release(order);
  while (releases_ == before) {
    if (auto status = context.status("release the leader lease"); !status) return status;
    if (process_.now() >= deadline) return failure(ErrorCode::deadline_exceeded, "release", {}, {});
    process_.wait_until(deadline);
  }
  return {};
}

void Lease::perform(election::Elector::Actions actions) {
  // What is told to a listener may come back as the next event, which ends the span.
  for (const Action& action : std::vector<Action>(actions.begin(), actions.end())) carry_out(action);
}

void Lease::carry_out(const Action& action) {
  Simulation& simulation = process_.simulation();
  if (std::holds_alternative<election::ReadRecord>(action)) {
    read();
  } else if (const auto* wanted = std::get_if<election::WriteRecord>(&action)) {
    write(*wanted);
  } else if (const auto* timer = std::get_if<election::SetTimer>(&action)) {
    process_.at(process_.host().true_time(timer->at), [this, number = ++timer_] {
      if (number == timer_) perform(elector_.tick(local()));
    });
  } else if (const auto* began = std::get_if<election::BecameLeader>(&action)) {
    simulation.trace("{}: leads epoch {}", process_.host().name(), began->epoch.value());
    ++simulation.statistics.terms;
    simulation.judge.leads(process_.host().index(), began->epoch);
    led(began->deadline);
    listener_.won(began->epoch);
  } else if (const auto* extended = std::get_if<election::LeaseExtended>(&action)) {
    led(extended->deadline);
  } else if (const auto* lost = std::get_if<election::LostLeadership>(&action)) {
    simulation.trace("{}: epoch {} ends: {}", process_.host().name(), lost->epoch.value(),
                     election::to_string(lost->reason));
    process_.host().leads_until = 0;
    if (lost->reason == election::LossReason::given_back) process_.host().withdraw_deadline();
    listener_.lost(*lost);
  } else if (std::holds_alternative<election::Released>(action)) {
    simulation.trace("{}: released", process_.host().name());
    ++releases_;
    process_.change();
  } else if (std::holds_alternative<election::DuplicateNode>(action)) {
    simulation.judge.violated("a node took itself for another");
  }
}

void Lease::read() {
  Simulation& simulation = process_.simulation();
  using Read = std::pair<std::uint64_t, std::optional<LeaderRecord>>;
  process_.send(
      [&simulation] {
        std::uint64_t revision = simulation.server.revision();
        if (simulation.trouble(Trouble::stale_read, simulation.settings.stale_percent)) {
          revision -= std::min<std::uint64_t>(revision, simulation.schedule.random() % 4);
        }
        return Read(revision,
                    revision > 0 ? std::optional(simulation.server.record(revision)) : std::nullopt);
      },
      [this](Read read) { observed(read.first, std::move(read.second)); });
}

void Lease::write(const election::WriteRecord& wanted) {
  stop_at_a_bad_moment();
  send_write(wanted);
  // Sent once more by what lies between.
  if (process_.simulation().trouble(Trouble::repetition, process_.simulation().settings.loss_percent / 3))
    send_write(wanted);
}

void Lease::send_write(const election::WriteRecord& wanted) {
  Simulation& simulation = process_.simulation();
  process_.send(
      [&simulation, wanted]() -> std::uint64_t {
        const bool stored = simulation.server.write(wanted.record, wanted.expected.value());
        if (simulation.lossy()) {
          simulation.trace("record: {} by {} in epoch {}, for revision {}: {}",
                           wanted.record.state == election::LeaseState::held ? "held" : "released",
                           wanted.record.node, wanted.record.epoch.value(), wanted.expected.value() + 1,
                           stored ? "stored" : "refused");
        }
        if (stored) simulation.note_reused_revision();
        if (stored) broadcast(simulation);
        return stored ? simulation.server.revision() : 0;
      },
      [this, sequence = wanted.record.sequence](std::uint64_t revision) {
        perform(elector_.write_finished(
            sequence, revision == 0 ? election::WriteOutcome::conflict : election::WriteOutcome::stored,
            Revision(revision), local()));
      });
}

void Lease::led(base::BootTime deadline) {
  Simulation& simulation = process_.simulation();
  Host& host = process_.host();
  host.leads_until = host.true_time(deadline);
  for (const auto& other : simulation.hosts) {
    if (other.get() == &host || other->leads_until <= simulation.now()) continue;
    if (simulation.lease_is_unsure()) {
      ++simulation.statistics.two_leaders;
    } else {
      simulation.judge.violated("two nodes are inside their deadlines");
    }
  }
  host.share_deadline(deadline);
  stop_at_a_bad_moment();
}

// Between a write and its answer, and right after a lease was extended.
void Lease::stop_at_a_bad_moment() {
  Simulation& simulation = process_.simulation();
  if (!simulation.trouble(Trouble::stop, simulation.settings.stop_percent)) return;
  Host& host = process_.host();
  const Time until =
      simulation.now() + simulation.schedule.between(simulation.unit(), 30 * simulation.unit());
  process_.at(simulation.now(), [&host, until, whole = simulation.chance(50)] { host.pause(until, whole); });
}

}  // namespace litecluster::test::cluster
