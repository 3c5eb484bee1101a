// A simulated cluster around the real election::Elector: a store with revisions and compare-and-swap, nodes
// with clocks of their own, and everything that goes wrong between them. One seed decides all; a run is
// single-threaded and reproduces exactly.
//
// A run has two parts. In the first, everything fails: messages are lost, late, doubled; reads are stale; the
// store is away for seconds; nodes are stopped for up to three leases, crash, restart as a new agent or as a
// new host, step down, fail their promotion. In the second, of three leases, the store and at least one node
// are well (others may stay dead, stopped, or unable to promote).
//
// Promises checked at every step:
//  * No two nodes are inside their deadlines at one real instant.
//    Why 0.8 against 1.0 suffices with clocks off by 5 %: let r be the last revision that the holder wrote
//    and p the real time at which it sent it. Its deadline is at most p + 0.8 ttl / 0.95 = p + 0.843 ttl. The
//    taker's bid succeeds only if r is still the newest revision, it saw r at a real time s >= p, and waited
//    1.0 ttl of its own clock, so it leads from s + 1.0 ttl / 1.05 >= p + 0.952 ttl on. The margin left,
//    0.109 ttl, is what the guard has for taking the backend away.
//  * Epochs strictly grow, as announced and in the store; no term leads again after its deadline.
//  * After the second part, somebody leads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "election/elector.hpp"

namespace litecluster::test {

struct SimulationResult {
  std::string violation;  ///< empty when every promise was kept
  std::uint64_t terms = 0;
  std::uint64_t events = 0;
};

class World {
 public:
  explicit World(election::PlantedBug bug = election::PlantedBug::none) : bug_(bug) {}

  SimulationResult run(std::uint64_t seed);
  /// The same run again, as lines of text for a person.
  std::string history(std::uint64_t seed);

 private:
  enum class Kind : std::uint8_t {
    timer,
    write_at_store,
    write_answered,
    read_at_store,
    read_answered,
    watched,
    crash,
    restart,
    pause,
    resume,
    step_down,
    demoted,
    promotion_failed,
    fenced,
    peer_update,
    connection_lost,
    connection_regained,
    eligible,
    purge,
    heal,
    end,
  };
  struct Event {
    std::int64_t time;
    std::uint32_t order;
    Kind kind;
    std::uint8_t node;
    std::uint16_t life;  ///< of the process that it is for
    std::uint64_t value;
  };
  struct Later {
    bool operator()(const Event& left, const Event& right) const {
      return left.time != right.time ? left.time > right.time : left.order > right.order;
    }
  };
  struct Node {
    std::optional<election::Elector> elector;
    std::int64_t clock_offset = 0;
    std::int64_t clock_ppm = 0;
    std::uint16_t life = 0;
    std::uint64_t family = 0;
    std::uint32_t number = 0;
    std::uint32_t timer = 0;
    std::int64_t paused_until = 0;
    std::int64_t leads_until = 0;  ///< real time; 0: does not lead
    std::uint64_t txid = 0;
    bool promotion_broken = false;
    std::vector<Event> missed;  ///< while stopped
  };
  struct InFlight {
    election::LeaderRecord record;
    std::uint64_t expected;
  };

  std::uint64_t random();
  std::int64_t between(std::int64_t low, std::int64_t high);
  bool chance(std::uint32_t percent) { return random() % 100 < percent; }
  std::int64_t delay();
  bool lost() { return !healed_ && chance(loss_percent_); }
  bool store_is_away() const;

  void set_up(std::uint64_t seed);
  void schedule_faults();
  void push(std::int64_t time, Kind kind, std::uint8_t node, std::uint64_t value);
  void handle(const Event& event);
  void handle_store(const Event& event);
  void handle_fault(const Event& event);
  void handle_process(Node& node, const Event& event);
  void start_process(std::uint8_t index, bool new_host);
  void perform(std::uint8_t index, election::Elector::Actions actions);
  void led(std::uint8_t index, base::BootTime deadline, std::optional<Epoch> epoch);
  void broadcast();
  void send_answer(std::uint8_t index, std::uint16_t life, Kind kind, std::uint64_t value);
  void stop_at_a_bad_moment(std::uint8_t index);
  void resume(Node& node);
  void heal();
  void violated(std::string what);
  template <typename Line>
  void trace(Line line);
  void fence(Epoch epoch, std::uint8_t by);

  base::BootTime local(const Node& node, std::int64_t real) const;
  std::int64_t real(const Node& node, base::BootTime local) const;

  election::PlantedBug bug_;
  std::uint64_t state_ = 0;
  std::vector<Event> queue_;
  std::uint32_t order_ = 0;
  std::int64_t now_ = 0;
  std::int64_t heal_at_ = 0;
  bool healed_ = false;
  std::vector<Node> nodes_;
  std::vector<InFlight> writes_;
  std::vector<election::LeaderRecord> store_;  ///< value of revision index + 1
  std::vector<bool> purged_;                   ///< parallel to store_
  /// Somebody deletes the record, which only the epochs in the log survive: then every node has read the log
  /// before it bids, as the application sees to.
  bool purged_run_ = false;
  struct Outage {
    std::int64_t from;
    std::int64_t until;
  };
  std::vector<Outage> outages_;
  std::uint32_t loss_percent_ = 0;
  std::uint32_t slow_percent_ = 0;
  std::uint32_t stale_percent_ = 0;
  std::uint32_t stop_percent_ = 0;
  std::uint32_t promotion_failure_percent_ = 0;
  Epoch log_epoch_;
  Epoch announced_;
  SimulationResult result_;
  bool tracing_ = false;
  std::string history_;
};

}  // namespace litecluster::test
