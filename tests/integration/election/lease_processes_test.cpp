// Candidates as processes of their own, which are killed and stopped.
#include <fmt/format.h>
#include <signal.h>

#include <array>

#include "base/random.hpp"
#include "integration/election/candidate.hpp"
#include "support/child_process.hpp"
#include "support/eventually.hpp"

namespace litecluster::election {
namespace {

using test::eventually;

/// What a candidate's process tells the test. Both run on one machine, so they share its boot clock.
struct Report {
  std::atomic<int> pid{0};
  std::atomic<std::int64_t> deadline{0};
  std::atomic<std::int64_t> began_at{0};
  std::atomic<std::uint64_t> epoch{0};
  std::atomic<int> losses{0};
};
using Reports = std::array<Report, 3>;

std::int64_t boot_now() {
  return base::BootClock::now().time_since_epoch().count();
}

int run_candidate(const std::string& url, ElectorConfig config, Report& report) {
  auto connection = nats::Connection::connect(test::soon(), test::client_options({url}));
  if (!connection) return 1;
  LeaseStoreOptions options;
  options.elector = std::move(config);
  options.shared_deadline = &report.deadline;
  std::atomic<LeaseStore*> store{nullptr};
  options.listener = [&](const LeaseEvent& event) {
    if (const auto* began = std::get_if<BecameLeader>(&event)) {
      report.epoch = began->epoch.value();
      report.began_at = boot_now();
    } else if (const auto* lost = std::get_if<LostLeadership>(&event)) {
      ++report.losses;
      if (lost->reason != LossReason::given_back) store.load()->release({});
    }
  };
  auto started = LeaseStore::start(open_bucket(*connection), *connection, std::move(options));
  if (!started) return 1;
  store = started->get();
  (*started)->set_eligible(true);
  report.pid = ::getpid();
  while (true) ::pause();
}

class LeaseProcessesTest : public test::NatsTest {
 protected:
  void start(std::size_t index, Incarnation incarnation = Incarnation::random()) {
    ElectorConfig config = quick_config(std::string(1, static_cast<char>('a' + index)));
    config.incarnation = incarnation;
    (*reports_)[index].pid = 0;
    children_.push_back(
        test::ChildProcess::run([&] { return run_candidate(server_->url(), config, (*reports_)[index]); }));
    ASSERT_TRUE(eventually([&] { return (*reports_)[index].pid != 0; }));
  }
  /// The one with the highest epoch inside its deadline.
  [[nodiscard]] std::optional<std::size_t> leader() const {
    std::optional<std::size_t> found;
    const std::int64_t now = boot_now();
    for (std::size_t index = 0; index < reports_->size(); ++index) {
      const Report& report = (*reports_)[index];
      if (report.deadline <= now) continue;
      if (!found || report.epoch > (*reports_)[*found].epoch) found = index;
    }
    return found;
  }
  std::size_t wait_for_leader_above(std::uint64_t epoch) {
    std::optional<std::size_t> found;
    EXPECT_TRUE(eventually([&] {
      found = leader();
      return found && (*reports_)[*found].epoch > epoch;
    }));
    return found.value_or(0);
  }
  // A candidate that never came up has no process id yet, and 0 would be our own process group.
  void send(std::size_t index, int number) {
    const pid_t pid = (*reports_)[index].pid;
    ASSERT_GT(pid, 0) << "candidate " << index << " did not come up";
    ::kill(pid, number);
  }
  void TearDown() override {
    children_.clear();
    NatsTest::TearDown();
  }

  test::SharedValue<Reports> reports_;
  std::vector<test::ChildProcess> children_;
};

TEST_F(LeaseProcessesTest, FollowsAKilledLeaderAfterOneLease) {
  for (std::size_t index = 0; index < 3; ++index) start(index);
  const std::size_t first = wait_for_leader_above(0);
  const std::int64_t old_deadline = (*reports_)[first].deadline;
  const std::int64_t killed_at = boot_now();
  send(first, SIGKILL);
  const std::size_t second = wait_for_leader_above(1);
  EXPECT_NE(first, second);
  EXPECT_GT((*reports_)[second].began_at, old_deadline) << "two leaders inside their deadlines";
  fmt::print("killed leader to next: {:.0f} ms with a lease of 1500 ms\n",
             static_cast<double>((*reports_)[second].began_at - killed_at) / 1e6);
}

TEST_F(LeaseProcessesTest, NeverGoesOnAfterAStopPastItsDeadline) {
  for (std::size_t index = 0; index < 3; ++index) start(index);
  const std::size_t first = wait_for_leader_above(0);
  send(first, SIGSTOP);
  const std::int64_t old_deadline = (*reports_)[first].deadline;
  const std::size_t second = wait_for_leader_above(1);
  EXPECT_GT((*reports_)[second].began_at, old_deadline);
  send(first, SIGCONT);
  EXPECT_TRUE(eventually([&] { return (*reports_)[first].losses == 1; }));
  EXPECT_EQ((*reports_)[first].deadline, old_deadline);
  EXPECT_EQ(leader(), second);
}

TEST_F(LeaseProcessesTest, GivesBackTheLeaseOfADeadAgentOfTheSameGuardWithoutWaiting) {
  const std::uint64_t family = base::random_u64();
  start(0, {.family = family, .number = 1});
  wait_for_leader_above(0);
  start(1);
  const std::int64_t killed_at = boot_now();
  send(0, SIGKILL);
  (*reports_)[0].deadline = 0;
  start(0, {.family = family, .number = 2});
  const std::size_t next = wait_for_leader_above(1);
  const double took = static_cast<double>((*reports_)[next].began_at - killed_at) / 1e6;
  fmt::print("killed agent, started again by its guard, to the next leader: {:.1f} ms\n", took);
  EXPECT_EQ((*reports_)[next].epoch, 2U);
}

}  // namespace
}  // namespace litecluster::election
