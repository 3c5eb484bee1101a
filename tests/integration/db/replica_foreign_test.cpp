// What other programs may do to a replica: come before it exists, close last, remove its WAL, die half-way in
// a checkpoint, keep a snapshot while the WAL grows very large.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "db/replica.hpp"
#include "support/child_process.hpp"
#include "support/replica_source.hpp"
#include "support/temporary_directory.hpp"

namespace litecluster::db {
namespace {

using test::apply;
using test::ChildProcess;
using test::Image;
using test::outcome;
using test::ReplicaSource;
using test::seed_with;
using test::SourceChange;
using test::Workload;

// What the visitor prints, or "exit <status>".
std::string visit(const std::vector<std::string>& arguments) {
  std::string command = REPLICA_VISITOR;
  for (const std::string& argument : arguments) command += " '" + argument + "'";
  FILE* const pipe = ::popen(command.c_str(), "r");
  char line[512] = {};
  std::string printed = std::fgets(line, sizeof line, pipe) != nullptr ? line : "";
  const int status = ::pclose(pipe);
  if (status != 0 && printed.empty()) return "exit " + std::to_string(status);
  while (!printed.empty() && printed.back() == '\n') printed.pop_back();
  return printed;
}

class ReplicaForeign : public testing::Test {
 protected:
  Replica open_replica() {
    ReplicaOptions options;
    options.path = path_;
    auto replica = Replica::open(options);
    test::require(replica.has_value(), replica ? "" : replica.error().message());
    return std::move(*replica);
  }
  /// As another program sees it.
  [[nodiscard]] std::string counter_elsewhere() const {
    return visit({"sql", path_.string(), "SELECT counter FROM state"});
  }
  /// One page size after the other; the last one is in use for the tests that need only one.
  void make_changes(std::uint32_t page_size, int count) {
    source_.emplace(directory_ / ("source-" + std::to_string(page_size)), page_size);
    changes_.clear();
    images_.clear();
    Workload workload(7);
    changes_.push_back(source_->commit(Workload::schema()));
    images_.push_back(source_->image());
    while (static_cast<int>(changes_.size()) < count) {
      changes_.push_back(source_->commit(workload.next()));
      images_.push_back(source_->image());
    }
  }

  test::TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_ / "replica.db";
  std::optional<ReplicaSource> source_;
  std::vector<SourceChange> changes_;
  std::vector<Image> images_;
};

// SQLite deletes the WAL beside a database that it takes for empty; a reader that came first holds just that.
TEST_F(ReplicaForeign, ReadersThatCameBeforeTheFirstSeedDoNoHarm) {
  for (const std::uint32_t page_size : {512U, 4096U, 65536U}) {
    make_changes(page_size, 6);
    path_ = directory_ / ("replica-" + std::to_string(page_size));
    auto early = Connection::open(path_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    EXPECT_FALSE(early->query_integer("SELECT counter FROM state"));
    ASSERT_EQ(std::filesystem::file_size(path_), 0U);
    Replica replica = open_replica();
    ASSERT_EQ(outcome(seed_with(replica, images_[2], changes_[2])), "ok");
    for (std::size_t next = 3; next < changes_.size(); ++next) {
      ASSERT_EQ(outcome(apply(replica, changes_[next])), "ok");
      EXPECT_EQ(early->query_integer("SELECT counter FROM state").value_or(-1), static_cast<int>(next) + 1);
      EXPECT_EQ(counter_elsewhere(), std::to_string(next + 1));
    }
    EXPECT_EQ(outcome(replica.verify()), "ok");
    EXPECT_EQ(replica.position().checksum, changes_.back().checksum);
    EXPECT_TRUE(std::filesystem::exists(path_.string() + "-wal"));
  }
}

TEST_F(ReplicaForeign, KeepsAnEmptyFileWithReadersWhenItsFirstSeedFails) {
  make_changes(4096, 3);
  auto early = Connection::open(path_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  EXPECT_FALSE(early->query_integer("SELECT counter FROM state"));
  Replica replica = open_replica();
  SourceChange wrong = changes_[2];
  wrong.checksum = wrong.checksum.toggled(Checksum(1));
  EXPECT_FALSE(seed_with(replica, images_[2], wrong));
  EXPECT_EQ(std::filesystem::file_size(path_), 0U);
  ASSERT_EQ(outcome(seed_with(replica, images_[2], changes_[2])), "ok");
  EXPECT_EQ(early->query_integer("SELECT counter FROM state").value_or(-1), 3);
}

// Whoever removes the WAL takes frames away that only our handle still has.
TEST_F(ReplicaForeign, GoesOnWithoutASeedAfterItsWalWasRemoved) {
  make_changes(4096, 8);
  Replica replica = open_replica();
  for (std::size_t next = 0; next < 5; ++next) ASSERT_EQ(outcome(apply(replica, changes_[next])), "ok");
  for (const char* suffix : {"-wal", "-shm"}) {
    std::filesystem::remove(path_.string() + suffix);
    EXPECT_FALSE(apply(replica, changes_[replica.position().txid.value()]));
    EXPECT_EQ(replica.state(), ReplicaState::quarantined);
    EXPECT_EQ(outcome(replica.verify()), "ok");
    ASSERT_EQ(outcome(apply(replica, changes_[replica.position().txid.value()])), "ok");
    EXPECT_EQ(counter_elsewhere(), std::to_string(replica.position().txid.value()));
  }
  EXPECT_EQ(replica.position().txid, Txid(7));
  EXPECT_EQ(outcome(replica.verify()), "ok");
}

TEST_F(ReplicaForeign, TakesBackAFileThatWasMovedAwayAndPutBack) {
  make_changes(4096, 6);
  Replica replica = open_replica();
  for (std::size_t next = 0; next < 5; ++next) ASSERT_EQ(outcome(apply(replica, changes_[next])), "ok");
  std::filesystem::rename(path_, path_.string() + ".away");
  EXPECT_FALSE(apply(replica, changes_[5]));
  EXPECT_FALSE(replica.verify());
  EXPECT_EQ(replica.state(), ReplicaState::quarantined);
  std::filesystem::rename(path_.string() + ".away", path_);
  EXPECT_EQ(outcome(replica.verify()), "ok");
  EXPECT_EQ(outcome(apply(replica, changes_[5])), "ok");
  EXPECT_EQ(counter_elsewhere(), "6");
}

// A program that is killed while it starts the WAL anew leaves the two copies of the header different.
TEST_F(ReplicaForeign, GoesOnAfterAnotherProgramDiedHalfWayInAHeader) {
  make_changes(4096, 12);
  Replica replica = open_replica();
  for (std::size_t next = 0; next < changes_.size(); ++next) {
    ASSERT_EQ(outcome(apply(replica, changes_[next])), "ok") << next;
    if (next % 2 == 0) continue;
    ASSERT_EQ(outcome(replica.checkpoint()), "ok");
    ChildProcess other = ChildProcess::execute({REPLICA_VISITOR, "die", path_.string()});
    ASSERT_EQ(other.wait(), "signal 9");
    EXPECT_EQ(counter_elsewhere(), std::to_string(next + 1));
  }
  EXPECT_EQ(replica.state(), ReplicaState::ready);
  EXPECT_EQ(outcome(replica.verify()), "ok");
}

// Every kind of checkpoint by another program between any two applies, also one that closes last while
// nobody follows.
TEST_F(ReplicaForeign, IsNotHarmedByCheckpointsOfEveryKind) {
  make_changes(1024, 60);
  std::optional<Replica> replica = open_replica();
  const char* const kinds[] = {"PASSIVE", "FULL", "RESTART", "TRUNCATE"};
  for (std::size_t next = 0; next < changes_.size(); ++next) {
    ASSERT_EQ(outcome(apply(*replica, changes_[next])), "ok") << next;
    if (next % 15 == 14) replica.reset();
    const std::string pragma = std::string("PRAGMA wal_checkpoint(") + kinds[next % 4] + ")";
    const auto seen = visit({"sql", path_.string(), pragma, "SELECT counter FROM state"});
    ASSERT_EQ(seen, std::to_string(next + 1));
    if (!replica) replica.emplace(open_replica());
    ASSERT_EQ(replica->state(), ReplicaState::ready) << replica->quarantine_reason();
    ASSERT_EQ(replica->position().txid, changes_[next].txid);
  }
  EXPECT_EQ(outcome(replica->verify()), "ok");
}

TEST_F(ReplicaForeign, WaitsForAProgramThatKeepsTheWriteLockAndSaysSo) {
  make_changes(4096, 3);
  ReplicaOptions options;
  options.path = path_;
  options.lock_timeout = std::chrono::milliseconds(50);
  auto replica = Replica::open(options);
  ASSERT_EQ(outcome(apply(*replica, changes_[0])), "ok");
  auto other = Connection::open(path_, SQLITE_OPEN_READWRITE);
  ASSERT_EQ(outcome(other->execute("BEGIN IMMEDIATE")), "ok");
  const auto refused = apply(*replica, changes_[1]);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::busy);
  EXPECT_EQ(replica->state(), ReplicaState::ready);
  // It rolls back: nothing was written, nothing has to be repaired.
  ASSERT_EQ(outcome(other->execute("UPDATE state SET counter = 99; ROLLBACK")), "ok");
  EXPECT_EQ(outcome(apply(*replica, changes_[1])), "ok");
  EXPECT_EQ(outcome(apply(*replica, changes_[2])), "ok");
  EXPECT_EQ(outcome(replica->verify()), "ok");
}

// LITECLUSTER_WAL_FRAMES=40000 makes a WAL of 2.6 GB: beyond 31 bits in every sum.
TEST_F(ReplicaForeign, StaysRightWithAVeryLargeWal) {
  const char* const text = std::getenv("LITECLUSTER_WAL_FRAMES");
  const std::uint64_t frames = text == nullptr ? 1500 : std::strtoull(text, nullptr, 10);
  constexpr std::uint32_t page_size = 65536;
  ReplicaSource source(directory_ / "large", page_size);
  source.run(
      "CREATE TABLE state(counter INTEGER); INSERT INTO state VALUES (0); CREATE TABLE bulk(body BLOB)");
  source.run(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)"
      " INSERT INTO bulk SELECT randomblob(60000) FROM n");
  const SourceChange whole = source.commit("UPDATE state SET counter = 1");
  SourceChange change = whole;
  std::optional<Replica> replica = open_replica();
  ASSERT_EQ(outcome(apply(*replica, change)), "ok");
  auto reader = Connection::open(path_, SQLITE_OPEN_READWRITE);
  ASSERT_EQ(outcome(reader->execute("BEGIN")), "ok");
  ASSERT_EQ(reader->query_integer("SELECT counter FROM state").value_or(-1), 1);
  // The same pages again and again: one of them counts.
  const SourceChange next =
      source.commit("UPDATE state SET counter = 2; UPDATE bulk SET body = randomblob(60000)");
  std::uint64_t written = 0;
  while (written < frames) {
    change = written / next.pages.size() % 2 == 0 ? next : whole;
    change.txid = replica->position().txid.next();
    ASSERT_EQ(outcome(apply(*replica, change)), "ok");
    written += change.pages.size();
  }
  const std::uint64_t bytes = std::filesystem::file_size(path_.string() + "-wal");
  EXPECT_GE(bytes, frames * page_size);
  const std::int64_t newest = change.checksum == next.checksum ? 2 : 1;
  EXPECT_EQ(counter_elsewhere(), std::to_string(newest));
  EXPECT_EQ(reader->query_integer("SELECT counter FROM state").value_or(-1), 1);
  const Txid reached = replica->position().txid;
  EXPECT_EQ(outcome(replica->verify()), "ok");
  replica.reset();
  replica.emplace(open_replica());
  EXPECT_EQ(replica->state(), ReplicaState::ready) << replica->quarantine_reason();
  EXPECT_EQ(replica->position().txid, reached);
  // The reader goes: the WAL is emptied and cut.
  ASSERT_EQ(outcome(reader->execute("COMMIT")), "ok");
  reader.emplace(*Connection::open(path_, SQLITE_OPEN_READWRITE));
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(outcome(replica->checkpoint()), "ok");
    change.txid = replica->position().txid.next();
    ASSERT_EQ(outcome(apply(*replica, change)), "ok");
  }
  EXPECT_LT(std::filesystem::file_size(path_.string() + "-wal"), std::uint64_t{80} << 20U);
  EXPECT_EQ(outcome(replica->verify()), "ok");
  std::cout << bytes / 1000000 << " MB of WAL" << std::endl;
}

}  // namespace
}  // namespace litecluster::db
