// Bad days of the leader, with a log in memory: nothing committed is skipped, and what is wrong is told for
// as long as it is.
#include "replication/publisher.hpp"

#include <sys/mount.h>

#include <atomic>
#include <cstdlib>

#include "base/fault_point.hpp"
#include "publishing_fixture.hpp"

namespace litecluster::replication {
namespace {

using namespace std::chrono_literals;
using litecluster::test::eventually;

class PublisherBadDay : public test::PublishingTest {
 protected:
  [[nodiscard]] bool has_problem(ErrorCode code) const {
    const auto problem = publisher_->problem();
    return problem && problem->code() == code;
  }
  /// Writes until the outbox is full, and beyond.
  void expect_nothing_more_is_taken() {
    ASSERT_TRUE(eventually([&] {
      write(3);
      return publisher_->statistics().database.wal_frames_uncaptured > 400;
    }));
    const auto items = publisher_->statistics().outbox_items;
    for (int commit = 0; commit < 200; ++commit) write();
    ASSERT_TRUE(eventually([&] {
      write();
      return publisher_->statistics().database.wal_frames_uncaptured > 1000;
    }));
    EXPECT_EQ(publisher_->statistics().outbox_items, items);
    EXPECT_TRUE(publisher_->problem());
  }
  void heal() {
    log_.fail_with(std::nullopt);
    const auto synced = sync();
    ASSERT_TRUE(synced) << synced.error().message();
    EXPECT_TRUE(eventually([&] { return !publisher_->problem(); })) << publisher_->problem()->message();
    expect_log_leads_to_database();
  }
};

TEST_F(PublisherBadDay, NatsAwayUnderLoadSpoolsToDiskSoThatTheWalIsStillCheckpointed) {
  database_.checkpoint = {.frames = 50, .quiet = 1ms, .frames_urgent = 100};
  options_.outbox.memory_bytes_max = 32 << 10;
  start();
  write();
  ASSERT_TRUE(sync());
  log_.fail_with(ErrorCode::unavailable);
  std::uint32_t frames = 0;
  int restarts = 0;
  ASSERT_TRUE(eventually([&] {
    for (int commit = 0; commit < 10; ++commit) write();
    const std::uint32_t now = publisher_->statistics().database.wal_frames;
    restarts += now < frames ? 1 : 0;
    frames = now;
    return restarts >= 3;
  })) << "the WAL was started anew "
      << restarts << " times";
  EXPECT_TRUE(has_problem(ErrorCode::unavailable));
  EXPECT_FALSE(std::filesystem::is_empty(options_.outbox.directory));
  const auto before = log_.objects().size();
  heal();
  EXPECT_GT(log_.objects().size(), before + 3);
  EXPECT_TRUE(std::filesystem::is_empty(options_.outbox.directory)) << "the spool is not emptied";
}

TEST_F(PublisherBadDay, NatsAwayBeyondTheSpoolLimitLetsTheWalGrowAndSaysSo) {
  database_.checkpoint = {.frames = 20, .quiet = 1ms, .frames_urgent = 40};
  options_.outbox.memory_bytes_max = 8 << 10;
  options_.outbox.disk_bytes_max = 64 << 10;
  options_.wal_bytes_max = 1 << 20;
  start();
  log_.fail_with(ErrorCode::unavailable);
  expect_nothing_more_is_taken();
  heal();
}

TEST_F(PublisherBadDay, FullBucketIsToldAndTheSameBytesAreTriedUntilThereIsRoom) {
  start();
  write();
  ASSERT_TRUE(sync());
  log_.fail_with(ErrorCode::resource_exhausted);
  for (int commit = 0; commit < 50; ++commit) write();
  ASSERT_TRUE(eventually([&] { return has_problem(ErrorCode::resource_exhausted); }));
  const auto attempts = log_.attempts();
  ASSERT_TRUE(eventually([&] { return log_.attempts() > attempts + 3; }));
  EXPECT_TRUE(has_problem(ErrorCode::resource_exhausted)) << "it is told for as long as it lasts";
  EXPECT_FALSE(publisher_->fatal());
  heal();
}

TEST_F(PublisherBadDay, ASpoolThatCannotBeWrittenBoundsMemoryInstead) {
  database_.checkpoint = {.frames = 20, .quiet = 1ms, .frames_urgent = 40};
  options_.outbox.memory_bytes_max = 16 << 10;
  options_.outbox.directory = directory_ / "app.db" / "no-directory";
  start();
  log_.fail_with(ErrorCode::unavailable);
  expect_nothing_more_is_taken();
  heal();
}

// The directory where captures are recorded is on a disk of its own, and that is full.
TEST_F(PublisherBadDay, FullDiskIsToldAndNothingIsSkippedAfterwards) {
  const auto disk = directory_ / "disk";
  std::filesystem::create_directory(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=256k") != 0)
    GTEST_SKIP() << "mounting is not allowed here";
  struct Unmount {
    const std::filesystem::path& path;
    ~Unmount() { ::umount2(path.c_str(), MNT_DETACH); }
  } const unmount{disk};
  database_.state_directory = disk / "state";
  start();
  write();
  ASSERT_TRUE(sync());
  {
    auto filler = base::open_file(disk / "filler", O_RDWR | O_CREAT);
    ASSERT_TRUE(filler);
    base::Bytes block(4096);
    for (std::uint64_t offset = 0; base::write_at(filler->get(), block, offset, disk);
         offset += block.size()) {
    }
  }
  ASSERT_TRUE(eventually([&] {
    for (int commit = 0; commit < 20; ++commit) write();
    return has_problem(ErrorCode::resource_exhausted);
  }));
  EXPECT_FALSE(publisher_->fatal());
  EXPECT_TRUE(has_problem(ErrorCode::resource_exhausted)) << "it is told for as long as it lasts";
  std::filesystem::remove(disk / "filler");
  heal();
  publisher_.reset();
  start();
  heal();
}

// What was captured on the way to the failure is recorded, and no later capture holds it.
TEST_F(PublisherBadDay, ACheckpointThatFailsLosesNoneOfItsCaptures) {
#if !defined(LITECLUSTER_FAULT_POINTS)
  GTEST_SKIP() << "built without fault points";
#else
  ::setenv("LITECLUSTER_FAULT", "checkpoint.full_disk=fail@2,checkpoint.full_disk=fail@3", 1);
  base::reload_fault_points();
  ::unsetenv("LITECLUSTER_FAULT");
  database_.checkpoint = {.frames = 10, .quiet = 1ms, .frames_urgent = 20};
  options_.batch.poll_interval = 10s;
  start();
  log_.fail_with(ErrorCode::unavailable);  // captures then happen in checkpoints
  ASSERT_TRUE(eventually([&] {
    write(3);
    return publisher_->statistics().database.checkpoints > 5;
  }));
  heal();
  base::reload_fault_points();
#endif
}

TEST_F(PublisherBadDay, ANewerLeaderEndsItForGood) {
  start();
  write();
  ASSERT_TRUE(sync());
  std::atomic<int> told = 0;
  publisher_->on_fatal([&](const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::deposed);
    ++told;
  });
  log_.fail_with(ErrorCode::deposed);
  write();
  const auto synced = sync();
  ASSERT_FALSE(synced);
  EXPECT_EQ(synced.error().code(), ErrorCode::deposed);
  ASSERT_TRUE(publisher_->fatal());
  const auto attempts = log_.attempts();
  for (int commit = 0; commit < 20; ++commit) write();
  EXPECT_EQ(sync().error().code(), ErrorCode::deposed) << "it is told again and again";
  EXPECT_EQ(log_.attempts(), attempts) << "nothing more is appended";
  static_cast<void>(publisher_->stop());  // waits for the thread that tells
  EXPECT_EQ(told, 1);
}

TEST_F(PublisherBadDay, ARivalThatWasSeenEndsAnIdleLeaderToo) {
  start();
  write();
  ASSERT_TRUE(sync());
  publisher_->depose(
      Error(ErrorCode::deposed, "follow the log", "TXID 3", "it was written by somebody else"));
  EXPECT_TRUE(eventually([&] { return publisher_->fatal().has_value(); }));
  const auto attempts = log_.attempts();
  write();
  EXPECT_EQ(sync().error().code(), ErrorCode::deposed);
  EXPECT_EQ(log_.attempts(), attempts);
}

TEST_F(PublisherBadDay, ADatabaseReplacedUnderUsEndsItAndAttachingAnewSendsTheDifference) {
  start();
  write(20);
  ASSERT_TRUE(sync());
  publisher_->on_fatal([](const Error&) {});
  {
    db::Application other(directory_ / "other.db", test::table + "INSERT INTO t(x) VALUES('other')");
  }
  std::filesystem::rename(directory_ / "other.db", database_.path);
  ASSERT_TRUE(eventually([&] { return publisher_->fatal().has_value(); }));
  EXPECT_EQ(publisher_->fatal()->code(), ErrorCode::failed_precondition);
  EXPECT_EQ(sync().error().code(), ErrorCode::failed_precondition);
  publisher_.reset();
  application_.reset();
  std::filesystem::remove(database_.path.string() + "-wal");
  std::filesystem::remove(database_.path.string() + "-shm");
  application_ = std::make_unique<db::Application>(database_.path, "PRAGMA wal_autocheckpoint = 0");
  start();
  heal();
  EXPECT_EQ(application_->ask("SELECT group_concat(x) FROM t"), "other");
}

TEST_F(PublisherBadDay, WhatAttachingFoundIsNotAcknowledgedBeforeTheLogHasIt) {
  start();
  write();
  ASSERT_TRUE(sync());
  const auto before = publisher_->position();
  publisher_.reset();
  write();
  ASSERT_EQ(application_->checkpoint(SQLITE_CHECKPOINT_TRUNCATE), SQLITE_OK);
  write();
  log_.fail_with(ErrorCode::unavailable);
  start();
  EXPECT_EQ(publisher_->position().txid, before.txid);
  EXPECT_FALSE(publisher_->sync(Context::background().with_timeout(300ms)));
  EXPECT_EQ(publisher_->stop()->acknowledged(), before.txid);
  publisher_.reset();
  start();
  heal();
}

TEST_F(PublisherBadDay, ADatabaseDeletedUnderUsEndsItWithTheReason) {
  start();
  write();
  ASSERT_TRUE(sync());
  std::filesystem::remove(database_.path);
  ASSERT_TRUE(eventually([&] { return publisher_->fatal().has_value(); }));
  EXPECT_NE(publisher_->fatal()->message().find("deleted"), std::string::npos)
      << publisher_->fatal()->message();
}

TEST_F(PublisherBadDay, TheApplicationCheckpointingAgainstUsLosesNothing) {
  start();
  application_->connection().set_busy_timeout(0ms);
  for (int round = 0; round < 60; ++round) {
    write(round % 7 + 1);
    for (const int mode : {SQLITE_CHECKPOINT_PASSIVE, SQLITE_CHECKPOINT_FULL, SQLITE_CHECKPOINT_RESTART,
                           SQLITE_CHECKPOINT_TRUNCATE}) {
      application_->checkpoint(mode);
    }
  }
  heal();
}

TEST_F(PublisherBadDay, StoppedInTheMiddleItTellsTheNextOneWhatTheLogHas) {
  start();
  for (int round = 0; round < 20; ++round) {
    for (int commit = 0; commit < 10; ++commit) write();
    if (round % 3 == 0) {
      ASSERT_TRUE(sync());
      const auto database = publisher_->stop();
      ASSERT_EQ(database->acknowledged(), end().txid);
    }
    publisher_.reset();
    EXPECT_EQ(log_.crime(), "");
    start();
  }
  heal();
}

TEST_F(PublisherBadDay, LargeCapturesGoThroughAFileAndSurviveRetries) {
  start();
  ASSERT_TRUE(sync());
  log_.fail_with(ErrorCode::unavailable);
  write(10'000);  // some 14 MB in one transaction
  ASSERT_TRUE(eventually([&] { return log_.attempts() > 4; }));
  heal();
}

}  // namespace
}  // namespace litecluster::replication
