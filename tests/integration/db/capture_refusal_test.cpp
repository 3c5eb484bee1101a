// What cannot be captured is refused with words that say what to do; what happens to the file later is
// noticed.
#include <gtest/gtest.h>

#include <unistd.h>

#include "capture_fixture.hpp"

namespace litecluster::db {
namespace {

const std::string setup = "PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, x TEXT);";

class CaptureRefusal : public ::testing::Test {
 protected:
  CaptureRefusal() {
    options_.path = directory_ / "app.db";
    options_.busy_timeout = std::chrono::milliseconds(50);
  }
  Error refused() {
    const auto database = Database::attach(options_, LogEnd{});
    EXPECT_FALSE(database);
    return database ? Error(ErrorCode::internal, "", "", "") : database.error();
  }
  test::TemporaryDirectory directory_;
  DatabaseOptions options_;
};

TEST_F(CaptureRefusal, MissingFile) {
  EXPECT_EQ(refused().code(), ErrorCode::not_found);
}

TEST_F(CaptureRefusal, InMemoryDatabase) {
  for (const char* path : {":memory:", "", "file:app.db?mode=memory"}) {
    options_.path = path;
    options_.state_directory = directory_ / "state";
    EXPECT_EQ(refused().code(), ErrorCode::unsupported) << path;
  }
}

TEST_F(CaptureRefusal, EmptyFile) {
  ASSERT_TRUE(base::write_file_durably(options_.path, {}));
  EXPECT_EQ(refused().code(), ErrorCode::failed_precondition);
}

TEST_F(CaptureRefusal, FileThatIsNoDatabase) {
  ASSERT_TRUE(base::write_file_durably(options_.path, base::Bytes(8192, std::byte{0x5A})));
  EXPECT_EQ(refused().code(), ErrorCode::corrupt);
  EXPECT_NE(refused().reason().find("encrypted"), std::string::npos);
}

TEST_F(CaptureRefusal, RollbackJournal) {
  Application application(options_.path, "CREATE TABLE t(x)");
  EXPECT_EQ(refused().code(), ErrorCode::failed_precondition);
  EXPECT_NE(refused().reason().find("journal_mode = WAL"), std::string::npos);
}

TEST_F(CaptureRefusal, ExclusiveLockingMode) {
  {
    Application application(options_.path, setup);
  }
  Application application(options_.path, "PRAGMA locking_mode = EXCLUSIVE; INSERT INTO t VALUES(1, 'x')");
  EXPECT_EQ(refused().code(), ErrorCode::busy);
  EXPECT_NE(refused().reason().find("locking_mode"), std::string::npos);
}

TEST_F(CaptureRefusal, DirectoryThatCannotBeWrittenTo) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  Application application(options_.path, setup);
  std::filesystem::permissions(directory_.path(),
                               std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  EXPECT_EQ(refused().code(), ErrorCode::permission_denied);
  std::filesystem::permissions(directory_.path(), std::filesystem::perms::owner_all);
}

class CaptureInterference : public CaptureRefusal {
 protected:
  CaptureInterference() {
    application_ = std::make_unique<Application>(options_.path, setup + "INSERT INTO t VALUES(1, 'x')");
    database_ = attach(options_);
    follow(*database_, shadow_);
  }
  void expect(DatabaseHealth health) {
    const auto captured = database_->capture();
    ASSERT_FALSE(captured);
    EXPECT_EQ(captured.error().code(), ErrorCode::failed_precondition);
    EXPECT_EQ(database_->health(), health) << to_string(database_->health());
    EXPECT_FALSE(database_->wait_for_change(Context::background()));
    EXPECT_FALSE(database_->checkpoint());
    EXPECT_FALSE(database_->open_snapshot());
  }
  std::unique_ptr<Application> application_;
  std::unique_ptr<Database> database_;
  Shadow shadow_;
};

TEST_F(CaptureInterference, DeletedDatabaseIsNoticed) {
  std::filesystem::remove(options_.path);
  expect(DatabaseHealth::deleted);
}

TEST_F(CaptureInterference, ReplacedDatabaseIsNoticedAndSentWhenAttachedAgain) {
  {
    Application other(directory_ / "other.db", setup + "INSERT INTO t VALUES(1, 'other')");
  }
  std::filesystem::rename(directory_ / "other.db", options_.path);
  expect(DatabaseHealth::replaced);
  database_.reset();
  application_.reset();
  std::filesystem::remove(options_.path.string() + "-wal");
  std::filesystem::remove(options_.path.string() + "-shm");
  database_ = attach(options_, end_of(shadow_));
  EXPECT_EQ(database_->attach_report().outcome, AttachOutcome::compared);
  follow(*database_, shadow_);
  EXPECT_EQ(shadow_.check("SELECT x FROM t"), "other");
}

TEST_F(CaptureInterference, RemovedWalIsNoticed) {
  std::filesystem::remove(options_.path.string() + "-wal");
  expect(DatabaseHealth::wal_lost);
}

// Programs that open the database afterwards agree on commits in a new -shm file, where we would never see
// them.
TEST_F(CaptureInterference, RemovedSharedMemoryIsNoticed) {
  std::filesystem::remove(options_.path.string() + "-shm");
  EXPECT_FALSE(database_->wait_for_change(Context::background().with_timeout(std::chrono::seconds(30))));
  expect(DatabaseHealth::wal_lost);
}

TEST_F(CaptureInterference, TruncatedWalIsNoticed) {
  application_->run("INSERT INTO t(x) VALUES('y')");
  std::filesystem::resize_file(options_.path.string() + "-wal", 100);
  expect(DatabaseHealth::wal_broken);
}

TEST_F(CaptureInterference, WaitEndsAtOnceWhenTheDatabaseIsReplaced) {
  std::filesystem::rename(options_.path, directory_ / "away.db");
  const auto waited = database_->wait_for_change(Context::background());
  ASSERT_FALSE(waited);
  EXPECT_EQ(database_->health(), DatabaseHealth::deleted);
}

TEST_F(CaptureInterference, ApplicationCannotLeaveWalModeMeanwhile) {
  application_->connection().set_busy_timeout(std::chrono::milliseconds(0));
  EXPECT_EQ(application_->connection().query_text("PRAGMA journal_mode = DELETE").value_or("busy"), "busy");
  application_->run("INSERT INTO t(x) VALUES('y')");
  follow(*database_, shadow_);
  EXPECT_EQ(shadow_.check("SELECT count(*) FROM t"), "2");
}

TEST_F(CaptureInterference, NothingOfOursIsLeftInTheDatabase) {
  application_->run("INSERT INTO t(x) VALUES('y')");
  follow(*database_, shadow_);
  ASSERT_TRUE(database_->checkpoint());
  const auto frames = database_->statistics().wal_frames;
  database_.reset();
  EXPECT_EQ(application_->ask("SELECT group_concat(name) FROM sqlite_schema"), "t");
  const auto database = attach(options_, end_of(shadow_));
  EXPECT_EQ(database->statistics().wal_frames, frames) << "attaching and detaching wrote frames";
}

}  // namespace
}  // namespace litecluster::db
