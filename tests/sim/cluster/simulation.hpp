// What all parts of one run share: time and chance, the servers, the network between, the judge.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/cluster/database.hpp"
#include "sim/cluster/fiber.hpp"
#include "sim/cluster/judge.hpp"
#include "sim/cluster/reduction.hpp"
#include "sim/cluster/scheduler.hpp"
#include "sim/cluster/server.hpp"

namespace litecluster::test::cluster {

class Host;

/// What may go wrong beyond messages, processes and machines.
enum class Profile {
  faithful,  ///< servers keep what they acknowledged, and records are whole
  lossy,     ///< they lose the end of what they acknowledged, and buckets vanish
};

/// Mistakes that the simulator has to find.
enum class PlantedBug {
  none,
  deadline_after_reply,    ///< the elector's own: the lease counts from the answer
  lead_without_reading,    ///< a standby is promoted without applying the rest of the log
  former_primary_trusted,  ///< a former leader's database becomes the standby without being judged
  no_final_sync,           ///< a hand-over does not wait for the log
  guard_asleep,            ///< the application outlives the lease of a stopped agent
  // Of the lossy profile.
  sequence_not_looked_at,  ///< an appender that does not notice that the servers went back
  applied_unchecked,       ///< a standby applies whatever has the next TXID
  bucket_made_anew,        ///< a bucket that vanished is created again without a word
};

/// What goes wrong by chance, wherever it can.
enum class Trouble : std::uint8_t { loss, delay, repetition, stale_read, stop, failed_start };

[[nodiscard]] constexpr const char* to_string(Trouble trouble) {
  switch (trouble) {
    case Trouble::loss: return "a message is lost";
    case Trouble::delay: return "a message is late";
    case Trouble::repetition: return "a message comes twice";
    case Trouble::stale_read: return "a stale read";
    case Trouble::stop: return "a stop at a bad moment";
    case Trouble::failed_start: return "the backend does not do as it is told";
  }
  return "";
}

/// How rough a run is. All times are in units of a tenth of the lease.
struct Settings {
  std::size_t nodes = 3;
  Time lease_ttl = 2 * second;
  std::uint32_t loss_percent = 0;
  std::uint32_t slow_percent = 0;
  std::uint32_t stale_percent = 0;
  std::uint32_t stop_percent = 0;     ///< of the moments at which a stop hurts most
  std::uint32_t failure_percent = 0;  ///< of a backend's starts
  bool two_steps = false;             ///< a put waits for its chunk, as on several replicas
  bool few_values = false;            ///< commits that undo each other occur
  Time faults_until = 0;              ///< of the seed's choice; those behind heal_at are left out
  Time heal_at = 0;
  Time quiet_at = 0;  ///< clients stop writing
  Time end_at = 0;

  [[nodiscard]] Time unit() const { return lease_ttl / 10; }
};

struct Statistics {
  std::uint64_t events = 0;
  std::uint64_t terms = 0;
  std::uint64_t writes = 0;
  std::uint64_t appends = 0;
  std::uint64_t promotions = 0;
  std::uint64_t hand_overs = 0;
  std::uint64_t seeds = 0;
  std::uint64_t diverged = 0;
  std::uint64_t deposed = 0;
  std::uint64_t merged = 0;
  std::uint64_t removed = 0;
  std::uint64_t power_failures = 0;
  std::uint64_t torn = 0;          ///< power failures that left a record torn
  std::uint64_t logs_lost = 0;     ///< ends of the log, with at least one transaction
  std::uint64_t records_lost = 0;  ///< revisions of the leader record
  std::uint64_t buckets_lost = 0;
  std::uint64_t alarms = 0;         ///< a node's guard of the bucket refuses
  std::uint64_t gaps = 0;           ///< terms that ended since the servers had gone back
  std::uint64_t watches_ended = 0;  ///< watches that said for good that the history is another
  std::uint64_t overwritten = 0;    ///< replicas that gave up commits that the servers had lost
  std::uint64_t operators = 0;      ///< logs begun anew by the operator
  std::uint64_t two_leaders = 0;    ///< since the leader record was lost

  void add(const Statistics& other) {
    events += other.events;
    terms += other.terms;
    writes += other.writes;
    appends += other.appends;
    promotions += other.promotions;
    hand_overs += other.hand_overs;
    seeds += other.seeds;
    diverged += other.diverged;
    deposed += other.deposed;
    merged += other.merged;
    removed += other.removed;
    power_failures += other.power_failures;
    torn += other.torn;
    logs_lost += other.logs_lost;
    records_lost += other.records_lost;
    buckets_lost += other.buckets_lost;
    alarms += other.alarms;
    gaps += other.gaps;
    watches_ended += other.watches_ended;
    overwritten += other.overwritten;
    operators += other.operators;
    two_leaders += other.two_leaders;
  }
};

struct Simulation {
  /// From and until when a path is cut, or the servers are away.
  struct Window {
    std::size_t host;
    bool to_server;
    bool to_host;
    Time from;
    Time until;
  };

  Scheduler schedule;
  // Apart, so that the rest of a run stays what its seed made it before there was such a thing:
  Chance losses;  ///< of the lossy profile
  Chance tears;   ///< of records that a power failure tears
  StateTree states;
  Server server;
  Judge judge{states};
  FiberPool fibers;
  Settings settings;
  Statistics statistics;
  Reduction reduction;
  Numbers faults;    ///< that happened, ascending only at the end
  Numbers troubles;  ///< that happened
  std::uint32_t troubles_drawn = 0;
  PlantedBug bug = PlantedBug::none;
  Profile profile = Profile::faithful;
  std::vector<Window> cuts;
  std::vector<Window> outages;
  std::vector<std::unique_ptr<Host>> hosts;
  /// Servers lost the record of a lease that its holder may still count on: one who knows no more of it than
  /// they do takes it. Nobody can tell; the log's fence keeps the two apart.
  /// So does one who knows another record under a revision that is used again, and slept meanwhile.
  Time lease_unsure_until = 0;
  std::uint64_t highest_revision_lost = 0;
  bool healed = false;
  bool tracing = false;
  std::string history;

  [[nodiscard]] Time now() const { return schedule.now(); }
  [[nodiscard]] Time unit() const { return settings.unit(); }
  [[nodiscard]] bool lossy() const { return profile == Profile::lossy; }

  bool chance(std::uint32_t percent) { return schedule.chance(percent); }
  /// Only while things may go wrong.
  bool trouble(Trouble kind, std::uint32_t percent) {
    if (healed || percent == 0 || !schedule.chance(percent)) return false;
    const std::uint32_t number = troubles_drawn++;
    if (!contains(reduction.troubles, number)) return false;
    troubles.push_back(number);
    trace("trouble {}: {}", number, to_string(kind));
    return true;
  }

  [[nodiscard]] bool lease_is_unsure() const { return now() < lease_unsure_until; }
  void make_lease_unsure() { lease_unsure_until = now() + settings.lease_ttl * 12 / 10; }
  void note_reused_revision() {
    if (highest_revision_lost > 0 && server.revision() <= highest_revision_lost + 1) make_lease_unsure();
  }

  [[nodiscard]] bool server_away() const {
    for (const Window& window : outages) {
      if (!healed && now() >= window.from && now() < window.until) return true;
    }
    return false;
  }

  /// When a message arrives that is sent now; nothing: never.
  std::optional<Time> arrival(std::size_t host, bool to_server) {
    for (const Window& cut : cuts) {
      if (!healed && cut.host == host && (to_server ? cut.to_server : cut.to_host) && now() >= cut.from &&
          now() < cut.until)
        return std::nullopt;
    }
    if (trouble(Trouble::loss, settings.loss_percent)) return std::nullopt;
    if (trouble(Trouble::delay, settings.slow_percent))
      return now() + schedule.between(unit() / 20, 6 * unit());
    return now() + schedule.between(unit() / 10'000, unit() / 25);
  }

  /// The end of the stream as one who reads from a server that lags behind may see it.
  std::uint64_t visible_sequence() {
    const std::uint64_t end = server.sequence();
    if (!trouble(Trouble::stale_read, settings.stale_percent)) return end;
    return end - std::min<std::uint64_t>(end, schedule.random() % 6);
  }

  template <typename... Values>
  void trace(fmt::format_string<Values...> text, Values&&... values) {
    if (!tracing) return;
    history += fmt::format("{:10.4f}  ", static_cast<double>(now()) / static_cast<double>(second));
    history += fmt::format(text, std::forward<Values>(values)...);
    history += '\n';
  }
};

}  // namespace litecluster::test::cluster
