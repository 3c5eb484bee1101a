// Eight processes contend for one lock while they are killed, stopped for longer than the lease, and the
// server is restarted. What they wrote to a shared file is then checked line by line.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/clock.hpp"
#include "support/environment.hpp"
#include "support/nats_fixture.hpp"

namespace litecluster {
namespace {

using namespace std::chrono_literals;
using base::BootClock;

constexpr int processes = 8;
constexpr auto lease = 1000ms;
// A waiter counts one lease from the last change that it saw, at most a round trip after it was made; the
// rest is room for the scheduler of a machine that runs other things, too.
constexpr auto slack = 700ms;
// After a restart the server first has to be found again.
constexpr auto reconnect_time = 3s;

/// Acquisitions to see.
std::uint64_t rounds() {
  return test::count_from_environment("LITECLUSTER_LOCK_ROUNDS", 100);
}

std::int64_t now_ns() {
  return BootClock::now().time_since_epoch().count();
}

struct Line {
  std::string what;
  int process = 0;
  std::int64_t time = 0;
  std::uint64_t token = 0;
  std::int64_t deadline = 0;
};

struct Span {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

class LockContention : public test::NatsTest {
 protected:
  void SetUp() override {
    test::NatsTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    file_ = directory_ / "log";
    std::ofstream(file_).flush();
    for (int index = 0; index < processes; ++index) start_worker();
  }
  void TearDown() override {
    for (const pid_t worker : workers_) reap(worker);
    test::NatsTest::TearDown();
  }

  void start_worker() {
    const std::string url = server_->url();
    const std::string lease_ms = std::to_string(lease / 1ms);
    std::string program = LITECLUSTER_LOCK_WORKER;
    char* const arguments[] = {program.data(), const_cast<char*>(url.c_str()),
                               const_cast<char*>(file_.c_str()), const_cast<char*>(lease_ms.c_str()),
                               nullptr};
    pid_t worker = 0;
    ASSERT_EQ(::posix_spawn(&worker, program.c_str(), nullptr, nullptr, arguments, environ), 0);
    workers_.push_back(worker);
  }
  static void reap(pid_t worker) {
    ::kill(worker, SIGKILL);
    ::waitpid(worker, nullptr, 0);
  }

  /// Complete lines written since the last call.
  std::vector<Line> read_lines() {
    std::vector<Line> lines;
    std::ifstream file(file_);
    file.seekg(static_cast<std::streamoff>(read_));
    std::string text;
    while (std::getline(file, text) && !file.eof()) {
      read_ += text.size() + 1;
      Line line;
      std::istringstream(text) >> line.what >> line.process >> line.time >> line.token >> line.deadline;
      lines.push_back(line);
    }
    return lines;
  }

  pid_t any_worker() { return workers_[random_() % workers_.size()]; }

  void kill_worker(pid_t worker) {
    deaths_[worker] = now_ns();
    reap(worker);
    std::erase(workers_, worker);
    start_worker();
  }

  void pause_worker(pid_t worker, std::chrono::milliseconds duration) {
    if (paused_.contains(worker)) return;
    ::kill(worker, SIGSTOP);
    paused_[worker] = now_ns() + std::chrono::nanoseconds(duration).count();
    ever_paused_.insert(worker);
  }
  void resume_workers(bool all) {
    std::erase_if(paused_, [&](const auto& entry) {
      if (!all && now_ns() < entry.second) return false;
      ::kill(entry.first, SIGCONT);
      return true;
    });
  }

  std::filesystem::path file_;
  std::size_t read_ = 0;
  std::vector<pid_t> workers_;
  std::map<pid_t, std::int64_t> paused_;
  std::set<pid_t> ever_paused_;
  std::map<pid_t, std::int64_t> deaths_;
  std::vector<Span> server_away_;
  std::mt19937 random_{42};
};

/// Follows the lines in the order of the file.
class Checker {
 public:
  Checker(const std::set<pid_t>& ever_paused, const std::map<pid_t, std::int64_t>& deaths,
          const std::vector<Span>& server_away)
      : ever_paused_(ever_paused), deaths_(deaths), server_away_(server_away) {}

  void check(const Line& line) {
    if (line.what == "wait") return;
    if (line.token < token_) {
      // Stopped between the look at the clock and the write: what the fencing token is there for.
      ++stale;
      EXPECT_TRUE(ever_paused_.contains(line.process)) << "a process that never stopped wrote late";
      return;
    }
    if (line.what == "enter") {
      EXPECT_GT(line.token, token_) << "tokens have to grow";
      EXPECT_TRUE(left_ || line.time >= deadline_)
          << line.process << " entered with token " << line.token << " while " << holder_ << " with "
          << token_ << " was inside for another " << (deadline_ - line.time) / 1'000'000 << " ms";
      measure_vacancy(line);
      holder_ = line.process;
      token_ = line.token;
      left_ = false;
      deadline_ = 0;
      ++acquisitions;
    }
    EXPECT_EQ(line.process, holder_) << "two processes with one token";
    deadline_ = std::max(deadline_, line.deadline);
    if (line.what == "leave") {
      left_ = true;
      left_at_ = line.time;
    }
  }

  std::uint64_t acquisitions = 0;
  std::uint64_t stale = 0;
  std::vector<std::int64_t> after_release;
  std::vector<std::int64_t> after_death;

 private:
  void measure_vacancy(const Line& line) {
    if (holder_ == 0) return;
    if (left_) {
      if (undisturbed({left_at_, line.time})) after_release.push_back(line.time - left_at_);
      return;
    }
    const auto death = deaths_.find(holder_);
    if (death != deaths_.end() && death->second < line.time && undisturbed({death->second, line.time})) {
      after_death.push_back(line.time - death->second);
    }
  }
  bool undisturbed(const Span& span) const {
    return std::ranges::none_of(server_away_, [&](const Span& away) {
      return away.begin <= span.end &&
             span.begin <= away.end + std::chrono::nanoseconds(reconnect_time).count();
    });
  }

  const std::set<pid_t>& ever_paused_;
  const std::map<pid_t, std::int64_t>& deaths_;
  const std::vector<Span>& server_away_;
  int holder_ = 0;
  std::uint64_t token_ = 0;
  std::int64_t deadline_ = 0;
  bool left_ = true;
  std::int64_t left_at_ = 0;
};

std::int64_t quantile_us(std::vector<std::int64_t> values, double share) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(static_cast<double>(values.size() - 1) * share)] / 1000;
}

TEST_F(LockContention, NeverTwoInsideAndNobodySleepsPastOneLease) {
  std::vector<Line> lines;
  std::uint64_t acquisitions = 0;
  std::uint64_t next_kill = 5;
  std::uint64_t next_pause = 8;
  std::uint64_t next_restart = std::min<std::uint64_t>(100, rounds() / 2);
  pid_t holder = 0;
  std::int64_t last_enter = now_ns();
  while (acquisitions < rounds()) {
    for (const Line& line : read_lines()) {
      if (line.what == "enter") {
        ++acquisitions;
        holder = line.process;
        last_enter = line.time;
      }
      lines.push_back(line);
    }
    ASSERT_LT(now_ns() - last_enter, std::chrono::nanoseconds(30s).count())
        << "nobody gets the lock any more";
    if (acquisitions >= next_kill) {
      next_kill += 10;
      const bool known = std::ranges::find(workers_, holder) != workers_.end() && !paused_.contains(holder);
      kill_worker(known && random_() % 4 != 0 ? holder : any_worker());
    }
    if (acquisitions >= next_pause) {
      next_pause += 15;
      const bool known = std::ranges::find(workers_, holder) != workers_.end();
      pause_worker(known && random_() % 4 != 0 ? holder : any_worker(),
                   std::chrono::milliseconds(lease / 1ms * 3 / 2 + static_cast<long>(random_() % 1500)));
    }
    if (acquisitions >= next_restart) {
      next_restart += 100;
      Span away{.begin = now_ns(), .end = 0};
      restart_server();
      away.end = now_ns();
      server_away_.push_back(away);
    }
    resume_workers(/*all=*/false);
    std::this_thread::sleep_for(2ms);
  }
  resume_workers(/*all=*/true);
  for (const pid_t worker : workers_) reap(worker);
  workers_.clear();
  for (const Line& line : read_lines()) lines.push_back(line);

  Checker checker(ever_paused_, deaths_, server_away_);
  for (const Line& line : lines) checker.check(line);
  EXPECT_GE(checker.acquisitions, rounds());
  EXPECT_FALSE(checker.after_release.empty());
  EXPECT_FALSE(checker.after_death.empty());
  // A paused next holder does not count as sleeping: it was stopped. Nobody else may be late.
  EXPECT_LT(quantile_us(checker.after_death, 1) * 1us, lease + slack);
  fmt::print(
      "{} acquisitions, {} processes killed, {} stopped, {} server restarts, {} late writes stopped by the "
      "token\n"
      "after a release the next one entered within: p50 {} us, p99 {} us ({} times)\n"
      "after a death: p50 {} us, max {} us ({} times)\n",
      checker.acquisitions, deaths_.size(), ever_paused_.size(), server_away_.size(), checker.stale,
      quantile_us(checker.after_release, 0.5), quantile_us(checker.after_release, 0.99),
      checker.after_release.size(), quantile_us(checker.after_death, 0.5),
      quantile_us(checker.after_death, 1), checker.after_death.size());
}

}  // namespace
}  // namespace litecluster
