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

/// Mistakes that the simulator has to find.
enum class PlantedBug {
  none,
  deadline_after_reply,    ///< the elector's own: the lease counts from the answer
  lead_without_reading,    ///< a standby is promoted without applying the rest of the log
  former_primary_trusted,  ///< a former leader's database becomes the standby without being judged
  no_final_sync,           ///< a hand-over does not wait for the log
  guard_asleep,            ///< the application outlives the lease of a stopped agent
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
  std::vector<Window> cuts;
  std::vector<Window> outages;
  std::vector<std::unique_ptr<Host>> hosts;
  bool healed = false;
  bool tracing = false;
  std::string history;

  [[nodiscard]] Time now() const { return schedule.now(); }
  [[nodiscard]] Time unit() const { return settings.unit(); }

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
