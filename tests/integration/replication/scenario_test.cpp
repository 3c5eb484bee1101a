// Scenarios that other systems failed at: a promoted standby that goes on incrementally; retention that
// removes what a standby is about to read, or what it would have needed; a standby ahead of the snapshots.
#include "base/file.hpp"
#include "db/empty_database.hpp"
#include "log/restore.hpp"
#include "replication/leader_session.hpp"
#include "replication/promotion.hpp"
#include "replication/session_options.hpp"
#include "standby_fixture.hpp"
#include "support/child_process.hpp"

namespace litecluster::replication {
namespace {

using test::eventually;
using test::RawFile;
using test::soon;
using test::SourceChange;

// An application's database with its publisher, as `replicate` runs it.
class Leader {
 public:
  Leader(const std::filesystem::path& path, log::ObjectBucket& bucket, const std::string& node) {
    Sqlite sqlite;
    sqlite.path = path;
    auto options = db::DatabaseOptions(database_options(sqlite));
    options.switch_to_wal = true;
    auto session =
        LeaderSession::take_over(soon(), leader_session_options(sqlite, node), std::move(options), bucket);
    litecluster::test::require(session.has_value(), session ? "" : session.error().message());
    session_ = std::move(*session);
    application_.emplace(*db::Connection::open(path, SQLITE_OPEN_READWRITE));
    application_->set_busy_timeout(std::chrono::seconds(5));
  }
  void run(const std::string& sql) {
    const auto done = application_->execute(sql);
    litecluster::test::require(done.has_value(), done ? "" : done.error().message());
  }
  Position sync() {
    const auto synced = session_->publisher().sync(soon());
    litecluster::test::require(synced.has_value(), synced ? "" : synced.error().message());
    return session_->publisher().position();
  }
  LeaderSession& session() { return *session_; }

 private:
  std::unique_ptr<LeaderSession> session_;
  std::optional<db::Connection> application_;
};

class Scenario : public test::StandbyTest {
 protected:
  void put(const log::NewObject& object, base::ByteView bytes) {
    ASSERT_OK(bucket_->put(soon(), object, bytes));
  }

  /// One object of the TXIDs of these changes, which are consecutive.
  void publish_compacted(int level, const std::vector<SourceChange>& changes) {
    SourceChange merged = changes.back();
    std::map<PageNo, base::Bytes> pages;
    for (const SourceChange& change : changes) {
      for (const auto& [number, page] : change.pages) pages[number] = page;
    }
    merged.pages.clear();
    for (const auto& [number, page] : pages) {
      if (number.value() <= merged.page_count) merged.pages.emplace_back(number, page);
    }
    RawFile file(merged);
    file.set(16, changes.front().txid.value());
    log::NewObject object = described(merged, 1);
    object.name = {level, changes.front().txid, merged.txid};
    put(object, base::ByteView(file.build()));
  }
  void remove(const log::ObjectName& name) {
    const auto object = bucket_->info(soon(), name);
    ASSERT_OK(object);
    ASSERT_OK(bucket_->remove(soon(), *object));
  }
  std::vector<SourceChange> publish_many(int count) {
    std::vector<SourceChange> changes;
    while (count-- > 0) changes.push_back(publish_next());
    return changes;
  }
  base::Bytes content(const std::filesystem::path& path) {
    return *base::read_file(path, std::uint64_t{1} << 30U);
  }
};

TEST_F(Scenario, Scenario10APromotedStandbyContinuesAtTheNextTxidIncrementally) {
  const auto primary = directory_ / "app.db";
  ASSERT_OK(db::create_empty_database(primary));
  std::optional<Leader> old_leader(std::in_place, primary, *bucket_, "node-1");
  old_leader->run(litecluster::test::Workload::schema());
  for (int count = 0; count < 20; ++count) old_leader->run(workload_.next());
  old_leader->run("INSERT INTO payload(body) VALUES (randomblob(300000))");
  const Position last = old_leader->sync();
  start_follower();
  ASSERT_TRUE(reaches(last.txid));
  // The leader goes without a word; what it had at its last TXID is what its file holds now.
  old_leader.reset();
  {
    auto connection = db::Connection::open(primary, SQLITE_OPEN_READWRITE);
    ASSERT_OK(connection->execute("PRAGMA wal_checkpoint(TRUNCATE)"));
  }
  const base::Bytes old_content = content(primary);

  auto promoted = promote(soon(), std::move(follower_), *bucket_,
                          {.author = {Epoch(0), "node-2", "incarnation-2"}, .full_check = true});
  ASSERT_OK(promoted);
  EXPECT_EQ(promoted->fence.name, log::ObjectName::raw(last.txid.next()));
  EXPECT_EQ(promoted->database.position.checksum, last.checksum);
  EXPECT_TRUE(promoted->database.wal_is_empty);
  EXPECT_TRUE(content(path_) == old_content) << "not byte for byte what the old leader had";
  EXPECT_FALSE(std::filesystem::exists(path_.string() + "-position"));

  // A second standby that was at the old leader's end sees the rest come in small pieces.
  const auto second_path = directory_ / "second.db";
  path_.swap(const_cast<std::filesystem::path&>(second_path));
  std::vector<Txid> seen;
  FollowerOptions options = follower_options();
  options.on_applied = [&](const db::ReplicaPosition& position) { seen.push_back(position.txid); };
  start_follower(std::move(options));
  ASSERT_TRUE(reaches(last.txid.next()));
  Leader new_leader(second_path, *bucket_, "node-2");
  const Txid begun = new_leader.sync().txid;
  EXPECT_EQ(begun, last.txid.next().next()) << "its own fence";
  new_leader.run("UPDATE state SET counter = counter + 1");
  const Position next = new_leader.sync();
  EXPECT_EQ(next.txid, begun.next());
  const auto object = bucket_->info(soon(), log::ObjectName::raw(next.txid));
  ASSERT_OK(object);
  EXPECT_LT(object->size, 20000U) << "the whole database again";
  EXPECT_EQ(object->author->node, "node-2");
  ASSERT_TRUE(reaches(next.txid));
  auto feeder = follower_->stop();
  EXPECT_EQ(*feeder->replica().scan(), next.checksum);
  // In the log no TXID is missing, and none is there twice.
  const auto view = log::read_log(soon(), *bucket_);
  EXPECT_TRUE(view->gaps(Txid(0)).empty());
  EXPECT_TRUE(view->stale().empty());
}

TEST_F(Scenario, PromotionMayBeTriedAgainAndLeavesAStandbyWhenItFails) {
  const auto changes = publish_many(6);
  start_follower();
  ASSERT_TRUE(reaches(changes.back().txid));
  // A newer epoch owns the log.
  publish(next_change(), 9);
  const auto deposed = promote(soon(), std::move(follower_), *bucket_,
                               {.author = {Epoch(3), "node-2", "incarnation-2"}, .full_check = false});
  EXPECT_ERROR(deposed, ErrorCode::deposed);
  start_follower();
  const SourceChange next = next_change();
  publish(next, 9);
  ASSERT_TRUE(reaches(next.txid));
  // Cancelled before it began: nothing has happened.
  const Context cancelled = Context::background().with_cancel();
  cancelled.cancel();
  EXPECT_FALSE(promote(cancelled, std::move(follower_), *bucket_,
                       {.author = {Epoch(10), "node-2", "incarnation-2"}, .full_check = false}));
  start_follower();
  EXPECT_EQ(follower_->position().txid, next.txid);
  const auto promoted = promote(soon(), std::move(follower_), *bucket_,
                                {.author = {Epoch(10), "node-2", "incarnation-2"}, .full_check = false});
  ASSERT_OK(promoted);
  EXPECT_EQ(promoted->database.epoch, Epoch(10));
  EXPECT_EQ(promoted->database.position.txid, next.txid.next());
}

// Run by the test below in a process of its own, which a fault point may kill: server, bucket and replica are
// in the environment.
TEST(PromotionChild, DISABLED_Promotes) {
  const char* const url = std::getenv("LITECLUSTER_TEST_URL");
  const char* const replica = std::getenv("LITECLUSTER_TEST_REPLICA");
  ASSERT_TRUE(url != nullptr && replica != nullptr);
  auto connection = nats::Connection::connect(soon(), litecluster::test::client_options({url}));
  ASSERT_OK(connection);
  auto store = nats::create_object_store(soon(), nats::JetStream(*connection), "app-wal");
  ASSERT_OK(store);
  const auto bucket = log::make_nats_object_bucket(std::move(*store));
  FollowerOptions options;
  options.replica.path = replica;
  auto follower = Follower::start(std::move(options), *bucket);
  ASSERT_OK(follower);
  EXPECT_OK(
      promote(soon(), std::move(*follower), *bucket, {.author = {Epoch(0), "node-2", "incarnation-2"}}));
}

TEST_F(Scenario, APromotionKilledBetweenAnyTwoOfItsStepsLeavesAReplica) {
#if !defined(LITECLUSTER_FAULT_POINTS)
  GTEST_SKIP() << "built without fault points";
#endif
  using litecluster::test::ChildProcess;
  const auto promote_in_a_child = [&](const std::string& fault) {
    ::setenv("LITECLUSTER_TEST_URL", options().urls.front().c_str(), 1);
    ::setenv("LITECLUSTER_TEST_REPLICA", path_.c_str(), 1);
    ::setenv("LITECLUSTER_FAULT", fault.c_str(), 1);
    ChildProcess child = ChildProcess::execute(
        {"/proc/self/exe", "--gtest_filter=PromotionChild.*", "--gtest_also_run_disabled_tests"});
    ::unsetenv("LITECLUSTER_FAULT");
    return child.wait();
  };
  const auto changes = publish_many(6);
  start_follower();
  ASSERT_TRUE(reaches(changes.back().txid));
  for (const char* point : {"promote.fence", "object.chunk_sent", "promote.fenced", "replica.record.written",
                            "promote.seal", "promote.handed_over"}) {
    follower_.reset();
    ASSERT_EQ(promote_in_a_child(std::string(point) + "=kill"), "signal 9") << point;
    const auto view = log::read_log(soon(), *bucket_);
    ASSERT_OK(view);
    EXPECT_TRUE(view->gaps(Txid(0)).empty()) << point;
    start_follower();
    ASSERT_TRUE(reaches(view->end().txid)) << point << ": " << problem();
    const auto feeder = follower_->stop();
    EXPECT_EQ(*feeder->replica().scan(), changes.back().checksum) << point << ": a fence changes nothing";
  }
  follower_.reset();
  EXPECT_EQ(promote_in_a_child(""), "0");
  EXPECT_FALSE(std::filesystem::exists(path_.string() + "-position"));
}

TEST_F(Scenario, Scenario11RetentionRemovesWhatAStandbyIsAboutToRead) {
  auto changes = publish_many(40);
  start_follower();
  // It is seeding or applying while all it planned to read disappears behind a compacted object.
  publish_compacted(1, changes);
  for (std::size_t index = 0; index + 1 < changes.size(); ++index)
    remove(log::ObjectName::raw(changes[index].txid));
  ASSERT_TRUE(reaches(changes.back().txid)) << problem();
  for (int round = 0; round < 10; ++round) {
    const auto more = publish_many(10);
    publish_compacted(1, more);
    for (std::size_t index = 0; index + 1 < more.size(); ++index)
      remove(log::ObjectName::raw(more[index].txid));
    changes.push_back(more.back());
  }
  ASSERT_TRUE(reaches(changes.back().txid)) << problem();
  EXPECT_TRUE(problem_passes());
  expect_content(changes.back());
}

TEST_F(Scenario, Scenario11AStandbyParkedBeyondTheRawRetentionGoesOn) {
  const auto before = publish_many(10);
  start_follower();
  ASSERT_TRUE(reaches(before.back().txid));
  follower_.reset();
  // Parked. Its TXIDs are merged and removed; the compacted object overlaps what it has.
  const auto meanwhile = publish_many(30);
  std::vector<SourceChange> merged(before.begin() + 5, before.end());
  merged.insert(merged.end(), meanwhile.begin(), meanwhile.end());
  publish_compacted(2, merged);
  for (const auto* part : {&before, &meanwhile}) {
    for (const SourceChange& change : *part) {
      if (change.txid != meanwhile.back().txid) remove(log::ObjectName::raw(change.txid));
    }
  }
  std::uint64_t steps = 0;
  FollowerOptions options = follower_options();
  options.on_applied = [&](const db::ReplicaPosition&) { ++steps; };
  start_follower(std::move(options));
  ASSERT_TRUE(reaches(meanwhile.back().txid)) << problem();
  EXPECT_TRUE(problem_passes());
  expect_content(meanwhile.back());  // stops the follower: it tells of a position before it calls on_applied
  EXPECT_EQ(steps, 1U) << "in one step, by the compacted object";
}

TEST_F(Scenario, Scenario11AStandbyParkedBeyondEveryRetentionIsSeededAnew) {
  const auto before = publish_many(10);
  start_follower();
  ASSERT_TRUE(reaches(before.back().txid));
  auto reader = db::Connection::open(path_, SQLITE_OPEN_READWRITE);
  ASSERT_TRUE(reader->query_integer("SELECT counter FROM state"));
  follower_.reset();
  const auto meanwhile = publish_many(30);
  SourceChange whole = meanwhile.back();
  whole.pages.clear();
  for (std::uint32_t index = 0; index < whole.page_count; ++index) {
    whole.pages.emplace_back(PageNo(index + 1), source_->image()[index]);
  }
  RawFile file(whole);
  file.set(16, std::uint64_t{1});
  log::NewObject snapshot = described(whole, 1);
  snapshot.name = log::ObjectName::snapshot(whole.txid);
  put(snapshot, base::ByteView(file.build()));
  for (const auto* part : {&before, &meanwhile}) {
    for (const SourceChange& change : *part) {
      if (change.txid != whole.txid) remove(log::ObjectName::raw(change.txid));
    }
  }
  start_follower();
  ASSERT_TRUE(reaches(whole.txid)) << problem();
  EXPECT_TRUE(problem_passes());
  // The reader that had the old state open goes on to the new one.
  EXPECT_EQ(reader->query_integer("SELECT counter FROM state").value_or(-1),
            static_cast<std::int64_t>(whole.txid.value()));
  const SourceChange next = publish_next();
  ASSERT_TRUE(reaches(next.txid));
  reader.emplace(*db::Connection::open(path_, SQLITE_OPEN_READWRITE));
  expect_content(next);
}

TEST_F(Scenario, Scenario11AStandbyAheadOfTheLastSnapshotSimplyGoesOn) {
  auto changes = publish_many(20);
  SourceChange whole = changes.back();
  whole.pages.clear();
  for (std::uint32_t index = 0; index < whole.page_count; ++index) {
    whole.pages.emplace_back(PageNo(index + 1), source_->image()[index]);
  }
  RawFile file(whole);
  file.set(16, std::uint64_t{1});
  log::NewObject snapshot = described(whole, 1);
  snapshot.name = log::ObjectName::snapshot(whole.txid);
  put(snapshot, base::ByteView(file.build()));
  const auto behind = publish_many(5);
  start_follower();
  ASSERT_TRUE(reaches(behind.back().txid));
  follower_.reset();
  // Everything up to the snapshot goes; the standby is beyond it.
  for (const SourceChange& change : changes) remove(log::ObjectName::raw(change.txid));
  std::vector<Txid> seen;
  FollowerOptions options = follower_options();
  options.on_applied = [&](const db::ReplicaPosition& position) { seen.push_back(position.txid); };
  start_follower(std::move(options));
  const auto more = publish_many(3);
  ASSERT_TRUE(reaches(more.back().txid)) << problem();
  expect_content(more.back());  // stops the follower, which may be in on_applied still
  ASSERT_EQ(seen.size(), 3U);
  EXPECT_EQ(seen.front(), behind.back().txid.next());
}

}  // namespace
}  // namespace litecluster::replication
