// Readers of several kinds, in processes of their own, against a replica that is written at full speed and
// whose writer is killed. Environment:
//   LITECLUSTER_STRESS_TRANSACTIONS  transactions of the reading test (default 1500)
//   LITECLUSTER_KILL_ROUNDS          kills of each killing test (default 40)
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "base/logging.hpp"
#include "db/replica.hpp"
#include "support/child_process.hpp"
#include "support/replica_source.hpp"
#include "support/temporary_directory.hpp"

namespace litecluster::db {
namespace {

using test::ChildProcess;
using test::InvariantReader;
using test::require;
using test::SourceChange;

std::size_t from_environment(const char* name, std::size_t standard) {
  const char* text = std::getenv(name);
  return text == nullptr ? standard : std::strtoul(text, nullptr, 10);
}

// The changes of a workload; the source is closed again, so that the test may fork.
std::vector<SourceChange> make_changes(const std::filesystem::path& path, std::size_t count,
                                       std::uint32_t page_size = 4096) {
  test::ReplicaSource source(path, page_size);
  test::Workload workload(count);
  std::vector<SourceChange> changes;
  changes.push_back(source.commit(test::Workload::schema()));
  while (changes.size() < count) changes.push_back(source.commit(workload.next()));
  return changes;
}

ReplicaOptions options_for(const std::filesystem::path& path) {
  ReplicaOptions options;
  options.path = path;
  options.sync = false;
  options.checkpoint_frames = 300;
  return options;
}

struct Board {
  std::atomic<bool> go = false;
  std::atomic<bool> stop = false;
  std::atomic<std::uint64_t> reads = 0;
  std::atomic<std::uint64_t> applied = 0;
  std::atomic<std::uint64_t> scans = 0;
};

void wait_for(const std::atomic<bool>& flag) {
  while (!flag) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

// Reads with the C API until told to stop; opens anew now and then, holds a transaction now and then.
int read_with_library(const std::filesystem::path& path, Board& board, std::uint64_t seed,
                      std::chrono::milliseconds busy_timeout) {
  wait_for(board.go);
  std::mt19937_64 random(seed);
  InvariantReader reader(path);
  reader.check(false);
  reader.set_busy_timeout(busy_timeout);
  while (!board.stop) {
    reader.check(random() % 25 == 0);
    ++board.reads;
    // Opening may meet another reader that is closing, and SQLite then wants to wait for that one.
    if (busy_timeout.count() > 0 && random() % 40 == 0) reader.reopen();
  }
  return 0;
}

const char* const invariant_sql =
    "SELECT (SELECT sum(balance) FROM accounts) || ' ' ||"
    " ((SELECT rows FROM state) = (SELECT count(*) FROM payload)) || ' ' ||"
    " ((SELECT bytes FROM state) = (SELECT coalesce(sum(length(body)), 0) FROM payload)) || ' ' ||"
    " (SELECT counter FROM state)";

// Starts the sqlite3 program again and again.
int read_with_shell(const std::filesystem::path& path, Board& board) {
  wait_for(board.go);
  std::uint64_t last = 0;
  while (!board.stop) {
    const std::string command =
        "sqlite3 -batch -cmd '.timeout 10000' '" + path.string() + "' \"" + invariant_sql + "\" 2>&1";
    FILE* const pipe = ::popen(command.c_str(), "r");
    char line[256] = {};
    const bool got = std::fgets(line, sizeof line, pipe) != nullptr;
    const int status = ::pclose(pipe);
    unsigned long long counter = 0;
    require(got && status == 0 && std::sscanf(line, "0 1 1 %llu", &counter) == 1 && counter >= last,
            fmt::format("sqlite3 printed '{}' after {}", line, last));
    last = counter;
    ++board.reads;
  }
  return 0;
}

// One Python process with one connection.
int read_with_python(const std::filesystem::path& path, Board& board,
                     const std::filesystem::path& stop_file) {
  wait_for(board.go);
  const std::string text =
      "import sqlite3, os, sys\nc = sqlite3.connect('" + path.string() +
      "', timeout=10, isolation_level=None)\nlast = 0\nwhile not os.path.exists('" + stop_file.string() +
      "'):\n    s = c.execute(\"\"\"" + invariant_sql +
      "\"\"\").fetchone()[0].split()\n    if s[:3] != ['0', '1', '1'] or int(s[3]) < last:"
      " sys.exit('saw ' + str(s) + ' after ' + str(last))\n    last = int(s[3])\n";
  ::execlp("python3", "python3", "-c", text.c_str(), nullptr);
  return 127;
}

bool installed(const std::string& program) {
  return std::system(("command -v " + program + " > /dev/null 2>&1").c_str()) == 0;
}

TEST(ReplicaReaders, NeverSeeATornOrAnOlderState) {
  const test::TemporaryDirectory directory;
  const auto path = directory / "replica.db";
  const auto stop_file = directory / "stop";
  const auto changes =
      make_changes(directory / "source.db", from_environment("LITECLUSTER_STRESS_TRANSACTIONS", 1500));
  const test::SharedValue<Board> board;
  std::vector<ChildProcess> readers;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    // Half of them would report any wait for a lock as an error.
    const std::chrono::milliseconds timeout(seed % 2 == 0 ? 0 : 10000);
    readers.push_back(
        ChildProcess::run([&, seed, timeout] { return read_with_library(path, *board, seed, timeout); }));
  }
  if (installed("sqlite3")) {
    readers.push_back(ChildProcess::run([&] { return read_with_shell(path, *board); }));
  }
  if (installed("python3")) {
    readers.push_back(ChildProcess::run([&] { return read_with_python(path, *board, stop_file); }));
  }
  auto replica = Replica::open(options_for(path));
  ASSERT_TRUE(replica) << replica.error().message();
  std::vector<ReplicaPage> views;
  const auto apply = [&](const SourceChange& change) {
    const auto applied = replica->apply(change.view(views));
    ASSERT_TRUE(applied) << applied.error().message();
  };
  const std::size_t held_back = 5;
  for (std::size_t index = 0; index + held_back < changes.size(); ++index) {
    const SourceChange& change = changes[index];
    apply(change);
    if (change.txid == Txid(1)) board->go = true;
    if (change.txid.value() % 50 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  // Some reads at the end, when nothing changes any more.
  const std::uint64_t reads = board->reads;
  while (board->reads < reads + 10) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    for (ChildProcess& reader : readers) ASSERT_FALSE(reader.ended()) << reader.wait();
  }
  board->stop = true;
  std::ofstream(stop_file).put('x');
  for (ChildProcess& reader : readers) EXPECT_EQ(reader.wait(), "0");
  // Now that nobody reads, the WAL is emptied, however large it has become.
  const std::uint32_t wal_frames = replica->statistics().wal_frames;
  ASSERT_TRUE(replica->checkpoint());
  for (std::size_t index = changes.size() - held_back; index < changes.size(); ++index) apply(changes[index]);
  EXPECT_LT(replica->statistics().wal_frames, 1000U);
  ASSERT_TRUE(replica->verify());
  const auto statistics = replica->statistics();
  std::cout << changes.size() << " transactions, " << statistics.pages << " pages, " << statistics.checkpoints
            << " checkpoints, " << statistics.wal_restarts << " WAL restarts, " << wal_frames
            << " frames in the WAL at the end of reading, " << board->reads
            << " reads by the C API and the shell" << std::endl;
  EXPECT_GT(statistics.wal_restarts, 0U);
}

TEST(ReplicaReaders, MayBeThreadsOfTheSameProcess) {
  const test::TemporaryDirectory directory;
  const auto path = directory / "replica.db";
  const auto changes = make_changes(directory / "source.db", 400);
  auto replica = Replica::open(options_for(path));
  ASSERT_TRUE(replica) << replica.error().message();
  std::vector<ReplicaPage> views;
  ASSERT_TRUE(replica->apply(changes[0].view(views)));
  Board board;
  board.go = true;
  {
    std::vector<std::jthread> readers;
    for (std::uint64_t seed = 1; seed <= 2; ++seed) {
      readers.emplace_back([&, seed] { read_with_library(path, board, seed, std::chrono::seconds(10)); });
    }
    for (std::size_t index = 1; index < changes.size(); ++index) {
      const auto applied = replica->apply(changes[index].view(views));
      ASSERT_TRUE(applied) << applied.error().message();
    }
    while (board.reads < 20) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    board.stop = true;
  }
  EXPECT_TRUE(replica->verify());
}

// Points of an apply, and how many times they may be passed before one acts.
struct FaultPoint {
  const char* name;
  std::uint64_t passes;
};
const FaultPoint fault_points[] = {{"replica.record.slot", 30},    {"replica.record.written", 30},
                                   {"replica.wal.header", 2},      {"replica.wal.restarted", 2},
                                   {"replica.wal.torn_write", 30}, {"replica.wal.frames", 30},
                                   {"replica.wal.index", 100},     {"replica.wal.publish_half", 30},
                                   {"replica.wal.published", 30},  {"replica.checkpointed", 2}};

// Opens the replica, checks that its position is the last one reported, or one more, and goes on applying.
int follow_until_killed(const std::filesystem::path& path, const std::vector<SourceChange>& changes,
                        std::size_t limit, Board& board) {
  base::configure_logging(base::LogLevel::warning, base::LogFormat::text);
  ReplicaOptions options = options_for(path);
  options.checkpoint_frames = 60;
  auto replica = Replica::open(options);
  require(replica.has_value(), replica ? "" : replica.error().message());
  const std::uint64_t reported = board.applied;
  if (reported > 0) {
    require(replica->state() == ReplicaState::ready, "not ready: " + replica->quarantine_reason());
    const std::uint64_t found = replica->position().txid.value();
    require(found == reported || found == reported + 1,
            fmt::format("position {} after {} was reported", found, reported));
    require(replica->position().checksum == changes[found - 1].checksum, "wrong checksum in the position");
    const auto content = replica->scan();
    require(content.has_value() && *content == changes[found - 1].checksum, "wrong content");
    board.applied = found;
  }
  std::vector<ReplicaPage> views;
  limit = std::min<std::size_t>(changes.size(), replica->position().txid.value() + limit);
  while (replica->position().txid.value() < limit) {
    const auto applied = replica->apply(changes[replica->position().txid.value()].view(views));
    // The torn write reports a full disk; what happens next must be as after a kill.
    if (!applied && applied.error().code() == ErrorCode::resource_exhausted) ::_exit(0);
    require(applied.has_value(), applied ? "" : applied.error().message());
    board.applied = replica->position().txid.value();
    board.go = true;
  }
  while (limit < changes.size()) ::pause();
  return 0;
}

// Kills the follower again and again: at named points, or at random times.
void kill_rounds(const std::filesystem::path& directory, bool with_readers) {
  const std::size_t rounds = from_environment("LITECLUSTER_KILL_ROUNDS", 40);
  const auto path = directory / "replica.db";
  const auto changes = make_changes(directory / "source.db", 100 + rounds * 25);
  const test::SharedValue<Board> board;
  std::vector<ChildProcess> readers;
  for (std::uint64_t seed = 1; with_readers && seed <= 3; ++seed) {
    readers.push_back(ChildProcess::run(
        [&, seed] { return read_with_library(path, *board, seed, std::chrono::seconds(10)); }));
  }
  std::mt19937_64 random(rounds + (with_readers ? 1 : 0));
  std::size_t kills = 0;
  for (std::size_t round = 0; round < rounds && board->applied < changes.size(); ++round) {
    const bool at_point = round % 3 != 0;
    const FaultPoint& point = fault_points[random() % std::size(fault_points)];
    const bool torn = std::string_view(point.name) == "replica.wal.torn_write";
    const std::string fault =
        fmt::format("{}={}@{}", point.name, torn ? "fail" : "kill", random() % point.passes + 1);
    ChildProcess follower = ChildProcess::run([&] {
      if (at_point) test::set_fault(fault);
      return follow_until_killed(path, changes, 40, *board);
    });
    // Rare points may not be reached in one round: then the follower waits to be killed.
    const auto patience = std::chrono::microseconds(at_point ? 100000 : random() % 20000);
    const auto give_up = std::chrono::steady_clock::now() + patience;
    while (!follower.ended() && std::chrono::steady_clock::now() < give_up) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    follower.kill();
    const std::string end = follower.wait();
    ASSERT_TRUE(end == "signal 9" || end == "0") << "round " << round << " " << fault << ": " << end;
    kills += end == "signal 9" ? 1 : 0;
    for (ChildProcess& reader : readers) ASSERT_FALSE(reader.ended()) << reader.wait();
    if (!with_readers && board->applied > 0 && random() % 3 == 0) {
      // A reader that comes while nobody follows recovers the WAL, and removes it when it leaves.
      ChildProcess visitor = ChildProcess::run([&] {
        InvariantReader reader(path);
        const auto counter = static_cast<std::uint64_t>(reader.check(true));
        return counter >= board->applied ? 0 : 1;
      });
      ASSERT_EQ(visitor.wait(), "0") << "round " << round << " " << fault;
    }
  }
  ChildProcess last =
      ChildProcess::run([&] { return follow_until_killed(path, changes, changes.size(), *board); });
  EXPECT_EQ(last.wait(), "0");
  EXPECT_EQ(board->applied, changes.size());
  board->stop = true;
  for (ChildProcess& reader : readers) EXPECT_EQ(reader.wait(), "0");
  std::cout << rounds << " rounds, " << kills << " kills, " << changes.size() << " TXIDs, " << board->reads
            << " reads" << std::endl;
}

TEST(ReplicaKilled, ContinuesAtItsPositionWhileReadersStay) {
  const test::TemporaryDirectory directory;
  kill_rounds(directory.path(), true);
}

TEST(ReplicaKilled, ContinuesAtItsPositionWhenReadersComeAndGo) {
  const test::TemporaryDirectory directory;
  kill_rounds(directory.path(), false);
}

}  // namespace
}  // namespace litecluster::db
