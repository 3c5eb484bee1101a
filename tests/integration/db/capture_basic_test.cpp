#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "capture_fixture.hpp"
#include "ltx/decoder.hpp"

namespace litecluster::db {
namespace {

const std::string wal_setup = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;";
const std::string table = "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, x TEXT);";

std::string insert_rows(int count, int size) {
  return "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < " + std::to_string(count) +
         ") INSERT INTO t(x) SELECT substr(hex(randomblob(" + std::to_string(size) + ")), 1, " +
         std::to_string(size) + ") FROM c;";
}

class Capture : public ::testing::Test {
 protected:
  Capture() { options_.path = directory_ / "app.db"; }
  test::TemporaryDirectory directory_;
  DatabaseOptions options_;
  Shadow shadow_;
};

TEST_F(Capture, BeginsWithEveryPageAndGoesOnWithWhatChanges) {
  Application application(options_.path, wal_setup + table + insert_rows(100, 500));
  const auto database = attach(options_);
  ASSERT_NE(database, nullptr);
  EXPECT_EQ(database->attach_report().outcome, AttachOutcome::complete);
  follow(*database, shadow_);
  EXPECT_EQ(shadow_.position().txid, Txid(1));
  EXPECT_EQ(shadow_.check(digest_of_t), application.ask(digest_of_t));
  for (int round = 0; round < 20; ++round) {
    application.run(insert_rows(3, 900) +
                    "UPDATE t SET x = 'changed' WHERE id = " + std::to_string(round + 1));
    auto captured = database->capture();
    ASSERT_TRUE(captured && *captured);
    EXPECT_LT((*captured)->pages().size(), 12U);
    EXPECT_EQ((*captured)->description().commit_count, 2U);
    shadow_.apply(**captured);
    EXPECT_EQ(shadow_.check(digest_of_t), application.ask(digest_of_t));
  }
  EXPECT_FALSE(database->capture().value());
}

TEST_F(Capture, EncodesToLtxFilesThatADecoderAccepts) {
  Application application(options_.path, wal_setup + table + insert_rows(50, 500));
  const auto database = attach(options_);
  ltx::Encoder encoder;
  for (int round = 0; round < 3; ++round) {
    const auto captured = database->capture();
    ASSERT_TRUE(captured && *captured);
    base::Bytes bytes;
    ltx::BytesSink sink(bytes);
    const auto info = (*captured)->encode(encoder, sink);
    ASSERT_TRUE(info) << info.error().message();
    ltx::MemorySource source(bytes, "captured");
    const auto verified = ltx::verify(source, ltx::Acceptance::litestream);
    ASSERT_TRUE(verified) << verified.error().message();
    EXPECT_EQ(verified->header.max_txid, (*captured)->txid());
    EXPECT_EQ(verified->page_count, (*captured)->pages().size());
    EXPECT_EQ((verified->header.wal_offset + verified->header.wal_size - 32) % (4096 + 24), 0);
    application.run(insert_rows(5, 500));
  }
}

TEST_F(Capture, CanBeSwitchedToWalModeWhenAllowed) {
  Application application(options_.path, table + insert_rows(10, 50));
  const auto refused = Database::attach(options_, LogEnd{});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::failed_precondition);
  options_.switch_to_wal = true;
  const auto database = attach(options_);
  ASSERT_NE(database, nullptr);
  application.run(insert_rows(10, 50));
  follow(*database, shadow_);
  EXPECT_EQ(shadow_.check(digest_of_t), application.ask(digest_of_t));
}

TEST_F(Capture, Scenario6SeesAWriteAfterIdlenessAlthoughTheWalDoesNotGrow) {
  Application application(options_.path, wal_setup + table + insert_rows(400, 900));
  const auto database = attach(options_);
  follow(*database, shadow_);
  const auto report = database->checkpoint();
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_TRUE(report->restarts) << report->obstacle;
  EXPECT_EQ(report->held.count(), 0) << "nobody writes, so nobody needs to be held";
  const auto size = std::filesystem::file_size(options_.path.string() + "-wal");
  for (int look = 0; look < 50; ++look) {
    ASSERT_FALSE(database->capture().value());
    ASSERT_FALSE(database->changed());
  }
  EXPECT_EQ(shadow_.position().txid, database->position().txid);
  application.run("UPDATE t SET x = 'new' WHERE id = 3");
  EXPECT_EQ(std::filesystem::file_size(options_.path.string() + "-wal"), size);
  EXPECT_TRUE(database->changed());
  follow(*database, shadow_);
  EXPECT_EQ(shadow_.check(digest_of_t), application.ask(digest_of_t));
}

TEST_F(Capture, WaitsUntilSomethingIsCommitted) {
  Application application(options_.path, wal_setup + table);
  options_.poll_interval = std::chrono::seconds(60);
  const auto database = attach(options_);
  follow(*database, shadow_);
  std::jthread writer([&] {
    Application other(options_.path);
    other.run(insert_rows(1, 10));
  });
  const auto context = Context::background().with_timeout(std::chrono::seconds(30));
  const auto changed = database->wait_for_change(context);
  ASSERT_TRUE(changed) << changed.error().message();
  EXPECT_TRUE(*changed);
  writer.join();
  follow(*database, shadow_);
  EXPECT_EQ(shadow_.check(digest_of_t), application.ask(digest_of_t));
}

TEST_F(Capture, EndsAWaitOnInterruptAndOnCancel) {
  Application application(options_.path, wal_setup + table);
  options_.poll_interval = std::chrono::seconds(60);
  const auto database = attach(options_);
  follow(*database, shadow_);
  {
    std::jthread other([&] { database->interrupt(); });
    EXPECT_EQ(database->wait_for_change(Context::background()), false);
  }
  const Context context = Context::background().with_cancel();
  std::jthread other([&] { context.cancel(); });
  const auto waited = database->wait_for_change(context);
  ASSERT_FALSE(waited);
  EXPECT_EQ(waited.error().code(), ErrorCode::cancelled);
}

TEST_F(Capture, DoesNotTakeATransactionThatIsRolledBack) {
  Application application(options_.path, wal_setup + "PRAGMA cache_size = 5;" + table);
  const auto database = attach(options_);
  follow(*database, shadow_);
  application.run("BEGIN; " + insert_rows(500, 900));
  EXPECT_GT(std::filesystem::file_size(options_.path.string() + "-wal"), 100000U)
      << "it spilled into the WAL";
  EXPECT_FALSE(database->capture().value());
  application.run("ROLLBACK");
  EXPECT_FALSE(database->capture().value());
  application.run(insert_rows(2, 10));
  follow(*database, shadow_);
  EXPECT_EQ(shadow_.check(digest_of_t), application.ask(digest_of_t));
}

TEST_F(Capture, Scenario7FollowsGrowthVacuumAndRegrowth) {
  for (const int auto_vacuum : {0, 1, 2}) {
    SCOPED_TRACE(auto_vacuum);
    options_.path = directory_ / ("vacuum" + std::to_string(auto_vacuum) + ".db");
    Shadow shadow;
    Application application(options_.path,
                            "PRAGMA auto_vacuum = " + std::to_string(auto_vacuum) + ";" + wal_setup + table);
    const auto database = attach(options_);
    std::mt19937 random(7);
    for (int round = 0; round < 12; ++round) {
      application.run(insert_rows(200 + static_cast<int>(random() % 300), 700));
      if (random() % 2 == 0) follow(*database, shadow);
      application.run("DELETE FROM t WHERE id % 5 < " + std::to_string(random() % 5) + " AND id > 20");
      if (random() % 2 == 0) follow(*database, shadow);
      application.run(random() % 2 == 0 ? "VACUUM" : "PRAGMA incremental_vacuum");
      if (random() % 2 == 0) {
        const auto report = database->checkpoint();
        ASSERT_TRUE(report);
        for (const auto& captured : report->captured) shadow.apply(captured);
      }
      follow(*database, shadow);
      ASSERT_FALSE(HasFatalFailure());
      ASSERT_EQ(shadow.check(digest_of_t), application.ask(digest_of_t));
      ASSERT_EQ(std::to_string(shadow.pages()), application.ask("PRAGMA page_count"));
    }
  }
}

TEST_F(Capture, Scenario8WorksWithEveryPageSize) {
  for (int page_size = 512; page_size <= 65536; page_size *= 2) {
    SCOPED_TRACE(page_size);
    options_.path = directory_ / ("size" + std::to_string(page_size) + ".db");
    Shadow shadow;
    Application application(options_.path,
                            "PRAGMA page_size = " + std::to_string(page_size) + ";" + wal_setup + table);
    const auto database = attach(options_);
    for (int round = 0; round < 4; ++round) {
      application.run(insert_rows(60, 3000));
      follow(*database, shadow);
      const auto report = database->checkpoint();
      ASSERT_TRUE(report && report->restarts);
    }
    EXPECT_EQ(database->page_size(), static_cast<std::uint32_t>(page_size));
    EXPECT_EQ(shadow.check(digest_of_t), application.ask(digest_of_t));
  }
}

TEST_F(Capture, MergesCommitsAndCutsLargeBatchesAtACommit) {
  options_.capture_bytes_max = 64 * 1024;
  options_.capture_memory_max = 32 * 1024;
  Application application(options_.path, wal_setup + table);
  const auto database = attach(options_);
  follow(*database, shadow_);
  for (int commit = 0; commit < 200; ++commit) application.run(insert_rows(1, 3000));
  int captures = 0;
  std::uint32_t commits = 0;
  for (;;) {
    auto captured = database->capture();
    ASSERT_TRUE(captured);
    if (!*captured) break;
    EXPECT_LE((*captured)->description().wal.size, options_.capture_bytes_max + 8 * 4120U);
    commits += (*captured)->description().commit_count;
    ++captures;
    shadow_.apply(**captured);
    ASSERT_EQ(shadow_.check(), "ok");
  }
  EXPECT_GT(captures, 5);
  EXPECT_EQ(commits, 200U);
  EXPECT_EQ(shadow_.check(digest_of_t), application.ask(digest_of_t));
  application.run(insert_rows(300, 3000));  // one transaction beyond all limits
  follow(*database, shadow_);
  EXPECT_EQ(shadow_.check(digest_of_t), application.ask(digest_of_t));
}

TEST_F(Capture, Scenario8LeavesOutTheLockPage) {
  // It lies at 1 GiB. Up to shortly before, the file is made of one cheap blob after the other.
  Application application(options_.path,
                          "PRAGMA page_size = 65536; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" +
                              table + "CREATE TABLE big(b)");
  for (int part = 0; part < 21; ++part) application.run("INSERT INTO big VALUES(zeroblob(50000000))");
  application.run(wal_setup);
  const auto database = attach(options_);
  ASSERT_NE(database, nullptr);
  Checksum last;
  const auto drain = [&] {
    for (;;) {
      auto captured = database->capture();
      ASSERT_TRUE(captured) << captured.error().message();
      if (!*captured) return;
      for (const PageNo page : (*captured)->pages()) ASSERT_NE(page, PageNo(16385));
      last = (*captured)->description().checksum;
    }
  };
  drain();
  EXPECT_LT(std::stoi(application.ask("PRAGMA page_count")), 16385);
  application.run("INSERT INTO big VALUES(zeroblob(40000000))");
  drain();
  ASSERT_TRUE(database->checkpoint());
  EXPECT_GT(std::stoi(application.ask("PRAGMA page_count")), 16385);
  application.run("UPDATE big SET b = zeroblob(10) WHERE rowid % 2 = 0; " + insert_rows(5, 100));
  drain();
  const auto snapshot = database->open_snapshot();
  ASSERT_TRUE(snapshot) << snapshot.error().message();
  const auto read =
      snapshot->snapshot.for_each_page(Context::background(), [](const ltx::Page& page) -> Status {
        EXPECT_NE(page.number, PageNo(16385));
        return {};
      });
  EXPECT_TRUE(read) << read.error().message();
  EXPECT_EQ(snapshot->snapshot.position().checksum, last);
}

}  // namespace
}  // namespace litecluster::db
