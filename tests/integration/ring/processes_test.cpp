// Real processes that join, leave, are killed and are frozen at random, judged by their hooks' own logs:
// no partition has two owners, and in the end all are owned. LITECLUSTER_RING_INCIDENTS makes it longer.
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

  [[nodiscard]] bool all_owned() const {
    std::vector<std::size_t> count(lives_.size(), 0);
    for (const auto& list : intervals()) {
      const auto open = std::ranges::count(list, INT64_MAX, &Interval::to);
      if (open != 1) return false;
      for (const Interval& interval : list) {
        if (interval.to == INT64_MAX) ++count[interval.life];
      }
    }
    const auto live = static_cast<std::size_t>(std::ranges::count(lives_, 0, &Life::ended_at));
    for (std::size_t index = 0; index < lives_.size(); ++index) {
      if (lives_[index].ended_at == 0 && count[index] < partitions / live) return false;
    }
    return true;
  }

  std::vector<Life> lives_;
};

TEST_F(RingProcesses, NoPartitionHasTwoOwnersThroughRandomJoinsLeavesKillsAndFreezes) {
  const char* const asked = std::getenv("LITECLUSTER_RING_INCIDENTS");
  const int incidents = asked == nullptr ? 12 : std::atoi(asked);
  std::mt19937_64 random(static_cast<std::uint64_t>(incidents));
  const auto name = [&] { return "n" + std::to_string(random() % 8); };
  for (int node = 0; node < 3; ++node) start("n" + std::to_string(node));
  const Context context = Context::background();
  int kills = 0;
  for (int incident = 0; incident < incidents; ++incident) {
    context.wait_for(std::chrono::milliseconds(200 + random() % 800));
    for (Life& life : lives_) {
      if (life.ended_at == 0 && random() % 2 == 0) thaw(life);
    }
    const std::string node = name();
    Life* const life = running(node);
    const auto live = std::ranges::count(lives_, 0, &Life::ended_at);
    if (life == nullptr) {
      start(node);
    } else if (live <= 3 || random() % 3 == 0) {
      if (life->frozen.empty() || life->frozen.back().second != 0) freeze(*life);
    } else {
      const bool killed = random() % 2 == 0;
      end(*life, killed ? SIGKILL : SIGTERM);
      if (killed) ++kills;
    }
  }
  for (Life& life : lives_) {
    if (life.ended_at == 0) thaw(life);
  }
  const Context quiet = test::soon(60s);
  while (!all_owned() && !quiet.wait_for(100ms)) {
  }
  EXPECT_TRUE(all_owned()) << "not all partitions are owned";
  check_exclusive();
  std::size_t owned = 0;
  for (const auto& list : intervals()) owned += list.size();
  std::cout << incidents << " incidents, " << kills << " kills, " << owned
            << " times a partition was owned\n";
  for (Life& life : lives_) end(life, SIGTERM);
  check_exclusive();
}

}  // namespace
}  // namespace litecluster::ring
