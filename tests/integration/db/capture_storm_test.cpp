// Scenario 2: checkpoint storm. Applications in other processes commit, check-point in every mode and read,
// all at once, while the database is captured and check-pointed by us. Whatever was captured last must, at
// every TXID, be a sound database with the checksum that capture says, in which the ledger says the truth,
// and in the end the very content of the original.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <map>

#include "capture_fixture.hpp"

namespace litecluster::db {
namespace {

int storm_txids() {
  const char* wanted = std::getenv("LITECLUSTER_STORM_TXIDS");
  return wanted == nullptr ? 300 : std::atoi(wanted);
}

class Scenario2CheckpointStorm : public ::testing::TestWithParam<int> {
 protected:
  test::TemporaryDirectory directory_;
};

TEST_P(Scenario2CheckpointStorm, EveryTxidIsASoundDatabase) {
  const std::string path = (directory_ / "app.db").string();
  {
    Application application(path,
                            "PRAGMA page_size = " + std::to_string(GetParam()) +
                                "; PRAGMA auto_vacuum = 2; PRAGMA journal_mode = WAL;"
                                "CREATE TABLE t(id INTEGER PRIMARY KEY, x TEXT); CREATE INDEX i ON t(x);" +
                                ledger_table);
  }
  DatabaseOptions options{.path = path};
  options.poll_interval = std::chrono::milliseconds(100);
  options.checkpoint = {.frames = 60, .quiet = std::chrono::milliseconds(2), .frames_urgent = 120};
  const auto database = attach(options);
  ASSERT_NE(database, nullptr);
  Shadow shadow;
  std::vector<Process> others;
  const std::string program = CAPTURE_APPLICATION;
  for (const char* mode : {"PASSIVE", "FULL", "RESTART", "TRUNCATE"}) {
    others.emplace_back(program, std::vector<std::string>{"checkpointer", path, mode, "3000"});
  }
  others.emplace_back(program, std::vector<std::string>{"reader", path, "4000"});
  Process first(program, {"writer", path, "1", "1000000", "30"});
  Process second(program, {"writer", path, "2", "1000000", "0"});

  const auto stop_at = static_cast<std::uint64_t>(storm_txids());
  const Context context = Context::background().with_timeout(std::chrono::seconds(1500));
  int restarts = 0;
  std::uint64_t commits = 0;
  std::map<std::string, int> obstacles;
  const auto publish = [&](const CapturedTransaction& captured) {
    shadow.apply(captured);
    ASSERT_FALSE(HasFatalFailure());
    const std::string answer = shadow.check(ledger_check);
    ASSERT_TRUE(answer.starts_with("ok ")) << answer << " at " << to_string(captured.txid());
    ASSERT_GE(std::stoull(answer.substr(3)), commits)
        << "commits went back at " << to_string(captured.txid());
    commits = std::stoull(answer.substr(3));
    ASSERT_TRUE(database->acknowledge(captured.txid(), Epoch(1)));
  };
  while (shadow.position().txid.value() < stop_at) {
    ASSERT_TRUE(first.running() && second.running()) << "a writer failed";
    const auto waited = database->wait_for_change(context);
    ASSERT_TRUE(waited) << waited.error().message();
    auto captured = database->capture();
    ASSERT_TRUE(captured) << captured.error().message();
    if (*captured) publish(**captured);
    ASSERT_FALSE(HasFatalFailure());
    const CheckpointStep step = database->checkpoint_due(base::BootClock::now());
    if (step == CheckpointStep::none) continue;
    const auto report = database->checkpoint(step);
    ASSERT_TRUE(report) << report.error().message();
    restarts += report->restarts ? 1 : 0;
    ++obstacles[report->obstacle];
    for (const auto& one : report->captured) {
      publish(one);
      ASSERT_FALSE(HasFatalFailure());
    }
  }
  others.clear();
  first = {};
  second = {};
  follow(*database, shadow);
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_GT(restarts, 0);
  Application application(path);
  EXPECT_EQ(shadow.check(digest_of_t), application.ask(digest_of_t));
  EXPECT_EQ(application.ask("PRAGMA integrity_check"), "ok");
  const auto statistics = database->statistics();
  RecordProperty("restarts", restarts);
  for (const auto& [obstacle, count] : obstacles) std::printf("%5d %s\n", count, obstacle.c_str());
  std::printf("%llu captures, %d WAL restarts in %llu checkpoints, writers held at most %.2f ms, %u frames\n",
              static_cast<unsigned long long>(statistics.captures), restarts,
              static_cast<unsigned long long>(statistics.checkpoints),
              std::chrono::duration<double, std::milli>(statistics.held_max).count(), statistics.wal_frames);
}

INSTANTIATE_TEST_SUITE_P(PageSizes, Scenario2CheckpointStorm, ::testing::Values(4096, 512),
                         [](const auto& size) { return "Size" + std::to_string(size.param); });

}  // namespace
}  // namespace litecluster::db
