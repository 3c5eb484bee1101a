// Compaction, snapshots and retention under the eyes of readers.
#include "log/maintenance.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "integration/log/log_bucket_fixture.hpp"
#include "log/snapshot_schedule.hpp"

namespace litecluster::log {
namespace {

using namespace std::chrono_literals;
using litecluster::test::ModelDatabase;
using test::author;
using test::soon;

class MaintenanceTest : public test::LogBucketTest {};

/// The history is written with time stamps of its own, half a second apart, so that minutes pass in seconds.
TEST_F(MaintenanceTest, Scenario11LosesNoPromisedStateWhileReadersRestoreIt) {
  constexpr int transactions = 600;
  constexpr auto grace = 60s;
  const base::WallTime begin = interval_start(base::system_clock().wall_time(), 1h);
  const auto time_of = [begin](std::uint64_t txid) { return begin + txid * 500ms; };
  // Written before the readers begin, so that they may look at every state without a lock.
  ModelDatabase model;
  std::vector<base::Bytes> files;
  std::vector<std::optional<Checksum>> checksums;
  std::map<std::uint64_t, base::Bytes> snapshots;
  for (std::uint64_t txid = 1; txid <= transactions; ++txid) {
    files.push_back(model.commit(time_of(txid)));
    checksums.emplace_back(model.checksum());
    if (txid % 150 == 0) snapshots[txid] = model.snapshot(time_of(txid));
  }
  std::atomic<std::uint64_t> acknowledged{0};
  std::atomic<bool> ended{false};
  const auto reader = [&](unsigned seed) {
    const auto bucket = open_bucket();
    std::mt19937 random(seed);
    const auto file = "reader-" + std::to_string(seed) + ".db";
    int restores = 0;
    while (!ended || restores == 0) {
      const std::uint64_t last = acknowledged;
      if (last == 0) continue;
      // Each promised TXID is younger than the grace for as long as the restore may take: allow for 20 s.
      const std::uint64_t oldest = last > 80 ? last - 80 : 1;
      const Txid txid(std::uniform_int_distribution<std::uint64_t>(oldest, last)(random));
      RestoreOptions options{
          .output = directory_ / file, .target = RestoreTarget::at(txid), .overwrite = true};
      const auto report = restore(soon(60s), *bucket, options);
      const bool still_promised = time_of(acknowledged) - time_of(txid.value()) < grace;
      if (!report && !still_promised) continue;
      ASSERT_OK(report);
      ASSERT_EQ(*base::read_file(options.output, 1 << 24), model.state(txid)) << txid.value();
      ++restores;
    }
  };
  std::vector<std::jthread> readers;
  // Also when an assertion ends the test: destroyed before the readers are joined.
  struct EndReaders {
    std::atomic<bool>& ended;
    ~EndReaders() { ended = true; }
  };
  for (const unsigned seed : {1U, 2U}) readers.emplace_back(reader, seed);
  const EndReaders end_readers{ended};

  LogWatcher watcher(*bucket_, {});
  Appender appender(*bucket_, author(1), watcher.read_end());
  appender.start({});
  Maintenance maintenance(*bucket_, author(1));
  const auto schedule = CompactionSchedule::create({.levels = {{1, 10s}, {2, 60s}}});
  const RetentionPolicy policy{.raw_grace = grace, .retention = 2min};
  std::size_t removed = 0;
  for (std::uint64_t txid = 1; txid <= transactions; ++txid) {
    const auto object =
        appender.append(soon(), {.payload = files[txid - 1], .checksum = checksums[txid - 1]});
    ASSERT_OK(object);
    acknowledged = txid;
    if (const auto found = snapshots.find(txid); found != snapshots.end()) {
      ASSERT_OK(maintenance.put_snapshot(soon(), Txid(txid), time_of(txid), checksums[txid - 1],
                                         [&found](ltx::Sink& sink) { return sink.write(found->second); }));
    }
    if (txid % 20 != 0) continue;
    ASSERT_OK(watcher.wait_for(soon(), object->sequence));
    const auto report = run_maintenance(soon(60s), maintenance, watcher, *schedule, policy,
                                        RetentionTimes(time_of(txid)), watcher.seen());
    ASSERT_OK(report);
    ASSERT_OK(report->status());
    removed += report->removals;
  }
  ended = true;
  readers.clear();
  EXPECT_GT(removed, 300U);

  // A fresh listing agrees with what the leader's watcher believes.
  const auto view = read_log(soon(), *bucket_);
  ASSERT_OK(view);
  EXPECT_EQ(view->level(raw_level), watcher.view().level(raw_level));
  EXPECT_EQ(view->level(snapshot_level), watcher.view().level(snapshot_level));
  EXPECT_LT(view->level(raw_level).size(), 200U);
  for (int level = 0; level < level_count; ++level) {
    for (const auto& [name, object] : view->level(level)) {
      const auto plan = plan_restore(*view, RestoreTarget::at(name.max));
      if (!plan) continue;  // from before the retention
      EXPECT_EQ(restored(RestoreTarget::at(name.max)), model.state(name.max)) << to_string(name);
    }
  }
  EXPECT_EQ(restored(RestoreTarget::latest()), model.state(Txid(transactions)));
}

}  // namespace
}  // namespace litecluster::log
