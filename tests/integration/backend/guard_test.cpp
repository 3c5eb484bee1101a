// The guard with real processes. Each test forks a guard, whose agent does what the test wants to see
// survived.
#include "backend/guard.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/temporary_directory.hpp"

namespace litecluster::backend {
namespace {

using namespace std::chrono_literals;
using test::eventually;

/// What the processes of a test tell it.
struct Board {
  std::atomic<int> guard{0};
  std::atomic<int> agent{0};
  std::atomic<int> agents{0};
  std::atomic<int> backend{0};  ///< 1: started, 2: refused or failed
  std::atomic<int> backend_ended{0};
  std::atomic<int> fenced{0};
  std::atomic<int> drops{0};
  std::atomic<std::uint64_t> family{0};
  std::atomic<std::int64_t> lease_deadline{0};
};

class CountingFence final : public Fence {
 public:
  explicit CountingFence(Board& board) : board_(board) {}
  pid_t drop() noexcept override {
    ++board_.drops;
    return 0;
  }

 private:
  Board& board_;
};

/// Goes on until there is a file of this name, or its directory is gone.
class SlowFence final : public Fence {
 public:
  explicit SlowFence(std::string file) : file_(std::move(file)) {}
  pid_t drop() noexcept override {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::execl("/bin/sh", "sh", "-c", "while test -d \"${1%/*}\" -a ! -e \"$1\"; do sleep 0.01; done", "sh",
              file_.c_str(), nullptr);
      ::_exit(127);
    }
    return pid;
  }

 private:
  std::string file_;
};

/// For a guard of its own process: a log that nobody reads, and that is full, or whose reader is gone.
void make_log_useless(bool reader_there) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_NONBLOCK), 0);
  const std::array<char, 4096> page{};
  while (::write(ends[1], page.data(), page.size()) > 0) {
  }
  ::fcntl(ends[1], F_SETFL, 0);
  ::dup2(ends[1], STDERR_FILENO);
  if (!reader_there) ::close(ends[0]);
}

bool gone(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string state;
  for (int field = 0; field < 3 && file >> state; ++field) {
  }
  return !file || state == "Z";
}

class GuardTest : public ::testing::Test {
 protected:
  /// The backend writes its pid and that of a child in its group, and of one that escapes into a session of
  /// its own.
  ProcessSpec backend() {
    return {.arguments =
                {"/bin/sh", "-c",
                 "sleep 1000 & echo $! > child; setsid sh -c 'echo $$ > escaped; exec sleep 1000' & "
                 "echo $$ > pid.tmp; while ! test -s escaped; do sleep 0.01; done; mv pid.tmp pid; wait"},
            .environment = {},
            .directory = directory_.path()};
  }
  [[nodiscard]] int pid_in(const std::string& name) const {
    int pid = -1;
    std::ifstream(directory_ / name) >> pid;
    return pid;
  }
  [[nodiscard]] bool backend_runs() const { return std::filesystem::exists(directory_ / "pid"); }

  /// An agent that leads for `lease`, starts the backend and then sleeps until it is killed.
  int lead(GuardLink& link, base::Duration lease) {
    board_->agent = ::getpid();
    board_->family = link.incarnation().family;
    if (++board_->agents > 1) return wait_for_ever();
    link.process_host().on_exit([this](int) { ++board_->backend_ended; });
    link.listen([this] { ++board_->fenced; });
    link.lease_deadline() = (base::BootClock::now() + lease).time_since_epoch().count();
    if (!link.arm()) return 3;
    const Status started = link.process_host().start(backend(), -1, -1);
    board_->backend = started ? 1 : 2;
    return wait_for_ever();
  }
  static int wait_for_ever() {
    while (true) ::pause();
  }

  /// To be destroyed before the fixture looks for what was left.
  test::ChildProcess run(std::function<int(GuardLink&)> agent, GuardConfig config = {},
                         std::shared_ptr<Fence> fence = nullptr, const std::function<void()>& before = {}) {
    return test::ChildProcess::run([this, agent = std::move(agent), config, fence, before] {
      board_->guard = ::getpid();
      if (before) before();
      GuardOptions options;
      options.config = config;
      options.fences.push_back(std::make_shared<CountingFence>(*board_));
      if (fence) options.fences.push_back(fence);
      return run_guard(options, agent);
    });
  }

  void wait_for_backend() {
    ASSERT_TRUE(eventually([&] { return board_->backend != 0; }));
    ASSERT_EQ(board_->backend, 1);
    ASSERT_TRUE(eventually([&] { return backend_runs(); }));
  }
  void expect_backend_gone() {
    for (const char* name : {"pid", "child", "escaped"}) {
      EXPECT_TRUE(eventually([&] { return gone(pid_in(name)); })) << name;
    }
  }

  void TearDown() override {
    // Where the guard itself is killed, nobody is left to do this.
    if (const int escaped = pid_in("escaped"); escaped > 1) ::kill(escaped, SIGKILL);
  }

  test::TemporaryDirectory directory_;
  test::SharedValue<Board> board_;
};

TEST_F(GuardTest, KillsTheBackendWhenTheAgentIsKilledAndStartsTheNextAgent) {
  auto guard = run([this](GuardLink& link) { return lead(link, 1h); });
  wait_for_backend();
  const std::uint64_t family = board_->family;
  ::kill(board_->agent, SIGKILL);
  expect_backend_gone();
  EXPECT_TRUE(eventually([&] { return board_->agents == 2; }));
  EXPECT_EQ(board_->family, family);
  EXPECT_GE(board_->drops, 2);
  EXPECT_FALSE(guard.ended());
}

TEST_F(GuardTest, KillsTheBackendOfAStoppedAgentAtTheDeadline) {
  auto guard = run([this](GuardLink& link) { return lead(link, 1s); });
  wait_for_backend();
  ::kill(board_->agent, SIGSTOP);
  expect_backend_gone();
  EXPECT_GE(board_->drops, 2);
  ::kill(board_->agent, SIGCONT);
  EXPECT_TRUE(eventually([&] { return board_->fenced == 1; })) << "the agent is told when it goes on";
}

TEST_F(GuardTest, TakesAgentAndBackendAlongWhenItDies) {
  auto guard = run([this](GuardLink& link) { return lead(link, 1h); });
  wait_for_backend();
  const int agent = board_->agent;
  guard.kill();
  guard.wait();
  EXPECT_TRUE(eventually([&] { return gone(agent); }));
  for (const char* name : {"pid", "child"}) {
    EXPECT_TRUE(eventually([&] { return gone(pid_in(name)); })) << name;
  }
  // The one that left the group cannot be reached without the guard; systemd's cgroup does.
}

TEST_F(GuardTest, LeavesTheBackendAloneWhileTheLeaseIsRenewed) {
  auto guard = run([this](GuardLink& link) {
    std::jthread renewing([&] {
      for (int round = 0; round < 60; ++round) {
        link.lease_deadline() = (base::BootClock::now() + 5s).time_since_epoch().count();
        std::this_thread::sleep_for(10ms);
      }
      board_->backend_ended = -1;
    });
    return lead(link, 400ms);
  });
  wait_for_backend();
  ASSERT_TRUE(eventually([&] { return board_->backend_ended == -1; }));
  EXPECT_FALSE(gone(pid_in("pid")));
  EXPECT_EQ(board_->drops, 1) << "at the start";
}

TEST_F(GuardTest, RefusesABackendBeforeItIsArmed) {
  auto guard = run([this](GuardLink& link) {
    link.listen({});
    const Status status = link.process_host().start(backend(), -1, -1);
    board_->backend = !status && status.error().code() == ErrorCode::failed_precondition ? 2 : 1;
    return 0;
  });
  EXPECT_EQ(guard.wait(), "0");
  EXPECT_EQ(board_->backend, 2);
}

TEST_F(GuardTest, SaysWhyAProgramCannotBeStarted) {
  auto guard = run([](GuardLink& link) {
    link.listen({});
    link.lease_deadline() = no_deadline;
    if (!link.arm()) return 3;
    const ProcessSpec spec{.arguments = {"/nonexistent/program"}, .environment = {}, .directory = {}};
    const Status status = link.process_host().start(spec, -1, -1);
    return !status && status.error().code() == ErrorCode::not_found ? 0 : 4;
  });
  EXPECT_EQ(guard.wait(), "0");
}

TEST_F(GuardTest, TellsTheAgentWhenTheBackendEndedByItself) {
  auto guard = run([this](GuardLink& link) {
    link.process_host().on_exit([this](int status) { board_->backend_ended = status; });
    link.listen({});
    link.lease_deadline() = no_deadline;
    if (!link.arm()) return 3;
    const ProcessSpec spec{.arguments = {"/bin/sh", "-c", "exit 7"}, .environment = {}, .directory = {}};
    if (!link.process_host().start(spec, -1, -1)) return 4;
    return eventually([&] { return board_->backend_ended != 0; }) ? 0 : 5;
  });
  EXPECT_EQ(guard.wait(), "0");
  EXPECT_EQ(WEXITSTATUS(board_->backend_ended.load()), 7);
}

TEST_F(GuardTest, PassesTermToTheAgentAndEndsWithIt) {
  auto guard = run([this](GuardLink&) {
    static volatile sig_atomic_t told = 0;
    ::signal(SIGTERM, [](int) { told = 1; });
    board_->agent = ::getpid();
    while (told == 0) std::this_thread::sleep_for(1ms);
    return 0;
  });
  ASSERT_TRUE(eventually([&] { return board_->agent != 0; }));
  ::kill(board_->guard, SIGTERM);
  EXPECT_EQ(guard.wait(), "0");
}

TEST_F(GuardTest, KillsAnAgentThatDoesNotBeat) {
  auto guard = run(
      [this](GuardLink& link) {
        ++board_->agents;
        link.beat();
        return wait_for_ever();
      },
      {.agent_silence_max = 200ms});
  EXPECT_TRUE(eventually([&] { return board_->agents >= 2; }));
}

TEST_F(GuardTest, StartsAnAgentOnlyWhenWhatAFenceHasStartedIsOver) {
  const auto file = directory_ / "over";
  auto guard = run(
      [&](GuardLink&) {
        board_->backend = std::filesystem::exists(file) ? 1 : 2;
        return 0;
      },
      {.fence_timeout = 1h}, std::make_shared<SlowFence>(file));
  ASSERT_TRUE(eventually([&] { return board_->drops >= 1; }));
  EXPECT_EQ(board_->backend, 0);
  std::ofstream(file) << "x";
  EXPECT_EQ(guard.wait(), "0");
  EXPECT_EQ(board_->backend, 1);
}

TEST_F(GuardTest, AnAgentIsOfAnotherFamilyWhenTheFencesOfTheOneBeforeDoNotEnd) {
  auto guard = run(
      [&](GuardLink& link) {
        if (++board_->agents == 1) {
          board_->family = link.incarnation().family;
          return 1;
        }
        board_->backend = link.incarnation().family == board_->family ? 2 : 1;
        return 2;
      },
      {.fence_timeout = 100ms}, std::make_shared<SlowFence>(directory_ / "never"));
  EXPECT_TRUE(eventually([&] { return board_->backend != 0; }));
  EXPECT_EQ(board_->backend, 1);
  std::ofstream(directory_ / "never") << "x";
}

TEST_F(GuardTest, DoesItsWorkWithALogThatNobodyReads) {
  for (const bool reader_there : {true, false}) {
    board_->agents = 0;
    board_->backend = 0;
    std::filesystem::remove(directory_ / "pid");
    auto guard = run([this](GuardLink& link) { return lead(link, 1h); }, {}, nullptr,
                     [&] { make_log_useless(reader_there); });
    wait_for_backend();
    ::kill(board_->agent, SIGKILL);
    expect_backend_gone();
    EXPECT_TRUE(eventually([&] { return board_->agents == 2; }));
    EXPECT_FALSE(guard.ended());
  }
}

TEST_F(GuardTest, KillsABackendWhoseAgentHasGivenUpWaitingForItsStart) {
  auto guard = run([this](GuardLink& link) {
    link.process_host().on_exit([this](int) { ++board_->backend_ended; });
    link.listen({});
    link.lease_deadline() = no_deadline;
    if (!link.arm()) return 3;
    ::kill(board_->guard, SIGSTOP);
    board_->backend = link.process_host().start(backend(), -1, -1) ? 1 : 2;
    ::kill(board_->guard, SIGCONT);
    return eventually([&] { return board_->backend_ended != 0; }) ? 0 : 5;
  });
  EXPECT_EQ(guard.wait(), "0");
  EXPECT_EQ(board_->backend, 2) << "this test needs a guard that does not answer in time";
}

TEST_F(GuardTest, EndsWithTheStatusOfAnAgentThatCannotWork) {
  auto guard = run([](GuardLink&) { return 2; });
  EXPECT_EQ(guard.wait(), "2");
}

}  // namespace
}  // namespace litecluster::backend
