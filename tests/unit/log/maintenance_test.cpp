#include "log/maintenance.hpp"

#include <gtest/gtest.h>

#include "unit/log/log_fixture.hpp"

namespace litecluster::log {
namespace {

using namespace std::chrono_literals;
using test::author;

class MaintenanceTest : public test::LogTest {
 protected:
  void SetUp() override {
    leader_ = make_appender(2);
    leader_->start({});
  }

  Result<MaintenanceReport> maintain() {
    return run_maintenance(context_, maintenance_, watcher_, schedule_, policy_, clock_.wall_time(),
                           watcher_.seen());
  }

  std::unique_ptr<Appender> leader_;
  Maintenance maintenance_{bucket_, author(2), {.spool_directory = directory_.path()}};
  LogWatcher watcher_{bucket_, {}};
  CompactionSchedule schedule_ = *CompactionSchedule::create({.levels = {{1, 10s}, {2, 60s}}});
  RetentionPolicy policy_{.raw_grace = 60s};
};

TEST_F(MaintenanceTest, MergesAndPrunesWhileEverythingStaysRestorable) {
  for (int round = 0; round < 20; ++round) {
    append_many(*leader_, 20);
    const auto last = bucket_.info(context_, ObjectName::raw(leader_->end()));
    ASSERT_TRUE(watcher_.wait_for(context_, last->sequence));
    const auto report = maintain();
    ASSERT_TRUE(report) << report.error().message();
    ASSERT_TRUE(report->status()) << report->status().error().message();
  }
  const auto view = read_log(context_, bucket_);
  EXPECT_LT(view->level(0).size(), 200U);
  EXPECT_GT(view->level(1).size(), 15U);
  EXPECT_GT(view->level(2).size(), 1U);
  EXPECT_TRUE(view->gaps(Txid(0)).empty());
  for (const auto& [name, object] : view->level(1)) {
    ASSERT_TRUE(restore_to(RestoreTarget::at(name.max)));
    EXPECT_EQ(restored(), model_.state(name.max));
    EXPECT_EQ(object.author, author(2));
  }
  ASSERT_TRUE(restore_to(RestoreTarget::latest()));
  EXPECT_EQ(restored(), model_.state(Txid(400)));
}

TEST_F(MaintenanceTest, SpoolsLargeInputsToDiskAndLeavesNothingThere) {
  append_many(*leader_, 10);
  Maintenance spooling(bucket_, author(2), {.spool_directory = directory_.path(), .input_memory_max = 0});
  CompactionJob job{.level = 1};
  const auto view = read_log(context_, bucket_);
  for (const auto& [name, object] : view->level(0)) job.inputs.push_back(object);
  const auto object = spooling.compact(context_, job);
  ASSERT_TRUE(object) << object.error().message();
  EXPECT_EQ(object->created_at, job.inputs.back().created_at);
  EXPECT_EQ(object->checksum, model_.checksum());
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
  EXPECT_EQ(spooling.compact(context_, job)->sequence, object->sequence);
}

TEST_F(MaintenanceTest, SaysOfAMergeOnWhichStateItWasMade) {
  append_many(*leader_, 10);
  Maintenance maintenance(bucket_, author(2));
  const auto view = read_log(context_, bucket_);
  ASSERT_TRUE(view);
  CompactionJob job{.level = 1};
  for (std::uint64_t txid = 4; txid <= 10; ++txid) {
    job.inputs.push_back(*view->find(ObjectName::raw(Txid(txid))));
  }
  const auto object = maintenance.compact(context_, job);
  ASSERT_TRUE(object) << object.error().message();
  const Object* const before = view->find(ObjectName::raw(Txid(3)));
  EXPECT_EQ(object->pre_apply, before->checksum);
  EXPECT_EQ(object->previous_file, before->file_checksum);
}

TEST_F(MaintenanceTest, PublishesNothingFromADamagedInput) {
  append_many(*leader_, 3);
  bucket_.damage(ObjectName::raw(Txid(2)), 150);
  CompactionJob job{.level = 1};
  const auto view = read_log(context_, bucket_);
  for (const auto& [name, object] : view->level(0)) job.inputs.push_back(object);
  EXPECT_EQ(maintenance_.compact(context_, job).error().code(), ErrorCode::corrupt);
  EXPECT_FALSE(bucket_.contains(job.output()));
}

TEST_F(MaintenanceTest, PublishesNothingFromAFileUnderTheWrongName) {
  append_many(*leader_, 2);
  ASSERT_TRUE(bucket_.put(context_, {.name = {1, Txid(3), Txid(4)}, .author = author(2)},
                          model_.commit(clock_.wall_time())));
  const auto view = read_log(context_, bucket_);
  CompactionJob job{.level = 2};
  for (const int level : {0, 1}) {
    for (const auto& [name, object] : view->level(level)) job.inputs.push_back(object);
  }
  ASSERT_EQ(job.output().max, Txid(4));
  const auto refused = maintenance_.compact(context_, job);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::corrupt) << refused.error().message();
  EXPECT_FALSE(bucket_.contains(job.output()));
}

TEST_F(MaintenanceTest, PublishesNoSnapshotThatFailedHalfWay) {
  const auto refused =
      maintenance_.put_snapshot(context_, Txid(1), clock_.wall_time(), {}, [](ltx::Sink& sink) -> Status {
        static_cast<void>(sink.write(base::as_bytes("half a snapshot")));
        return failure(ErrorCode::io, "read page", "app.db", "the disk is gone");
      });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::io);
  EXPECT_FALSE(bucket_.contains(ObjectName::snapshot(Txid(1))));
}

TEST_F(MaintenanceTest, StopsWhenANewerEpochShows) {
  append_many(*leader_, 1);
  auto copy = model_;
  const auto newer = make_appender(3, "newer");
  newer->start({.txid = Txid(1)});
  const auto fence = newer->append(context_, {.payload = copy.commit(clock_.wall_time())});
  ASSERT_TRUE(watcher_.wait_for(context_, fence->sequence));
  EXPECT_EQ(maintain().error().code(), ErrorCode::deposed);
}

TEST_F(MaintenanceTest, MakesRoomInAFullBucket) {
  append_many(*leader_, 100);
  const auto last = bucket_.info(context_, ObjectName::raw(leader_->end()));
  ASSERT_TRUE(watcher_.wait_for(context_, last->sequence));
  ASSERT_TRUE(maintain()->status());
  append_many(*leader_, 1);
  clock_.advance(10min);
  const auto before = read_log(context_, bucket_)->level(0).size();
  bucket_.refuse_puts(1, ErrorCode::resource_exhausted);
  const auto report = maintain();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->status().error().code(), ErrorCode::resource_exhausted);
  EXPECT_LT(read_log(context_, bucket_)->level(0).size(), before);
}

TEST_F(MaintenanceTest, RecoversFromInputsThatWereRemovedUnseen) {
  bucket_.announce_removals(false);
  append_many(*leader_, 60);
  const auto last = bucket_.info(context_, ObjectName::raw(leader_->end()));
  ASSERT_TRUE(watcher_.wait_for(context_, last->sequence));
  ASSERT_TRUE(bucket_.remove(context_, *bucket_.info(context_, ObjectName::raw(Txid(1)))));
  EXPECT_EQ(maintain()->status().error().code(), ErrorCode::not_found);
  // It does not come back to the same job for ever.
  const auto again = maintain();
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_TRUE(again->status());
  EXPECT_EQ(read_log(context_, bucket_)->level(1).begin()->first.min, Txid(2));
}

TEST_F(MaintenanceTest, SaysWhichMergeCannotBeMadeFromWhatTheLogHolds) {
  append_many(*leader_, 60);
  const auto last = bucket_.info(context_, ObjectName::raw(leader_->end()));
  ASSERT_TRUE(watcher_.wait_for(context_, last->sequence));
  bucket_.damage(ObjectName::raw(Txid(3)), 150);
  const auto report = maintain();
  ASSERT_TRUE(report) << report.error().message();
  ASSERT_TRUE(report->failed_compaction);
  EXPECT_TRUE(report->failed_compaction->is_unreadable());
  EXPECT_TRUE(report->failed_compaction->job.output().contains(Txid(3)));
  EXPECT_EQ(report->status().error().code(), ErrorCode::corrupt);
  EXPECT_TRUE(report->retention);
}

// Of what a damaged merge repeats, the raw objects are all that is left to restore it from.
TEST_F(MaintenanceTest, KeepsTheRawObjectsOfAMergeThatCannotBeRead) {
  append_many(*leader_, 20);
  const auto view = read_log(context_, bucket_);
  CompactionJob job{.level = 1};
  for (const auto& [name, object] : view->level(0)) job.inputs.push_back(object);
  ASSERT_TRUE(maintenance_.compact(context_, job));
  bucket_.damage(job.output(), 150);
  append_many(*leader_, 300);
  clock_.advance(10min);
  append_many(*leader_, 1);
  const auto last = bucket_.info(context_, ObjectName::raw(leader_->end()));
  ASSERT_TRUE(watcher_.wait_for(context_, last->sequence));
  ASSERT_EQ(maintain()->status().error().code(), ErrorCode::corrupt);
  const auto after = read_log(context_, bucket_);
  for (std::uint64_t txid = 1; txid <= 20; ++txid) {
    EXPECT_NE(after->find(ObjectName::raw(Txid(txid))), nullptr) << txid;
  }
  EXPECT_EQ(after->find(ObjectName::raw(Txid(250))), nullptr) << "others go";
}

TEST_F(MaintenanceTest, TellsANameThatIsTakenByNothingFromAnInputThatVanished) {
  append_many(*leader_, 3);
  const auto view = read_log(context_, bucket_);
  CompactionJob job{.level = 1};
  for (const auto& [name, object] : view->level(0)) job.inputs.push_back(object);
  bucket_.refuse_puts(1, ErrorCode::already_exists);
  EXPECT_EQ(maintenance_.compact(context_, job).error().code(), ErrorCode::already_exists);
  EXPECT_TRUE(maintenance_.compact(context_, job));
}

TEST_F(MaintenanceTest, RemovesSeveralAtATime) {
  append_many(*leader_, 100);
  const auto view = read_log(context_, bucket_);
  std::vector<Object> objects;
  for (const auto& [name, object] : view->level(0)) objects.push_back(object);
  std::atomic<int> removed{0};
  ASSERT_TRUE(maintenance_.remove(context_, objects, [&removed](const Object&) { ++removed; }));
  EXPECT_EQ(removed, 100);
  EXPECT_TRUE(read_log(context_, bucket_)->empty());
}

TEST_F(MaintenanceTest, ARemovalThatFailsIsToldAndEndsTheRest) {
  append_many(*leader_, 50);
  const auto view = read_log(context_, bucket_);
  std::vector<Object> objects;
  for (const auto& [name, object] : view->level(0)) objects.push_back(object);
  const Context until = context_.with_cancel();
  std::atomic<std::size_t> removed{0};
  const Status done = maintenance_.remove(until, objects, [&](const Object&) {
    if (++removed == 5) until.cancel();
  });
  EXPECT_EQ(done.error().code(), ErrorCode::cancelled);
  EXPECT_GE(removed, 5U);
  EXPECT_EQ(read_log(context_, bucket_)->level(0).size(), objects.size() - removed);
  EXPECT_LT(removed, objects.size());
}

}  // namespace
}  // namespace litecluster::log
