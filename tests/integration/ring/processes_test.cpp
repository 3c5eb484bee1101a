// Real processes that join, leave, are killed and are frozen at random, judged by their hooks' own logs: no
// partition has two owners, and in the end all are owned. Each fourth incident strikes a ring at rest and is
// waited for: there all partitions have to be owned again within the bound that docs/pool-and-ring.md states,
// and at most one more than need be may have changed hands. LITECLUSTER_RING_INCIDENTS makes it longer.
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <random>
#include <set>
#include <vector>

#include "base/clock.hpp"
#include "support/nats_fixture.hpp"

extern char** environ;

namespace litecluster::ring {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t partitions = 32;
constexpr std::int64_t heartbeat_ms = 500;
constexpr std::int64_t heartbeat_ns = heartbeat_ms * 1'000'000;
constexpr std::int64_t lease_ns = 3 * heartbeat_ns;
constexpr std::int64_t rest_leases_max = 5;

std::int64_t now() {
  return base::BootClock::now().time_since_epoch().count();
}

/// One process, from its start to its end.
struct Life {
  std::string node;
  std::string log;
  pid_t pid = -1;
  std::int64_t ended_at = 0;  ///< 0: still running
  /// Pairs of the moments around SIGSTOP and SIGCONT; the last may be open.
  std::vector<std::pair<std::int64_t, std::int64_t>> frozen;
};

struct Interval {
  std::size_t life = 0;
  std::int64_t from = 0;
  std::int64_t to = 0;
};

class RingProcesses : public test::NatsTest {
 protected:
  void TearDown() override {
    for (Life& life : lives_) end(life, SIGKILL);
    NatsTest::TearDown();
  }

  void start(const std::string& node) {
    Life life{
        .node = node, .log = (directory_ / ("log-" + std::to_string(lives_.size()))).string(), .frozen = {}};
    std::vector<std::string> words = {
        LITECLUSTER_RING_WORKER,      server_->url(), node, std::to_string(partitions),
        std::to_string(heartbeat_ms), life.log};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    ASSERT_EQ(::posix_spawn(&life.pid, LITECLUSTER_RING_WORKER, nullptr, nullptr, arguments.data(), environ),
              0);
    lives_.push_back(std::move(life));
  }
  static void end(Life& life, int signal) {
    if (life.ended_at != 0) return;
    thaw(life);
    ::kill(life.pid, signal);
    int status = 0;
    ::waitpid(life.pid, &status, 0);
    life.ended_at = now();
    if (signal == SIGTERM) {
      EXPECT_EQ(status, 0) << life.node << " did not leave in good order";
    }
  }
  /// Not again right after it went on: it has to have had the time to look at its deadline, otherwise the two
  /// are one freeze and judging them apart would be wrong.
  static void freeze(Life& life) {
    if (!life.frozen.empty() && now() - life.frozen.back().second < heartbeat_ns) return;
    ::kill(life.pid, SIGSTOP);
    life.frozen.emplace_back(now(), 0);
  }
  static void thaw(Life& life) {
    if (life.frozen.empty() || life.frozen.back().second != 0) return;
    life.frozen.back().second = now();
    ::kill(life.pid, SIGCONT);
  }

  [[nodiscard]] Life* running(const std::string& node) {
    for (Life& life : lives_) {
      if (life.node == node && life.ended_at == 0) return &life;
    }
    return nullptr;
  }

  /// Of each partition, as the logs tell it so far.
  [[nodiscard]] std::vector<std::vector<Interval>> intervals() const {
    std::vector<std::vector<Interval>> found(partitions);
    for (std::size_t index = 0; index < lives_.size(); ++index) {
      const Life& life = lives_[index];
      std::vector<std::optional<std::int64_t>> open(partitions);
      std::ifstream log(life.log);
      std::string event;
      std::uint32_t partition = 0;
      std::int64_t time = 0;
      while (log >> event >> partition >> time) {
        if (event == "lapse") continue;
        if (event == "own") {
          EXPECT_FALSE(open.at(partition).has_value()) << life.node << " owns " << partition << " twice";
          open.at(partition) = time;
        } else if (open.at(partition)) {
          found[partition].push_back({index, *open[partition], time});
          open[partition].reset();
        } else {
          ADD_FAILURE() << life.node << " released what it did not own";
        }
      }
      const std::int64_t end = life.ended_at != 0 ? life.ended_at : INT64_MAX;
      for (partition = 0; partition < partitions; ++partition) {
        if (open[partition]) found[partition].push_back({index, *open[partition], end});
      }
    }
    for (auto& list : found) std::ranges::sort(list, {}, &Interval::from);
    return found;
  }

  /// A frozen process cannot say that its lease ran out, but does nothing either: from two heartbeats after
  /// it was stopped (its deadline is never later than 2.4 after its last renewal, and nobody takes over
  /// earlier than 3 after that) until it goes on, it does not count.
  [[nodiscard]] bool excused(const Interval& interval, std::int64_t moment) const {
    return std::ranges::any_of(lives_[interval.life].frozen, [&](const auto& frozen) {
      const std::int64_t woke = frozen.second == 0 ? INT64_MAX : frozen.second;
      // Having gone on, it lets go of it before anything else.
      return frozen.first + 2 * heartbeat_ns <= moment && interval.from < frozen.first &&
             (moment <= woke || interval.to - woke < heartbeat_ns);
    });
  }

  [[nodiscard]] std::string describe(const Interval& interval) const {
    const Life& life = lives_[interval.life];
    std::string text =
        life.node + " from " + std::to_string(interval.from) + " to " + std::to_string(interval.to);
    for (const auto& [stopped, went_on] : life.frozen) {
      text += " (frozen from " + std::to_string(stopped) + " to " + std::to_string(went_on) + ")";
    }
    return text;
  }

  void check_exclusive() const {
    const auto found = intervals();
    for (std::uint32_t partition = 0; partition < partitions; ++partition) {
      const std::vector<Interval>& list = found[partition];
      for (std::size_t later = 1; later < list.size(); ++later) {
        for (std::size_t earlier = 0; earlier < later; ++earlier) {
          if (list[earlier].to <= list[later].from || excused(list[earlier], list[later].from)) continue;
          ADD_FAILURE() << "partition " << partition << " is owned by " << describe(list[earlier])
                        << " and by " << describe(list[later]);
        }
      }
    }
  }

  /// Who owns each partition, by the logs; nullopt unless each has one owner and the numbers of two nodes
  /// differ by at most one.
  [[nodiscard]] std::optional<std::vector<Interval>> rest() const {
    std::vector<Interval> owners;
    std::vector<std::size_t> count(lives_.size(), 0);
    for (const auto& list : intervals()) {
      if (std::ranges::count(list, INT64_MAX, &Interval::to) != 1) return std::nullopt;
      owners.push_back(*std::ranges::find(list, INT64_MAX, &Interval::to));
      ++count[owners.back().life];
    }
    const std::size_t fewest = partitions / live();
    for (std::size_t index = 0; index < lives_.size(); ++index) {
      if (lives_[index].ended_at == 0 && (count[index] < fewest || count[index] > fewest + 1)) {
        return std::nullopt;
      }
    }
    return owners;
  }
  [[nodiscard]] std::vector<Interval> wait_for_rest() const {
    const Context limit = test::soon(60s);
    std::optional<std::vector<Interval>> owners = rest();
    while (!owners && !limit.wait_for(50ms)) owners = rest();
    EXPECT_TRUE(owners.has_value()) << "not all partitions are owned";
    return owners.value_or(std::vector<Interval>());
  }

  /// How often a node that runs lost its lease after `moment`, which counts as a fault of its own.
  [[nodiscard]] bool lapsed_since(std::int64_t moment) const {
    return std::ranges::any_of(lives_, [&](const Life& life) {
      std::ifstream log(life.log);
      std::string event;
      std::uint32_t partition = 0;
      std::int64_t time = 0;
      while (log >> event >> partition >> time) {
        if (event == "lapse" && time >= moment && (life.ended_at == 0 || time < life.ended_at)) return true;
      }
      return false;
    });
  }

  /// The fewest partitions that have to change hands, and how many did.
  struct Moves {
    std::size_t fewest = 0;
    std::size_t seen = 0;
  };
  [[nodiscard]] Moves moves(const std::vector<Interval>& before, const std::vector<Interval>& after) const {
    Moves moves{.fewest = partitions};
    std::vector<std::size_t> had(lives_.size(), 0);
    for (std::uint32_t partition = 0; partition < partitions; ++partition) {
      if (lives_[before[partition].life].ended_at == 0) ++had[before[partition].life];
      // Released and owned again by the same node is a move as well.
      if (before[partition].life != after[partition].life ||
          before[partition].from != after[partition].from) {
        ++moves.seen;
      }
    }
    std::ranges::sort(had, std::greater<>());
    for (std::size_t rank = 0; rank < live(); ++rank) {
      moves.fewest -= std::min(had[rank], partitions / live() + (rank < partitions % live() ? 1 : 0));
    }
    return moves;
  }

  /// One join, goodbye or kill in a ring at rest. False when it could not be judged, because a node lost its
  /// lease meanwhile (on a machine as slow as that).
  bool calm_incident(const std::string& node, int signal) {
    for (Life& life : lives_) {
      if (life.ended_at == 0) thaw(life);
    }
    const std::vector<Interval> before = wait_for_rest();
    const std::int64_t began = now();
    if (Life* const life = running(node); life == nullptr) {
      start(node);
    } else {
      end(*life, signal);
    }
    const std::vector<Interval> after = wait_for_rest();
    // A frozen node that was woken learns only later that its lease was lost: hence the lease before.
    if (HasFailure() || lapsed_since(began - lease_ns)) return false;
    const Moves moved = moves(before, after);
    EXPECT_LE(moved.seen, moved.fewest + 1) << node << " with signal " << signal;
    const std::int64_t rested = std::ranges::max(after, {}, &Interval::from).from;
    EXPECT_LE(rested - began, rest_leases_max * lease_ns) << node << " with signal " << signal;
    rest_leases_ =
        std::max(rest_leases_, static_cast<double>(rested - began) / static_cast<double>(lease_ns));
    moves_ += moved.seen;
    moves_fewest_ += moved.fewest;
    return true;
  }

  /// Whatever happens next, also to nodes that are frozen.
  void rough_incident(const std::string& node, bool freezes, int signal) {
    Life* const life = running(node);
    if (life == nullptr) {
      start(node);
    } else if (live() <= nodes_min || freezes) {
      if (life->frozen.empty() || life->frozen.back().second != 0) freeze(*life);
    } else {
      end(*life, signal);
    }
  }

  [[nodiscard]] std::size_t live() const {
    return static_cast<std::size_t>(std::ranges::count(lives_, 0, &Life::ended_at));
  }

  static constexpr std::size_t nodes_min = 3;
  static constexpr std::size_t nodes_max = 8;
  double rest_leases_ = 0;
  std::size_t moves_ = 0;
  std::size_t moves_fewest_ = 0;
  std::vector<Life> lives_;
};

TEST_F(RingProcesses, NoPartitionHasTwoOwnersThroughRandomJoinsLeavesKillsAndFreezes) {
  const char* const asked = std::getenv("LITECLUSTER_RING_INCIDENTS");
  const int incidents = asked == nullptr ? 12 : std::atoi(asked);
  std::mt19937_64 random(static_cast<std::uint64_t>(incidents));
  for (std::size_t node = 0; node < nodes_min; ++node) start("n" + std::to_string(node));
  const Context context = Context::background();
  int calm = 0;
  int judged = 0;
  // On a slow machine a few more, until one could be judged.
  for (int incident = 0; incident < incidents || (judged == 0 && incident < 5 * incidents); ++incident) {
    const int signal = random() % 2 == 0 ? SIGKILL : SIGTERM;
    std::string node;
    do {
      node = "n" + std::to_string(random() % nodes_max);
    } while (incident % 4 == 3 && running(node) != nullptr && live() <= nodes_min);
    if (incident % 4 == 3) {
      ++calm;
      if (calm_incident(node, signal)) ++judged;
      continue;
    }
    context.wait_for(std::chrono::milliseconds(200 + random() % 800));
    for (Life& life : lives_) {
      if (life.ended_at == 0 && random() % 2 == 0) thaw(life);
    }
    rough_incident(node, random() % 3 == 0, signal);
  }
  EXPECT_GT(judged, 0);
  for (Life& life : lives_) {
    if (life.ended_at == 0) thaw(life);
  }
  EXPECT_EQ(wait_for_rest().size(), partitions);
  check_exclusive();
  std::size_t owned = 0;
  for (const auto& list : intervals()) owned += list.size();
  std::cout << incidents << " incidents, " << lives_.size() << " joins, " << owned
            << " times a partition was owned; of " << calm << " incidents in a ring at rest " << judged
            << " were judged: " << moves_ << " moves, " << moves_fewest_ << " had to be, at rest again after "
            << rest_leases_ << " leases at most\n";
  for (Life& life : lives_) end(life, SIGTERM);
  check_exclusive();
}

}  // namespace
}  // namespace litecluster::ring
