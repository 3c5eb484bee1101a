// What a node makes of the database that it finds when it starts, with real SQLite files and a log in memory.
#include "app/database_role.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>

#include "base/file.hpp"
#include "db/sqlite.hpp"
#include "log/restore.hpp"
#include "ltx/checksum.hpp"
#include "replication/session_options.hpp"
#include "support/eventually.hpp"
#include "support/fake_object_bucket.hpp"
#include "support/temporary_directory.hpp"

namespace litecluster::app {
namespace {

using namespace std::chrono_literals;

Context patience() {
  return Context::background().with_timeout(30s);
}

// One node's files, and its DatabaseRole while its process lives.
class Node {
 public:
  Node(std::string name, const std::filesystem::path& directory, test::FakeObjectBucket& bucket)
      : name_(std::move(name)), bucket_(bucket), directory_(directory / name_) {
    std::filesystem::create_directories(directory_);
  }

  [[nodiscard]] std::filesystem::path database() const { return directory_ / "app.db"; }
  [[nodiscard]] std::filesystem::path replica() const { return directory_ / "app.db-replica"; }
  [[nodiscard]] DatabaseRole& role() { return *role_; }

  void start() {
    start_without_following();
    const auto followed = role_->follow(patience());
    ASSERT_TRUE(followed) << followed.error().message();
  }

  void start_without_following() {
    Sqlite sqlite;
    sqlite.path = database();
    sqlite.replica = replica();
    role_ = std::make_unique<DatabaseRole>(
        DatabaseRoleOptions{.sqlite = sqlite,
                            .node = name_,
                            .incarnation = name_ + "." + std::to_string(++starts_),
                            .on_position = {},
                            .on_fatal = [this](const Error& error) { fatal_ = error.code(); }},
        bucket_);
  }

  void lead(std::uint64_t epoch) {
    for (const Status& done : {role_->catch_up(patience()), role_->fence(patience(), Epoch(epoch)),
                               role_->seal_replica(patience()), role_->install_primary(patience()),
                               role_->attach_capture(patience())}) {
      ASSERT_TRUE(done) << done.error().message();
    }
  }

  // A term in which one commit reaches the log.
  void lead_and_write(std::uint64_t epoch, const std::string& text) {
    lead(epoch);
    write(text);
    sync();
  }

  // As kill -9 would: nothing is handed over.
  void crash() { role_.reset(); }

  void write(const std::string& text) const {
    auto connection = db::Connection::open(database());
    ASSERT_TRUE(connection);
    connection->set_busy_timeout(5s);
    const auto done = connection->execute(
        "CREATE TABLE IF NOT EXISTS entry(text); INSERT INTO entry VALUES('" + text + "')");
    ASSERT_TRUE(done) << done.error().message();
  }

  void sync() const { ASSERT_TRUE(role_->sync(patience())); }

  // The application's last connection closes: the WAL is copied back and removed.
  static std::string texts(const std::filesystem::path& file) {
    auto connection = db::Connection::open(file);
    if (!connection) return "none";
    connection->set_busy_timeout(5s);
    const auto text = connection->query_text("SELECT group_concat(text, ' ') FROM entry");
    return text ? text->value_or("") : text.error().message();
  }

  // Another boot id than that of this machine, as if it had been stored before it lost power.
  void pretend_that_the_machine_was_booted() const {
    const base::Bytes other(16, std::byte{7});
    ASSERT_TRUE(base::write_file_durably(replication::state_directory(database()) / "boot", other));
  }

  // Whole files, as they would be after a power failure that took the newest commits.
  void keep_state() const {
    std::filesystem::copy_file(database(), directory_ / "kept",
                               std::filesystem::copy_options::overwrite_existing);
  }
  void go_back_to_kept_state() const {
    for (const char* suffix : {"-wal", "-shm"}) std::filesystem::remove(database().string() + suffix);
    std::filesystem::copy_file(directory_ / "kept", database(),
                               std::filesystem::copy_options::overwrite_existing);
  }

  [[nodiscard]] std::optional<ErrorCode> fatal() const { return fatal_; }
  [[nodiscard]] std::size_t put_aside() const { return role_->diverged().size(); }

 private:
  std::string name_;
  test::FakeObjectBucket& bucket_;
  std::filesystem::path directory_;
  std::unique_ptr<DatabaseRole> role_;
  int starts_ = 0;
  std::atomic<std::optional<ErrorCode>> fatal_;
};

Checksum checksum_of(const std::filesystem::path& file) {
  constexpr std::size_t page_size = 4096;
  const auto bytes = base::read_file(file, std::size_t{1} << 20U);
  Checksum sum;
  if (!bytes) return sum;
  for (std::size_t offset = 0; offset + page_size <= bytes->size(); offset += page_size) {
    const PageNo number(static_cast<std::uint32_t>(offset / page_size + 1));
    sum = sum.toggled(ltx::page_checksum(number, base::ByteView(*bytes).subspan(offset, page_size)));
  }
  return sum;
}

class DatabaseRoleTest : public ::testing::Test {
 protected:
  [[nodiscard]] Txid log_end() { return log::read_log(patience(), bucket_)->end().txid; }
  [[nodiscard]] bool follows_to_the_end(Node& node) {
    return test::eventually([&] {
      const auto position = node.role().position();
      return position && position->txid == log_end();
    });
  }

  // "one" was replicated in the first term and is kept, "two" in the second, which goes on.
  static void lead_twice_and_keep_what_was_between(Node& node) {
    node.start();
    node.lead_and_write(1, "one");
    node.crash();
    Node::texts(node.database());
    node.keep_state();
    node.start();
    node.lead_and_write(2, "two");
  }

  test::TemporaryDirectory directory_;
  test::FakeObjectBucket bucket_;
};

// Says how often the whole log was read.
class CountingBucket final : public test::FakeObjectBucket {
 public:
  [[nodiscard]] Result<std::vector<log::Object>> list(const Context& context,
                                                      std::size_t count_max) override {
    ++readings;
    return test::FakeObjectBucket::list(context, count_max);
  }
  [[nodiscard]] Result<std::unique_ptr<log::BucketWatch>> watch(const Context& context) override {
    ++readings;
    return test::FakeObjectBucket::watch(context);
  }
  std::atomic<int> readings = 0;
};

TEST_F(DatabaseRoleTest, FollowsAfterADemotionWithoutReadingTheLogAgain) {
  CountingBucket bucket;
  Node node("a", directory_.path(), bucket);
  node.start();
  node.lead_and_write(1, "one");
  ASSERT_TRUE(node.role().final_sync(patience()));
  ASSERT_TRUE(node.role().detach_capture());
  Node next("b", directory_.path(), bucket);
  next.start();
  ASSERT_TRUE(test::eventually([&] { return next.role().position().value_or(Position{}).txid > Txid(0); }));
  next.lead_and_write(2, "two");
  const Txid end = log::read_log(patience(), bucket)->end().txid;
  const int before = bucket.readings;
  ASSERT_TRUE(node.role().follow(patience()));
  // What the other one wrote may have been seen before or after the former primary was judged.
  ASSERT_TRUE(test::eventually([&] {
    if (node.role().overtaken()) static_cast<void>(node.role().follow(patience()));
    const auto position = node.role().position();
    return position && position->txid == end;
  }));
  EXPECT_EQ(bucket.readings, before);
  EXPECT_EQ(node.put_aside(), 0U);
}

TEST_F(DatabaseRoleTest, PublishesCommitsOfACrashedAgentWhenItLeadsAgain) {
  Node node("a", directory_.path(), bucket_);
  node.start();
  node.lead_and_write(1, "one");
  node.crash();
  node.write("two");
  node.start();
  EXPECT_TRUE(node.role().ready());
  node.lead(2);
  EXPECT_EQ(Node::texts(node.database()), "one two");
  EXPECT_EQ(node.put_aside(), 0U);
}

TEST_F(DatabaseRoleTest, NeverTakesBackWhatTheLogHasAfterAPowerFailureOfTheLeader) {
  Node node("a", directory_.path(), bucket_);
  lead_twice_and_keep_what_was_between(node);
  const Txid end = log_end();
  node.crash();
  node.go_back_to_kept_state();
  node.pretend_that_the_machine_was_booted();
  node.start();
  EXPECT_FALSE(node.role().ready()) << "an older state must not be published";
  ASSERT_TRUE(follows_to_the_end(node));
  EXPECT_EQ(log_end(), end);
  EXPECT_EQ(node.put_aside(), 0U) << "it is a state of the log, nothing diverged";
  node.lead(3);
  EXPECT_EQ(Node::texts(node.database()), "one two");
}

// Retention may remove it meanwhile, and not every removal is announced.
TEST_F(DatabaseRoleTest, FollowsAfterAPowerFailureAlsoWhenWhatWouldProveItsContentIsGone) {
  Node node("a", directory_.path(), bucket_);
  lead_twice_and_keep_what_was_between(node);
  node.crash();
  node.go_back_to_kept_state();
  node.pretend_that_the_machine_was_booted();
  bucket_.before_get([this](const log::Object& object) {
    bucket_.before_get({});
    ASSERT_TRUE(bucket_.remove(patience(), object));
  });
  node.start();
  EXPECT_EQ(node.put_aside(), 1U);
}

TEST_F(DatabaseRoleTest, KeepsAsideWhatNobodyKnowsAfterAPowerFailure) {
  Node node("a", directory_.path(), bucket_);
  lead_twice_and_keep_what_was_between(node);
  node.crash();
  node.go_back_to_kept_state();
  node.write("other");
  Node::texts(node.database());
  node.pretend_that_the_machine_was_booted();
  node.start();
  ASSERT_TRUE(follows_to_the_end(node));
  ASSERT_EQ(node.put_aside(), 1U);
  EXPECT_EQ(Node::texts(std::filesystem::path(node.role().diverged().front()) / "app.db"), "one other");
  node.lead(3);
  EXPECT_EQ(Node::texts(node.database()), "one two");
}

TEST_F(DatabaseRoleTest, AFormerLeaderGoesOnIncrementallyThroughSeveralLaterTerms) {
  Node first("a", directory_.path(), bucket_);
  Node second("b", directory_.path(), bucket_);
  first.start();
  first.lead_and_write(1, "one");
  first.crash();
  second.start();
  second.lead_and_write(2, "two");
  second.crash();
  second.start();
  second.lead_and_write(3, "three");
  // Were it read again from the beginning, the first object would be missing.
  const auto view = log::read_log(patience(), bucket_);
  const auto first_object = view->find(log::ObjectName::raw(Txid(1)));
  ASSERT_NE(first_object, nullptr);
  ASSERT_TRUE(bucket_.remove(patience(), *first_object));
  first.start();
  ASSERT_TRUE(follows_to_the_end(first));
  EXPECT_EQ(Node::texts(first.replica()), "one two three");
}

TEST_F(DatabaseRoleTest, APromotionOfAFollowerDoesNotListTheLog) {
  Node first("a", directory_.path(), bucket_);
  Node second("b", directory_.path(), bucket_);
  first.start();
  first.lead_and_write(1, "one");
  second.start();
  ASSERT_TRUE(follows_to_the_end(second));
  const std::size_t listings = bucket_.listings();
  second.lead_and_write(2, "two");
  EXPECT_EQ(bucket_.listings(), listings);
  EXPECT_EQ(Node::texts(second.database()), "one two");
}

// Another program has written into the replica, so that it has to be seeded; the servers do not list all yet.
TEST_F(DatabaseRoleTest, AStandbyThatIsSeededAnewDoesNotGoBack) {
  Node first("a", directory_.path(), bucket_);
  Node second("b", directory_.path(), bucket_);
  first.start();
  first.lead_and_write(1, "one");
  second.start();
  ASSERT_TRUE(follows_to_the_end(second));
  const Txid before = log_end();
  {
    auto program = db::Connection::open(second.replica());
    ASSERT_TRUE(program && program->execute("INSERT INTO entry VALUES('not ours')"));
  }
  bucket_.hide_newest_from_listings(2);
  first.write("two");
  first.sync();
  ASSERT_TRUE(test::eventually([&] {
    const auto problem = second.role().problem();
    return problem && problem->reason().find("list no more") != std::string::npos;
  }));
  EXPECT_EQ(second.role().position()->txid, before);
  bucket_.hide_newest_from_listings(0);
  ASSERT_TRUE(follows_to_the_end(second));
  EXPECT_EQ(Node::texts(second.replica()), "one two");
}

// The object was stored, but the agent died before it heard so.
TEST_F(DatabaseRoleTest, WhatTheLogTookWithoutAnAnswerIsNotDiverged) {
  Node first("a", directory_.path(), bucket_);
  Node second("b", directory_.path(), bucket_);
  first.start();
  first.lead_and_write(1, "one");
  bucket_.lose_acknowledgements(1000);
  const Txid before = log_end();
  first.write("two");
  ASSERT_TRUE(test::eventually([&] { return log_end() > before; }));
  first.crash();
  bucket_.lose_acknowledgements(0);
  second.start();
  second.lead_and_write(2, "three");
  first.start();
  ASSERT_TRUE(follows_to_the_end(first));
  EXPECT_EQ(first.put_aside(), 0U);
  EXPECT_EQ(Node::texts(first.replica()), "one two three");
}

// The checksum of a database is linear: equal changes of two pages cancel each other out. The first node
// leads and replicates a table in which that happens.
class SameChecksum : public DatabaseRoleTest {
 protected:
  SameChecksum() {
    first_.start();
    first_.lead_and_write(1, "one");
    // Three rows a page, all laid out alike.
    execute(
        "CREATE TABLE flag(id INTEGER PRIMARY KEY, value INTEGER, filler BLOB);"
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 15)"
        "INSERT INTO flag SELECT n, 0, zeroblob(1300) FROM numbers");
    first_.sync();
  }

  void execute(const char* sql) const { execute(first_, sql); }
  static void execute(const Node& node, const char* sql) {
    auto connection = db::Connection::open(node.database());
    ASSERT_TRUE(connection);
    connection->set_busy_timeout(5s);
    ASSERT_TRUE(connection->execute(sql));
  }
  // A commit that the log does not get, and that its checksum does not show.
  void change_unseen() const { change_unseen(first_); }
  static void change_unseen(const Node& node) {
    Node::texts(node.database());
    const Checksum before = checksum_of(node.database());
    execute(node, "UPDATE flag SET value = 1 WHERE id IN (4, 7)");
    ASSERT_EQ(checksum_of(node.database()), before) << "the rows are not laid out alike";
  }
  void expect_kept_aside_and_replica_without_it() { expect_kept_aside_and_replica_without_it(first_); }
  void expect_kept_aside_and_replica_without_it(Node& node) {
    ASSERT_TRUE(follows_to_the_end(node));
    ASSERT_EQ(node.put_aside(), 1U);
    EXPECT_EQ(flags(std::filesystem::path(node.role().diverged().front()) / "app.db"), "2");
    EXPECT_EQ(flags(node.replica()), "0");
  }
  static std::string flags(const std::filesystem::path& file) {
    auto connection = db::Connection::open(file);
    if (!connection) return "none";
    const auto sum = connection->query_text("SELECT sum(value) FROM flag");
    return sum ? sum->value_or("") : sum.error().message();
  }

  Node first_{"a", directory_.path(), bucket_};
  Node second_{"b", directory_.path(), bucket_};
};

TEST_F(SameChecksum, DoesNotMakeCommitsOfAFormerLeaderAStateOfTheLog) {
  first_.crash();
  change_unseen();
  second_.start();
  second_.lead(2);
  first_.start();
  expect_kept_aside_and_replica_without_it();
}

TEST_F(SameChecksum, DoesNotLetADormantPrimaryLeadAfterOthersHaveWritten) {
  first_.crash();
  change_unseen();
  first_.start();
  ASSERT_TRUE(first_.role().ready());
  second_.start();
  second_.lead(2);  // a fence, with the same checksum
  const auto caught_up = first_.role().catch_up(patience());
  ASSERT_FALSE(caught_up);
  EXPECT_EQ(caught_up.error().code(), ErrorCode::conflict);
  ASSERT_TRUE(first_.role().follow(patience()));
  expect_kept_aside_and_replica_without_it();
}

// The log has a later state, so what differs may have been lost or added; the objects since do not bring it
// all.
TEST_F(SameChecksum, DoesNotMakeItAStateOfTheLogAfterAPowerFailure) {
  first_.crash();
  Node::texts(first_.database());
  first_.keep_state();
  first_.start();
  first_.lead_and_write(2, "two");
  first_.crash();
  first_.go_back_to_kept_state();
  change_unseen();
  Node::texts(first_.database());
  first_.pretend_that_the_machine_was_booted();
  first_.start();
  expect_kept_aside_and_replica_without_it();
}

TEST_F(SameChecksum, ProvesNothingWhenNothingIsStored) {
  first_.crash();
  change_unseen();
  std::filesystem::remove_all(replication::state_directory(first_.database()));
  first_.start();
  expect_kept_aside_and_replica_without_it();
}

// The object reaches the log after the node has looked at its database, and captured what came since.
TEST_F(SameChecksum, DoesNotTakeALateAppendForWhatWasCapturedSince) {
  bucket_.delay_next_put();
  bucket_.before_put([this, first = true](const log::NewObject&) mutable {
    if (!std::exchange(first, false)) bucket_.refuse_puts(1, ErrorCode::unavailable);
  });
  first_.write("two");
  ASSERT_TRUE(test::eventually([&] { return bucket_.has_late_put(); }));
  first_.crash();
  change_unseen();
  const Txid before = log_end();
  first_.start();
  ASSERT_TRUE(first_.role().ready());
  bucket_.before_put(nullptr);
  bucket_.deliver_late();
  ASSERT_EQ(log_end(), before.next());
  ASSERT_TRUE(test::eventually([&] { return first_.role().overtaken(); }));
  ASSERT_TRUE(first_.role().follow(patience()));
  expect_kept_aside_and_replica_without_it();
}

// A copy of the leader's database with a commit of its own lies on a node of which the log knows nothing, and
// cannot be put aside. Then the TXID is taken under which that node has captured it.
TEST_F(SameChecksum, DoesNotTakeTheFenceOfAnotherForWhatItCapturedItself) {
  first_.crash();
  Node::texts(first_.database());
  std::filesystem::copy_file(first_.database(), second_.database());
  change_unseen(second_);
  const std::filesystem::path in_the_way = second_.database().string() + ".diverged-1";
  ASSERT_TRUE(base::write_file_durably(in_the_way, {}));
  second_.start_without_following();
  EXPECT_FALSE(second_.role().follow(patience()));
  first_.start();
  first_.lead(2);
  std::filesystem::remove(in_the_way);
  ASSERT_TRUE(second_.role().follow(patience()));
  expect_kept_aside_and_replica_without_it(second_);
}

// Servers lost the fence right after it was acknowledged, and somebody who did not know of it took its place.
TEST_F(SameChecksum, DoesNotTakeAnotherObjectForItsFenceThatServersLost) {
  second_.start();
  ASSERT_TRUE(follows_to_the_end(second_));
  first_.crash();
  second_.lead(2);
  second_.crash();
  const log::LogEnd fence = log::read_log(patience(), bucket_)->end();
  ASSERT_TRUE(fence.author && fence.author->node == "b");
  bucket_.lose_end(1);
  ASSERT_TRUE(bucket_.put(patience(),
                          {.name = log::ObjectName::raw(fence.txid),
                           .author = log::Author{.epoch = Epoch(1), .node = "a", .incarnation = "a.1"},
                           .checksum = fence.checksum,
                           .file_checksum = Checksum(7)},
                          base::as_bytes("two changes that cancel each other out in the checksum")));
  second_.start();
  EXPECT_TRUE(test::eventually([&] {
    const auto problem = second_.role().problem();
    return second_.put_aside() == 1 || (problem && problem->code() == ErrorCode::failed_precondition);
  }));
}

// Between the move of a promotion and its attaching, a program writes into the database.
TEST_F(SameChecksum, DoesNotTakeADatabaseForTheReplicaThatItWasBeforeSomebodyWrote) {
  second_.start();
  ASSERT_TRUE(follows_to_the_end(second_));
  first_.crash();
  for (const Status& done :
       {second_.role().catch_up(patience()), second_.role().fence(patience(), Epoch(2)),
        second_.role().seal_replica(patience()), second_.role().install_primary(patience())}) {
    ASSERT_TRUE(done) << done.error().message();
  }
  second_.crash();
  change_unseen(second_);
  second_.start();
  expect_kept_aside_and_replica_without_it(second_);
}

TEST_F(DatabaseRoleTest, ACrashAfterTheInstallationLeavesAPrefixAlsoWhenOthersWentOn) {
  Node first("a", directory_.path(), bucket_);
  Node second("b", directory_.path(), bucket_);
  first.start();
  first.lead_and_write(1, "one");
  second.start();
  ASSERT_TRUE(follows_to_the_end(second));
  first.crash();
  for (const Status& done :
       {second.role().catch_up(patience()), second.role().fence(patience(), Epoch(2)),
        second.role().seal_replica(patience()), second.role().install_primary(patience())}) {
    ASSERT_TRUE(done) << done.error().message();
  }
  second.crash();
  first.start();
  first.lead_and_write(3, "two");
  second.start();
  ASSERT_TRUE(follows_to_the_end(second));
  EXPECT_EQ(second.put_aside(), 0U);
  EXPECT_EQ(Node::texts(second.replica()), "one two");
}

TEST_F(DatabaseRoleTest, FollowsAgainAfterAPromotionThatFailedAtTheFence) {
  Node first("a", directory_.path(), bucket_);
  Node second("b", directory_.path(), bucket_);
  first.start();
  first.lead_and_write(1, "one");
  second.start();
  ASSERT_TRUE(follows_to_the_end(second));
  ASSERT_TRUE(second.role().catch_up(patience()));
  bucket_.refuse_puts(1, ErrorCode::unavailable);
  EXPECT_FALSE(second.role().fence(patience(), Epoch(2)));
  const auto followed = second.role().follow(patience());
  ASSERT_TRUE(followed) << followed.error().message();
  first.write("two");
  first.sync();
  ASSERT_TRUE(follows_to_the_end(second));
  EXPECT_EQ(Node::texts(second.replica()), "one two");
}

TEST_F(DatabaseRoleTest, ADormantPrimaryThatLosesTheFenceIsPutAside) {
  Node first("a", directory_.path(), bucket_);
  Node second("b", directory_.path(), bucket_);
  first.start();
  first.lead_and_write(1, "one");
  first.crash();
  first.write("only here");
  first.start();
  ASSERT_TRUE(first.role().ready());
  ASSERT_TRUE(first.role().catch_up(patience()));
  second.start();
  second.lead(2);
  EXPECT_FALSE(first.role().fence(patience(), Epoch(3)));
  const auto followed = first.role().follow(patience());
  ASSERT_TRUE(followed) << followed.error().message();
  ASSERT_EQ(first.put_aside(), 1U);
  EXPECT_EQ(Node::texts(std::filesystem::path(first.role().diverged().front()) / "app.db"), "one only here");
  ASSERT_TRUE(follows_to_the_end(first));
  EXPECT_EQ(Node::texts(first.replica()), "one");
}

TEST_F(DatabaseRoleTest, ADormantPrimaryThatCouldNotBeSettledIsLookedAtAgain) {
  Node first("a", directory_.path(), bucket_);
  Node second("b", directory_.path(), bucket_);
  first.start();
  first.lead_and_write(1, "one");
  first.crash();
  first.write("only here");
  first.start();
  ASSERT_TRUE(first.role().ready());
  second.start();
  second.lead(2);
  ASSERT_TRUE(test::eventually([&] { return first.role().overtaken(); }));
  const Context given_up = Context::background().with_cancel();
  given_up.cancel();
  EXPECT_FALSE(first.role().follow(given_up));
  ASSERT_TRUE(first.role().overtaken()) << "it would follow nothing for ever";
  ASSERT_TRUE(first.role().follow(patience()));
  ASSERT_TRUE(follows_to_the_end(first));
  EXPECT_FALSE(first.role().overtaken());
  EXPECT_EQ(first.put_aside(), 1U);
}

TEST_F(DatabaseRoleTest, AnEmptyFileAndADamagedOneDoNotKeepANodeFromFollowing) {
  Node first("a", directory_.path(), bucket_);
  Node second("b", directory_.path(), bucket_);
  Node third("c", directory_.path(), bucket_);
  first.start();
  first.lead_and_write(1, "one");
  ASSERT_TRUE(base::write_file_durably(second.database(), {}));
  second.start();
  ASSERT_TRUE(follows_to_the_end(second));
  EXPECT_EQ(second.put_aside(), 0U);
  ASSERT_TRUE(base::write_file_durably(third.database(), base::Bytes(8192, std::byte{42})));
  third.start();
  ASSERT_TRUE(follows_to_the_end(third));
  EXPECT_EQ(third.put_aside(), 1U);
}

TEST_F(DatabaseRoleTest, ALostEndOfTheLogEndsTheTermAndIsHealedByASnapshotInTheNext) {
  Node node("a", directory_.path(), bucket_);
  node.start();
  node.lead(1);
  for (const char* text : {"one", "two", "three"}) {
    node.write(text);
    node.sync();
  }
  bucket_.lose_end(2);
  node.write("four");
  ASSERT_TRUE(test::eventually([&] { return node.fatal().has_value(); }));
  EXPECT_EQ(node.fatal(), ErrorCode::gap);
  node.crash();
  node.start();
  node.lead(2);
  const auto restored = directory_ / "restored.db";
  ASSERT_TRUE(test::eventually([&] {
    return log::restore(patience(), bucket_,
                        {.output = restored, .overwrite = true, .on_progress = {}, .check = {}})
        .has_value();
  }));
  EXPECT_EQ(Node::texts(restored), "one two three four");
  EXPECT_EQ(node.put_aside(), 0U);
}

// A bucket whose watches say, when told to, that its history is not the one that they read.
class RewrittenBucket final : public test::FakeObjectBucket {
 public:
  [[nodiscard]] Result<std::unique_ptr<log::BucketWatch>> watch(const Context& context) override {
    auto watch = test::FakeObjectBucket::watch(context);
    if (!watch) return watch;
    return std::make_unique<Watch>(std::move(*watch), rewritten);
  }
  std::atomic<bool> rewritten = false;

 private:
  class Watch final : public log::BucketWatch {
   public:
    Watch(std::unique_ptr<log::BucketWatch> inner, const std::atomic<bool>& rewritten)
        : inner_(std::move(inner)), rewritten_(rewritten) {}
    [[nodiscard]] Result<std::optional<log::BucketEvent>> next(const Context& context) override {
      if (rewritten_) return failure(ErrorCode::gap, "watch", "fake", "another message has taken the place");
      return inner_->next(context.with_timeout(10ms));
    }
    [[nodiscard]] bool initial_done() const override { return inner_->initial_done(); }

   private:
    std::unique_ptr<log::BucketWatch> inner_;
    const std::atomic<bool>& rewritten_;
  };
};

TEST_F(DatabaseRoleTest, ALogThatWasWrittenAnewEndsTheTermAlsoOfALeaderThatHasNothingToAppend) {
  RewrittenBucket bucket;
  Node node("a", directory_.path(), bucket);
  node.start();
  node.lead_and_write(1, "one");
  EXPECT_FALSE(node.fatal().has_value());
  bucket.rewritten = true;
  ASSERT_TRUE(test::eventually([&] { return node.fatal().has_value(); }));
  EXPECT_EQ(node.fatal(), ErrorCode::gap);
}

// Servers lost objects behind which another leader had made a snapshot, and a node that has not seen it takes
// a free name for commits of its own: the log does not follow on them.
TEST_F(DatabaseRoleTest, KeepsAsideWhatCameWhereTheLogHadPassedAlready) {
  Node node("a", directory_.path(), bucket_);
  node.start();
  node.lead_and_write(1, "one");
  node.crash();
  node.write("two");
  node.start();
  ASSERT_TRUE(node.role().ready());
  const Txid free = log_end().next();
  bool first = true;
  bucket_.before_put([&](const log::NewObject&) {
    if (!std::exchange(first, false)) return;
    const log::Author other{.epoch = Epoch(2), .node = "b", .incarnation = "b.1"};
    ASSERT_TRUE(bucket_.put(
        patience(),
        {.name = {log::snapshot_level, Txid(1), free.next()}, .author = other, .checksum = Checksum(7)},
        base::as_bytes("made on what is lost")));
  });
  static_cast<void>(node.role().catch_up(patience()));
  static_cast<void>(node.role().fence(patience(), Epoch(3)));
  bucket_.before_put(nullptr);
  ASSERT_TRUE(bucket_.contains(log::ObjectName::raw(free)));
  node.crash();
  node.start();
  EXPECT_EQ(node.put_aside(), 1U);
}

TEST_F(DatabaseRoleTest, AStandbyDoesNotFollowALogThatHasAnotherStateOfItsTxid) {
  Node leader("a", directory_.path(), bucket_);
  Node standby("b", directory_.path(), bucket_);
  leader.start();
  leader.lead_and_write(1, "one");
  standby.start();
  ASSERT_TRUE(follows_to_the_end(standby));
  leader.write("two");
  leader.sync();
  ASSERT_TRUE(follows_to_the_end(standby));
  const Txid end = log_end();
  leader.crash();
  standby.crash();
  bucket_.lose_end(1);
  // The leader's machine lost it as well, and wrote something else.
  auto stored = bucket_.put(patience(),
                            {.name = log::ObjectName::raw(end),
                             .created_at = {},
                             .author = log::Author{.epoch = Epoch(2), .node = "c", .incarnation = "c.1"},
                             .checksum = Checksum(7)},
                            base::as_bytes("another state"));
  ASSERT_TRUE(stored);
  standby.start();
  EXPECT_TRUE(test::eventually([&] {
    const auto problem = standby.role().problem();
    return problem && problem->code() == ErrorCode::failed_precondition;
  }));
  const auto caught_up = standby.role().catch_up(patience());
  const auto fenced = standby.role().fence(patience(), Epoch(3));
  EXPECT_FALSE(caught_up && fenced) << "it must not lead on what the log does not have";
  EXPECT_EQ(log_end(), end);
}

}  // namespace
}  // namespace litecluster::app
