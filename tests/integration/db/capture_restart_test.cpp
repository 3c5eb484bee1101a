// Starting again: what happened to the database while nobody was attached, and what a killed agent left
// behind.
#include <gtest/gtest.h>

#include "capture_agent_log.hpp"
#include "capture_fixture.hpp"
#include "ltx/decoder.hpp"

namespace litecluster::db {
namespace {

const std::string setup =
    "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t(id INTEGER PRIMARY KEY, x "
    "TEXT);";

std::string insert_rows(int count) {
  return "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < " + std::to_string(count) +
         ") INSERT INTO t(x) SELECT hex(randomblob(400)) FROM c;";
}

class CaptureRestart : public ::testing::Test {
 protected:
  CaptureRestart() {
    options_.path = directory_ / "app.db";
    application_ = std::make_unique<Application>(options_.path, setup + insert_rows(500));
    const auto database = attach(options_);
    follow(*database, shadow_);
    application_->run(insert_rows(10));
    follow(*database, shadow_);
  }

  AttachReport attach_again() {
    const auto database = attach(options_, end_of(shadow_));
    if (database == nullptr) return {};
    follow(*database, shadow_);
    EXPECT_EQ(shadow_.check(digest_of_t), application_->ask(digest_of_t));
    return database->attach_report();
  }

  test::TemporaryDirectory directory_;
  DatabaseOptions options_;
  std::unique_ptr<Application> application_;
  Shadow shadow_;
};

TEST_F(CaptureRestart, GoesOnInTheWalWhenItStillHasThePlace) {
  const Txid before = shadow_.position().txid;
  application_->run(insert_rows(3));
  const AttachReport report = attach_again();
  EXPECT_EQ(report.outcome, AttachOutcome::continued) << report.reason;
  EXPECT_EQ(report.pages_read, 0U);
  EXPECT_EQ(shadow_.position().txid, before.next());
}

TEST_F(CaptureRestart, SendsNothingWhenNothingHappened) {
  const Position before = shadow_.position();
  EXPECT_EQ(attach_again().outcome, AttachOutcome::continued);
  EXPECT_EQ(shadow_.position(), before);
}

TEST_F(CaptureRestart, Scenario5SendsJustTheChangedPagesAfterTheApplicationCheckpointedAndWentOn) {
  for (int round = 0; round < 5; ++round) {
    application_->run("UPDATE t SET x = 'away' WHERE id = " + std::to_string(100 * round + 1));
    ASSERT_EQ(application_->checkpoint(SQLITE_CHECKPOINT_TRUNCATE), SQLITE_OK);
  }
  application_->run(insert_rows(1));
  const Txid before = shadow_.position().txid;
  const AttachReport report = attach_again();
  EXPECT_EQ(report.outcome, AttachOutcome::compared);
  EXPECT_LE(report.pages_changed, 10U);
  EXPECT_GE(report.pages_changed, 5U);
  EXPECT_EQ(shadow_.position().txid, before.next());
}

TEST_F(CaptureRestart, ComparesAfterTheApplicationClosedTheDatabase) {
  application_->run("DELETE FROM t WHERE id % 3 = 0; VACUUM");
  application_ = std::make_unique<Application>(options_.path);  // the last close removed the WAL
  const AttachReport report = attach_again();
  EXPECT_EQ(report.outcome, AttachOutcome::compared);
  EXPECT_EQ(attach_again().pages_changed, 0U);
}

TEST_F(CaptureRestart, FindsNothingToSendInAFileThatWasOnlyCheckpointed) {
  const Position before = shadow_.position();
  ASSERT_EQ(application_->checkpoint(SQLITE_CHECKPOINT_TRUNCATE), SQLITE_OK);
  const AttachReport report = attach_again();
  EXPECT_EQ(report.outcome, AttachOutcome::compared);
  EXPECT_EQ(report.pages_changed, 0U);
  EXPECT_EQ(shadow_.position(), before);
}

// Two databases of several pages can have the same checksum (ltx/checksum.hpp).
TEST_F(CaptureRestart, SendsEverythingWhenOnlyTheChecksumSpeaksForTheContent) {
  std::filesystem::remove_all(directory_ / ".app.db-litecluster");
  const Txid before = shadow_.position().txid;
  EXPECT_EQ(attach_again().outcome, AttachOutcome::complete);
  application_->run(insert_rows(1));
  EXPECT_EQ(attach_again().outcome, AttachOutcome::continued);
  EXPECT_EQ(shadow_.position().txid, before.next().next());
}

TEST(CaptureOfOnePage, IsVerifiedByItsChecksum) {
  const test::TemporaryDirectory directory;
  DatabaseOptions options{.path = directory / "app.db"};
  Shadow shadow;
  {
    const Application application(options.path, "PRAGMA journal_mode = WAL; PRAGMA user_version = 7");
    const auto database = attach(options);
    follow(*database, shadow);
  }
  std::filesystem::remove_all(directory / ".app.db-litecluster");
  const Application application(options.path, "");
  const auto database = attach(options, end_of(shadow));
  ASSERT_NE(database, nullptr);
  EXPECT_EQ(database->attach_report().outcome, AttachOutcome::verified);
}

TEST_F(CaptureRestart, SendsEverythingWhenNothingCanBeProven) {
  std::filesystem::remove_all(directory_ / ".app.db-litecluster");
  application_->run(insert_rows(1));
  const Txid before = shadow_.position().txid;
  const AttachReport report = attach_again();
  EXPECT_EQ(report.outcome, AttachOutcome::complete);
  EXPECT_EQ(shadow_.position().txid, before.next());
}

TEST_F(CaptureRestart, SendsEverythingAfterThePageSizeChanged) {
  application_->run(
      "PRAGMA journal_mode = DELETE; PRAGMA page_size = 1024; VACUUM; PRAGMA journal_mode = WAL");
  EXPECT_EQ(attach_again().outcome, AttachOutcome::complete);
}

TEST_F(CaptureRestart, ForgetsCapturesThatTheLogNeverGot) {
  {
    const auto database = attach(options_, end_of(shadow_));
    for (int lost = 0; lost < 3; ++lost) {
      application_->run(insert_rows(20) + "DELETE FROM t WHERE id % 50 = " + std::to_string(lost));
      ASSERT_TRUE(database->capture().value());
    }
    application_->run("VACUUM");
    ASSERT_TRUE(database->capture().value());
  }
  const Txid before = shadow_.position().txid;
  EXPECT_EQ(attach_again().outcome, AttachOutcome::continued);
  EXPECT_EQ(shadow_.position().txid, before.next());
}

TEST_F(CaptureRestart, KnowsACaptureThatTheLogGotWithoutOurHearingOfIt) {
  application_->run(insert_rows(7));
  {
    const auto database = attach(options_, end_of(shadow_));
    const auto captured = database->capture();
    ASSERT_TRUE(captured && *captured);
    ASSERT_TRUE(database->note_file((*captured)->txid(), Checksum(77)));
    shadow_.apply(**captured);  // stored, but never acknowledged to us
  }
  LogEnd end = end_of(shadow_);
  end.file_checksum = Checksum(77);
  const auto database = attach(options_, end);
  ASSERT_NE(database, nullptr);
  EXPECT_EQ(database->attach_report().outcome, AttachOutcome::continued);
  EXPECT_FALSE(database->capture().value());
  EXPECT_EQ(database->acknowledged(), shadow_.position().txid);
}

// Another writer has taken the TXID, or an earlier attempt of our own has. That the database checksums are
// equal proves nothing.
TEST_F(CaptureRestart, DoesNotTakeAnotherFileOfTheSameTxidAndChecksumForWhatItCaptured) {
  application_->run(insert_rows(7));
  LogEnd end;
  {
    const auto database = attach(options_, end_of(shadow_));
    const auto captured = database->capture();
    ASSERT_TRUE(captured && *captured);
    end = {.txid = (*captured)->txid(), .checksum = (*captured)->position().checksum, .epoch = Epoch(1)};
    ASSERT_TRUE(database->note_file(end.txid, Checksum(77)));
  }
  for (const std::optional<Checksum> file : {std::optional<Checksum>(), std::optional(Checksum(78))}) {
    end.file_checksum = file;
    const auto database = attach(options_, end);
    ASSERT_NE(database, nullptr);
    EXPECT_EQ(database->attach_report().outcome, AttachOutcome::complete);
    end.txid = database->position().txid;
    end.checksum = database->position().checksum;
  }
}

// Litestream writes over names that are taken, and says nothing of the content.
TEST_F(CaptureRestart, DoesNotTakeAnAcknowledgedTxidForItsOwnAfterAnotherWroteOverIt) {
  for (const bool file_is_known : {false, true}) {
    LogEnd end = end_of(shadow_);
    if (file_is_known) {
      application_->run(insert_rows(1));
      const auto database = attach(options_, end);
      const auto captured = database->capture();
      ASSERT_TRUE(captured && *captured);
      shadow_.apply(**captured);
      ASSERT_TRUE(database->note_file((*captured)->txid(), Checksum(77)));
      ASSERT_TRUE(database->acknowledge((*captured)->txid(), Epoch(1)));
      end = end_of(shadow_);
      end.file_checksum = Checksum(78);
    } else {
      end.checksum.reset();
    }
    const auto database = attach(options_, end);
    ASSERT_NE(database, nullptr);
    EXPECT_EQ(database->attach_report().outcome, AttachOutcome::complete);
    follow(*database, shadow_);
  }
}

TEST_F(CaptureRestart, DoesNotTakeAFileThatWasPutInItsPlaceForANewerState) {
  application_.reset();
  std::filesystem::copy_file(options_.path, directory_ / "older");
  application_ = std::make_unique<Application>(options_.path, insert_rows(3));
  attach_again();
  application_->run(insert_rows(3));
  application_.reset();
  {
    const auto database = attach(options_, std::nullopt);
    EXPECT_TRUE(database->attach_report().content_is_newer);
  }
  // Moved, or made anew, which on many file systems gets the number that the removed one had.
  std::filesystem::rename(directory_ / "older", options_.path);
  for (const bool made_anew : {false, true}) {
    if (made_anew) {
      std::filesystem::copy_file(options_.path, directory_ / "older");
      for (const char* suffix : {"", "-wal", "-shm"})
        std::filesystem::remove(options_.path.string() + suffix);
      std::filesystem::copy_file(directory_ / "older", options_.path);
    }
    const auto database = attach(options_, std::nullopt);
    ASSERT_NE(database, nullptr);
    EXPECT_EQ(database->attach_report().outcome, AttachOutcome::compared);
    EXPECT_FALSE(database->attach_report().content_is_newer) << made_anew;
  }
}

TEST_F(CaptureRestart, DoesNotBelieveAnObjectOfAnotherWriterToBeItsOwn) {
  {
    const auto database = attach(options_, end_of(shadow_));
    application_->run(insert_rows(1));
    ASSERT_TRUE(database->capture().value());  // recorded, and never appended
  }
  // Meanwhile Litestream took over, and wrote something else under the same TXID.
  const auto database =
      attach(options_, LogEnd{.txid = shadow_.position().txid.next(), .checksum = {}, .epoch = {}});
  ASSERT_NE(database, nullptr);
  EXPECT_EQ(database->attach_report().outcome, AttachOutcome::complete);
}

TEST_F(CaptureRestart, RefusesALogThatWentBack) {
  const auto refused = Database::attach(options_, LogEnd{});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::failed_precondition);
  EXPECT_NE(refused.error().message().find("went back"), std::string::npos) << refused.error().message();
}

TEST_F(CaptureRestart, ComputesDamagedChecksumsAnew) {
  for (const auto& entry : std::filesystem::directory_iterator(directory_ / ".app.db-litecluster")) {
    if (entry.path().filename() == "base") std::filesystem::resize_file(entry.path(), 500);
  }
  EXPECT_EQ(attach_again().outcome, AttachOutcome::complete);
  EXPECT_EQ(attach_again().outcome, AttachOutcome::continued);
}

TEST_F(CaptureRestart, FenceHoldsPageOneAndChangesNothing) {
  const auto database = attach(options_, end_of(shadow_));
  const auto fence = database->capture_fence();
  ASSERT_TRUE(fence) << fence.error().message();
  ASSERT_EQ(fence->pages().size(), 1U);
  EXPECT_EQ(fence->pages().front(), PageNo(1));
  EXPECT_EQ(fence->description().checksum, shadow_.position().checksum);
  shadow_.apply(*fence);
  ASSERT_TRUE(database->acknowledge(fence->txid(), Epoch(2)));
  application_->run(insert_rows(1));
  follow(*database, shadow_);
  EXPECT_EQ(shadow_.check(digest_of_t), application_->ask(digest_of_t));
}

TEST_F(CaptureRestart, AttachesOnlyOnce) {
  const auto database = attach(options_, end_of(shadow_));
  const auto second = Database::attach(options_, end_of(shadow_));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::busy);
}

// An agent of its own process is killed at one place after the other, while the application goes on; it
// starts again each time. In the end the log has no gap and leads to the very database.
TEST(Scenario4Killed, LogHasNoGapAndLeadsToTheDatabaseWhereverTheAgentDies) {
  const test::TemporaryDirectory directory;
  const std::string path = (directory / "app.db").string();
  const auto log_directory = directory / "log";
  std::filesystem::create_directory(log_directory);
  {
    Application application(
        path,
        "PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, x TEXT);" + insert_rows(100));
  }
  const std::string program = CAPTURE_APPLICATION;
  // A killed agent leaves a capture that the log never got; taking it back writes the stored state anew,
  // which is where the agents after "before_publish" die.
  const std::vector<std::string> faults{
      "capture.gathered=kill@3",     "capture.recorded=kill@4",    "agent.before_publish=kill@2",
      "capture.rotate_journal=kill", "capture.rotate_base=kill",   "agent.published=kill@3",
      "capture.acknowledged=kill@2", "checkpoint.second_pin=kill", "capture.compared=kill",
      "checkpoint.moved_pin=kill",   "checkpoint.barrier=kill",    "checkpoint.unpinned=kill",
      "checkpoint.copied=kill@2",
  };
  int killed = 0;
  for (const std::string& fault : faults) {
    SCOPED_TRACE(fault);
    // It outlasts the agent, which thus comes to every place; killed at the end of the round.
    Process writer(program, {"writer", path, std::to_string(killed + 1), "5000", "50"});
    Process agent(program, {"agent", path, log_directory.string(), "4", "20"}, fault);
    const int status = agent.wait();
    ASSERT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << "agent failed";
    killed += WIFSIGNALED(status) ? 1 : 0;
  }
  // The places under the write barrier are only reached while the writer leaves no quiet moment.
  EXPECT_GE(killed, 8);
  Process last(program, {"agent", path, log_directory.string(), "4", "20"});
  ASSERT_EQ(last.wait(), 0);

  const AgentLog log(log_directory);
  std::uint32_t pages = 0;
  std::vector<base::Bytes> image;
  Txid txid;
  for (const auto& file : log.files()) {
    auto source = ltx::FileSource::open(file);
    ASSERT_TRUE(source);
    ltx::Decoder decoder(*source, ltx::Acceptance::litestream);
    const auto header = decoder.read_header();
    ASSERT_TRUE(header) << header.error().message();
    ASSERT_EQ(header->max_txid, txid.next());
    txid = header->max_txid;
    pages = header->commit;
    image.resize(pages);
    for (;;) {
      const auto page = decoder.next_page();
      ASSERT_TRUE(page) << page.error().message();
      if (!*page) break;
      image[(*page)->number.value() - 1].assign((*page)->bytes.begin(), (*page)->bytes.end());
    }
    Checksum checksum;
    for (std::uint32_t page = 1; page <= pages; ++page) {
      ASSERT_FALSE(image[page - 1].empty()) << "page " << page << " is missing at " << to_string(txid);
      checksum = checksum.toggled(ltx::page_checksum(PageNo(page), image[page - 1]));
    }
    ASSERT_NE(file.string().find(to_string(checksum)), std::string::npos)
        << "wrong state at " << to_string(txid);
  }
  Application application(path);
  // Before the checkpoint: one that has read nothing does not know of the WAL.
  EXPECT_EQ(application.ask("PRAGMA page_count"), std::to_string(pages));
  ASSERT_EQ(application.checkpoint(SQLITE_CHECKPOINT_TRUNCATE), SQLITE_OK);
  base::Bytes flat;
  for (const auto& page : image) base::append_bytes(flat, page);
  const auto content = base::read_file(path, 1U << 30U);
  EXPECT_TRUE(*content == flat) << "the log does not lead to the database";
}

}  // namespace
}  // namespace litecluster::db
