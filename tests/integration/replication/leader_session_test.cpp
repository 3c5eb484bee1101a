// The leader's side on a real server: rivals on the same bucket, a bucket that fills up, is lost or made
// anew, a server that restarts in the middle, compaction across growth and shrinking, and restoring any of
// it.
#include "replication/leader_session.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>

#include <cstdlib>
#include <map>
#include <set>
#include <thread>

#include "integration/db/capture_fixture.hpp"
#include "log/nats_object_bucket.hpp"
#include "log/restore.hpp"
#include "ltx/database_builder.hpp"
#include "nats/object_metadata.hpp"
#include "nats/object_store.hpp"
#include "replication/session_options.hpp"
#include "support/eventually.hpp"
#include "support/nats_fixture.hpp"
#include "support/tcp_proxy.hpp"

namespace litecluster::replication {
namespace {

using namespace std::chrono_literals;
using litecluster::test::eventually;
using litecluster::test::soon;

const std::string table =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0;"
    "CREATE TABLE t(id INTEGER PRIMARY KEY, x TEXT);";

class LeaderTest : public litecluster::test::NatsTest {
 protected:
  static constexpr const char* bucket_name = "app-wal";

  void SetUp() override {
    NatsTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    make_bucket();
    sqlite_.path = directory_ / "app.db";
    application_ = std::make_unique<db::Application>(sqlite_.path, table);
  }
  void TearDown() override {
    session_.reset();
    bucket_.reset();
    NatsTest::TearDown();
  }

  virtual nats::BucketOptions bucket_options() const { return {}; }
  [[nodiscard]] std::unique_ptr<nats::ObjectStore> create_store() const {
    auto store = nats::create_object_store(soon(), nats::JetStream(connect()), bucket_name, bucket_options());
    EXPECT_OK(store);
    return store ? std::move(*store) : nullptr;
  }
  void make_bucket() {
    bucket_ = log::make_nats_object_bucket(std::shared_ptr<nats::ObjectStore>(create_store()));
  }

  [[nodiscard]] Result<std::unique_ptr<LeaderSession>> take_over(const Sqlite& sqlite,
                                                                 const std::string& node) {
    return LeaderSession::take_over(soon(), leader_session_options(sqlite, node), database_options(sqlite),
                                    *bucket_);
  }
  void start() {
    auto started = take_over(sqlite_, "first");
    ASSERT_OK(started);
    session_ = std::move(*started);
  }
  void write(int rows = 1) {
    application_->run("WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < " +
                      std::to_string(rows) + ") INSERT INTO t(x) SELECT hex(randomblob(700)) FROM c");
  }
  [[nodiscard]] Status sync() { return session_->publisher().sync(soon(60s)); }
  [[nodiscard]] bool is_fatal(ErrorCode code) const {
    const auto fatal = session_->publisher().fatal();
    return fatal && fatal->code() == code;
  }

  /// The answer of a restored database.
  std::string restored(const std::string& query,
                       const log::RestoreTarget& target = log::RestoreTarget::latest()) {
    const log::RestoreOptions options{
        .output = directory_ / "restored.db", .target = target, .overwrite = true};
    const auto report = log::restore(soon(60s), *bucket_, options);
    EXPECT_OK(report);
    if (!report) return "error";
    db::Application application(options.output, "PRAGMA journal_mode = DELETE");
    EXPECT_EQ(application.ask("PRAGMA integrity_check"), "ok");
    return application.ask(query);
  }
  void expect_restored() {
    ASSERT_OK(sync());
    EXPECT_EQ(restored(db::digest_of_t), application_->ask(db::digest_of_t));
  }

  Sqlite sqlite_;
  std::unique_ptr<log::ObjectBucket> bucket_;
  std::unique_ptr<db::Application> application_;
  std::unique_ptr<LeaderSession> session_;
};

TEST_F(LeaderTest, AnotherPublisherOnTheBucketEndsTheFirstEvenIfThatIsIdle) {
  start();
  write();
  ASSERT_OK(sync());
  Sqlite other = sqlite_;
  other.path = directory_ / "other.db";
  db::Application other_application(other.path, table);
  const auto second = take_over(other, "second");
  ASSERT_OK(second);
  EXPECT_TRUE(eventually([&] { return is_fatal(ErrorCode::deposed); }));
  const auto problem = session_->problem();
  ASSERT_TRUE(problem);
  EXPECT_NE(problem->message().find("node second"), std::string::npos) << problem->message();
  EXPECT_FALSE((*second)->problem());
  write();
  EXPECT_EQ(sync().error().code(), ErrorCode::deposed);
}

// Where servers lost a part of the log, a newer leader's fence may have gone there.
TEST_F(LeaderTest, IsEndedByANewerEpochWhereverItStands) {
  start();
  write();
  ASSERT_OK(sync());
  const auto first = bucket_->info(soon(), log::ObjectName::raw(Txid(1)));
  ASSERT_OK(first);
  ASSERT_OK(bucket_->remove(soon(), *first));
  log::NewObject newer{.name = first->name, .created_at = first->created_at};
  newer.author = log::Author{.epoch = first->author->epoch.next(), .node = "newer", .incarnation = "n"};
  ASSERT_OK(bucket_->put(soon(), newer, base::as_bytes("a fence in a hole")));
  EXPECT_TRUE(eventually([&] { return is_fatal(ErrorCode::deposed); }));
}

TEST_F(LeaderTest, BridgesThePlaceWhereTwoHistoriesMeetByASnapshot) {
  start();
  for (int count = 0; count < 2; ++count) {
    write();
    ASSERT_OK(sync());
  }
  const auto second = bucket_->info(soon(), log::ObjectName::raw(Txid(2)));
  ASSERT_OK(second);
  ASSERT_OK(bucket_->remove(soon(), *second));
  ASSERT_OK(bucket_->put(soon(),
                         {.name = second->name,
                          .created_at = second->created_at,
                          .author = second->author,
                          .checksum = second->checksum->toggled(Checksum(9))},
                         base::as_bytes("what took the place of the one that servers lost")));
  EXPECT_TRUE(eventually([&] {
    const auto view = log::read_log(soon(), *bucket_);
    return view && !view->level(log::snapshot_level).empty();
  }));
  EXPECT_OK(log::restore(soon(60s), *bucket_, {.output = directory_ / "restored.db"}));
  EXPECT_FALSE(session_->publisher().fatal());
}

TEST_F(LeaderTest, SaysOfEachObjectOnWhichStateItWasMade) {
  start();
  for (int count = 0; count < 3; ++count) {
    write();
    ASSERT_OK(sync());
  }
  session_.reset();
  write();
  auto second = take_over(sqlite_, "second");
  ASSERT_OK(second);
  session_ = std::move(*second);
  write();
  ASSERT_OK(sync());
  const auto view = log::read_log(soon(), *bucket_);
  ASSERT_OK(view);
  const log::Object* before = nullptr;
  std::set<Epoch> epochs;
  for (const auto& [name, object] : view->level(log::raw_level)) {
    epochs.insert(object.author->epoch);
    EXPECT_EQ(object.pre_apply, before == nullptr ? std::nullopt : before->checksum) << to_string(name);
    EXPECT_TRUE(object.file_checksum);
    EXPECT_EQ(object.previous_file, before == nullptr ? std::nullopt : before->file_checksum);
    before = &object;
  }
  EXPECT_GE(view->level(log::raw_level).size(), 5U);
  EXPECT_EQ(epochs.size(), 2U);
}

TEST_F(LeaderTest, RemovesTheBytesOfUploadsThatNobodyFinished) {
  const nats::JetStream jetstream(connect());
  const std::string abandoned = "$O." + std::string(bucket_name) + ".C.abandoned";
  ASSERT_OK(jetstream.publish(soon(), abandoned, base::as_bytes("half an object")));
  sqlite_.compaction_levels = {{.level = 1, .interval = 1s}};  // A round each second.
  LeaderSessionOptions options = leader_session_options(sqlite_, "first");
  options.maintainer.orphan_grace = 2s;
  auto started = LeaderSession::take_over(soon(), options, database_options(sqlite_), *bucket_);
  ASSERT_OK(started);
  session_ = std::move(*started);
  write();
  ASSERT_OK(sync());
  EXPECT_TRUE(eventually([&] {
    const auto info = jetstream.stream_info(soon(), "OBJ_" + std::string(bucket_name), abandoned);
    return info && info->subjects.empty();
  }));
  expect_restored();
}

// Whatever becomes of the merges, everything else goes on.
class BrokenMergeTest : public LeaderTest {
 protected:
  static constexpr std::chrono::hours years{24 * 365 * 10};

  /// A log of one raw object of each commit, and nobody who merges it.
  void write_log(int commits) {
    sqlite_.compaction_levels = {{.level = 1, .interval = 24h}};
    start();
    for (int commit = 0; commit < commits; ++commit) {
      write();
      ASSERT_OK(sync());
    }
    session_.reset();
  }
  void start_merging(std::chrono::seconds snapshot_interval) {
    session_.reset();
    sqlite_.compaction_levels = {{.level = 1, .interval = 1s}};
    sqlite_.snapshot_interval = snapshot_interval;
    LeaderSessionOptions options = leader_session_options(sqlite_, "second");
    options.maintainer.orphan_grace = 2s;
    options.maintainer.retry = 100ms;
    auto started = LeaderSession::take_over(soon(), options, database_options(sqlite_), *bucket_);
    ASSERT_OK(started);
    session_ = std::move(*started);
  }
  [[nodiscard]] std::size_t count_of(int level) const {
    const auto view = log::read_log(soon(), *bucket_);
    return view ? view->level(level).size() : 0;
  }
  [[nodiscard]] Txid newest_snapshot() const {
    return session_->watcher().with_view([](const log::LogView& view) {
      const auto& snapshots = view.level(log::snapshot_level);
      return snapshots.empty() ? Txid(0) : snapshots.rbegin()->first.max;
    });
  }
  [[nodiscard]] bool has_problem(ErrorCode code) const {
    const auto problem = session_->problem();
    return problem && problem->code() == code;
  }
};

TEST_F(BrokenMergeTest, OfAnObjectWhoseBytesAreLostIsGoneAroundByOneSnapshot) {
  write_log(5);
  const nats::JetStream jetstream(connect());
  const std::string stream = std::string("OBJ_") + bucket_name;
  const auto lost = bucket_->info(soon(), log::ObjectName::raw(Txid(3)));
  ASSERT_OK(lost);
  const auto filter = nats::chunk_subject(bucket_name, lost->nuid);
  ASSERT_OK(jetstream.purge(soon(), stream, {.filter = filter, .below_sequence = 0, .keep = 0}));
  const std::string abandoned = nats::chunk_subject(bucket_name, "abandoned");
  ASSERT_OK(jetstream.publish(soon(), abandoned, base::as_bytes("half an object")));
  start_merging(years);
  EXPECT_TRUE(eventually([&] { return has_problem(ErrorCode::corrupt); }));
  ASSERT_TRUE(eventually([&] { return newest_snapshot() >= lost->name.max; }));
  EXPECT_TRUE(eventually([&] {
    const auto info = jetstream.stream_info(soon(), stream, abandoned);
    return info && info->subjects.empty();
  })) << "orphans are removed all the same";
  EXPECT_TRUE(eventually([&] { return has_problem(ErrorCode::corrupt); })) << "still";
  EXPECT_EQ(count_of(log::snapshot_level), 1U) << "one is enough, however often the merge fails";
  expect_restored();
  const Txid before = newest_snapshot();
  start_merging(1s);
  write();
  ASSERT_OK(sync());
  EXPECT_TRUE(eventually([&] { return newest_snapshot() > before; })) << "those by the interval go on";
  expect_restored();
}

TEST_F(BrokenMergeTest, WhoseNameATombstoneTakesIsMadeOnceThatIsRemoved) {
  write_log(1);
  for (std::uint64_t last = 1; last <= 4; ++last) {
    nats::ObjectInfo tombstone;
    tombstone.name = to_string(log::ObjectName{1, Txid(1), Txid(last)});
    tombstone.nuid = "x";
    tombstone.deleted = true;
    const auto json = nats::to_json(tombstone, bucket_name);
    ASSERT_OK(json);
    ASSERT_OK(nats::JetStream(connect()).publish(soon(), nats::metadata_subject(bucket_name, tombstone.name),
                                                 base::as_bytes(*json)));
  }
  start_merging(years);
  EXPECT_TRUE(eventually([&] { return count_of(1) > 0; }));
  EXPECT_TRUE(eventually([&] { return !session_->problem(); }));
  expect_restored();
}

TEST_F(LeaderTest, LitestreamTakingOverTheBucketEndsIt) {
  start();
  write();
  ASSERT_OK(sync());
  // As Litestream does: the next TXID, and nobody's epoch.
  const Txid next = session_->publisher().position().txid.next();
  const base::Bytes bytes(500);
  ASSERT_OK(bucket_->put(soon(), {.name = log::ObjectName::raw(next)}, base::ByteView(bytes)));
  EXPECT_TRUE(eventually([&] { return is_fatal(ErrorCode::deposed); }));
  EXPECT_NE(session_->problem()->message().find("Litestream"), std::string::npos);
}

TEST_F(LeaderTest, ABucketThatWasMadeAnewEndsItAndIsHealedByASnapshotAfterwards) {
  start();
  for (int commit = 0; commit < 5; ++commit) {
    write();
    ASSERT_OK(sync());
  }
  ASSERT_OK(nats::delete_object_store(soon(), nats::JetStream(connect()), bucket_name));
  write();
  EXPECT_TRUE(eventually([&] { return session_->problem().has_value(); }));
  EXPECT_FALSE(session_->publisher().fatal()) << "it may come back";
  const auto anew = create_store();
  EXPECT_TRUE(eventually([&] { return is_fatal(ErrorCode::gap); })) << session_->problem()->message();
  session_.reset();
  start();
  ASSERT_TRUE(eventually([&] {
    return session_->watcher().with_view([](const log::LogView& view) { return !view.level(9).empty(); });
  }));
  expect_restored();
}

TEST_F(LeaderTest, Scenario12ServerRestartedInTheMiddleOfPuts) {
  sqlite_.checkpoint_pages = 100;
  start();
  for (int round = 0; round < 3; ++round) {
    for (int commit = 0; commit < 40; ++commit) write(1 + commit % 30);
    restart_server();
    for (int commit = 0; commit < 40; ++commit) write(1 + commit % 30);
  }
  expect_restored();
  EXPECT_TRUE(eventually([&] { return !session_->problem(); })) << session_->problem()->message();
}

class SmallBucketTest : public LeaderTest {
 protected:
  nats::BucketOptions bucket_options() const override {
    nats::BucketOptions options;
    options.max_bytes = 1 << 20;
    return options;
  }
};

TEST_F(SmallBucketTest, Scenario12FullBucketIsToldAndGoesOnWhenThereIsRoom) {
  start();
  write();
  ASSERT_OK(sync());
  ASSERT_TRUE(eventually([&] {
    write(20);
    const auto problem = session_->problem();
    return problem && problem->code() == ErrorCode::resource_exhausted;
  })) << "never full";
  EXPECT_FALSE(session_->publisher().fatal());
  const nats::JetStream jetstream(connect());
  const std::string stream = std::string("OBJ_") + bucket_name;
  auto info = jetstream.stream_info(soon(), stream);
  ASSERT_OK(info);
  info->config.max_bytes = 64 << 20;
  ASSERT_OK(jetstream.update_stream(soon(), info->config));
  expect_restored();
  EXPECT_TRUE(eventually([&] { return !session_->problem(); })) << session_->problem()->message();
}

// The whole way: applications in other processes commit, check-point in every mode and read, while a leader
// captures, checkpoints, compacts and prunes. Then every TXID is built from the raw objects, one after the
// other, and asked; and real restores to many of them have to give the same bytes.
TEST_F(LeaderTest, Scenario2CheckpointStormRestoredAtEveryTxid) {
  const char* text = std::getenv("LITECLUSTER_STORM_TXIDS");
  const std::uint64_t txids = text == nullptr ? 120 : std::strtoull(text, nullptr, 10);
  const std::string path = sqlite_.path.string();
  application_->run("CREATE INDEX i ON t(x);" + db::ledger_table);
  sqlite_.checkpoint_pages = 60;
  sqlite_.compaction_levels = {{.level = 1, .interval = 1s}, {.level = 2, .interval = 5s}};
  start();
  {
    std::vector<db::Process> others;
    for (const char* mode : {"PASSIVE", "FULL", "RESTART", "TRUNCATE"}) {
      others.emplace_back(CAPTURE_APPLICATION, std::vector<std::string>{"checkpointer", path, mode, "3000"});
    }
    others.emplace_back(CAPTURE_APPLICATION, std::vector<std::string>{"reader", path, "4000"});
    others.emplace_back(CAPTURE_APPLICATION, std::vector<std::string>{"writer", path, "1", "1000000", "30"});
    others.emplace_back(CAPTURE_APPLICATION, std::vector<std::string>{"writer", path, "2", "1000000", "0"});
    ASSERT_TRUE(eventually([&] { return session_->publisher().position().txid.value() >= txids; },
                           std::chrono::seconds(240)));
  }
  ASSERT_OK(sync());
  const auto statistics = session_->publisher().statistics();
  const auto view = log::read_log(soon(), *bucket_);
  ASSERT_OK(view);
  auto builder = ltx::DatabaseBuilder::create(directory_ / "rebuilt.db", {.track_checksum = true});
  ASSERT_OK(builder);
  std::uint64_t commits = 0;
  std::uint64_t checked = 0;
  std::uint64_t restores = 0;
  for (const auto& [name, object] : view->level(log::raw_level)) {
    base::Bytes bytes;
    ASSERT_OK(bucket_->get(soon(), object, [&bytes](base::ByteView part) -> Status {
      base::append_bytes(bytes, part);
      return {};
    }));
    ltx::MemorySource source(bytes, to_string(name));
    ASSERT_OK(builder->apply(source));
    const auto checksum = builder->checksum();
    ASSERT_OK(checksum);
    ASSERT_EQ(*checksum, object.checksum) << to_string(name);
    const auto image = base::read_file(builder->temporary_path(), std::uint64_t{1} << 30U);
    ASSERT_OK(image);
    const auto copy = directory_ / "copy.db";
    auto patched = *image;
    patched[18] = patched[19] = std::byte{1};  // as a file without a WAL
    std::filesystem::remove(copy);
    ASSERT_OK(base::write_at(base::open_file(copy, O_RDWR | O_CREAT)->get(), patched, 0, copy));
    db::Application application(copy);
    ASSERT_EQ(application.ask("PRAGMA integrity_check"), "ok") << to_string(name);
    if (application.ask("SELECT count(*) FROM sqlite_schema WHERE name = 'ledger'") == "1") {
      const std::string answer = application.ask(db::ledger_check);
      ASSERT_TRUE(answer.starts_with("ok ")) << answer << " at " << to_string(name);
      ASSERT_GE(std::stoull(answer.substr(3)), commits) << "commits went back at " << to_string(name);
      commits = std::stoull(answer.substr(3));
    }
    if (++checked % 40 != 0 && name.max != view->end().txid) continue;
    const log::RestoreOptions options{
        .output = directory_ / "restored.db", .target = log::RestoreTarget::at(name.max), .overwrite = true};
    ASSERT_OK(log::restore(soon(), *bucket_, options));
    ASSERT_EQ(*base::read_file(options.output, std::uint64_t{1} << 30U), *image) << to_string(name);
    ++restores;
  }
  EXPECT_GE(checked, txids);
  std::printf("%llu TXIDs of %llu commits sound, %llu restored as well; %llu checkpoints\n",
              static_cast<unsigned long long>(checked), static_cast<unsigned long long>(commits),
              static_cast<unsigned long long>(restores),
              static_cast<unsigned long long>(statistics.database.checkpoints));
  expect_restored();
}

// Each state is known by its own digest, and whatever the levels still hold of it has to give exactly that.
TEST_F(LeaderTest, Scenario7GrowVacuumAndGrowAgainAcrossACompactionWindow) {
  sqlite_.compaction_levels = {{.level = 1, .interval = 1s}, {.level = 2, .interval = 2s}};
  for (const int auto_vacuum : {0, 2}) {
    SCOPED_TRACE(auto_vacuum);
    session_.reset();
    application_.reset();
    ASSERT_OK(nats::delete_object_store(soon(), nats::JetStream(connect()), bucket_name));
    make_bucket();
    sqlite_.path = directory_ / ("vacuum" + std::to_string(auto_vacuum) + ".db");
    application_ = std::make_unique<db::Application>(
        sqlite_.path, "PRAGMA auto_vacuum = " + std::to_string(auto_vacuum) + ";" + table);
    start();
    std::map<Txid, std::string> states;
    const auto step = [&](const std::string& sql) {
      application_->run(sql);
      ASSERT_OK(sync());
      states[session_->publisher().position().txid] = application_->ask(db::digest_of_t);
    };
    const auto begin = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() - begin < 2000ms) {
      step(
          "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 150) "
          "INSERT INTO t(x) SELECT hex(randomblob(700)) FROM c");
      step("DELETE FROM t WHERE id % 9 > 1");
      step(auto_vacuum == 2 ? "PRAGMA incremental_vacuum" : "VACUUM");
    }
    ASSERT_TRUE(eventually([&] {
      return session_->watcher().with_view([](const log::LogView& view) { return !view.level(2).empty(); });
    }));
    const auto view = log::read_log(soon(), *bucket_);
    ASSERT_OK(view);
    EXPECT_FALSE(view->level(1).empty());
    for (int level = 1; level <= 2; ++level) {
      for (const auto& [name, object] : view->level(level)) {
        if (!states.contains(name.max)) continue;
        EXPECT_EQ(restored(db::digest_of_t, log::RestoreTarget::at(name.max)), states[name.max])
            << to_string(name);
      }
    }
    expect_restored();
  }
}

// Nothing goes to the server while nothing happens: no TXID, no listing, no message of any kind.
TEST_F(LeaderTest, Scenario6IdlenessSendsNothingAndThenOneWriteReplicates) {
  sqlite_.compaction_levels = {{.level = 1, .interval = 1h}};
  sqlite_.checkpoint_pages = 10;
  start();
  for (int commit = 0; commit < 30; ++commit) write();
  ASSERT_OK(sync());
  // Everything is copied back, and the next write goes over the beginning of the WAL.
  ASSERT_TRUE(eventually([&] {
    const auto statistics = session_->publisher().statistics().database;
    return statistics.wal_frames > 0 && statistics.wal_frames_copied == statistics.wal_frames;
  }));
  const char* seconds = std::getenv("LITECLUSTER_IDLE_SECONDS");
  const auto observer = connect();
  auto requests = observer->subscribe("$JS.API.>");
  auto objects = observer->subscribe("$O.>");
  ASSERT_OK(requests);
  ASSERT_OK(objects);
  ASSERT_OK(observer->flush(soon()));
  const Position before = session_->publisher().position();
  const std::string wal = sqlite_.path.string() + "-wal";
  const auto wal_size = std::filesystem::file_size(wal);
  std::this_thread::sleep_for(std::chrono::seconds(seconds == nullptr ? 3 : std::atoi(seconds)));
  for (auto* listener : {&requests, &objects}) {
    const auto message = (*listener)->poll();
    ASSERT_OK(message);
    EXPECT_FALSE(*message) << (*message)->subject();
  }
  EXPECT_EQ(session_->publisher().position(), before);
  write();
  ASSERT_OK(sync());
  EXPECT_EQ(session_->publisher().position().txid, before.txid.next());
  EXPECT_EQ(std::filesystem::file_size(wal), wal_size) << "the size tells nothing";
  expect_restored();
}

// Genuine Litestream gives up on an object that takes longer than its client waits for an answer; we do not.
TEST_F(LeaderTest, Scenario12SlowLinkIsSlowAndNothingElse) {
  litecluster::test::TcpProxy proxy(static_cast<std::uint16_t>(server_->port()));
  proxy.limit_bytes_per_second(200'000);
  start();
  write(300);
  ASSERT_OK(sync());
  auto client = litecluster::test::client_options({proxy.url()});
  client.request_timeout = 1s;
  auto slow = nats::open_object_store(soon(), nats::JetStream(connect(client)), bucket_name);
  ASSERT_OK(slow);
  const auto slow_bucket = log::make_nats_object_bucket(std::shared_ptr<nats::ObjectStore>(std::move(*slow)));
  const log::RestoreOptions options{.output = directory_ / "slow.db"};
  const auto begin = std::chrono::steady_clock::now();
  const auto report = log::restore(soon(120s), *slow_bucket, options);
  ASSERT_OK(report);
  EXPECT_GT(std::chrono::steady_clock::now() - begin, client.request_timeout) << "the link was not slow";
  EXPECT_EQ(db::Application(options.output).ask(db::digest_of_t), application_->ask(db::digest_of_t));
}

// Deletes by other clients leave a message each, for ever.
TEST_F(LeaderTest, Scenario12TombstonesOfOthersAreNoHindranceAndAreSweptAway) {
  const char* text = std::getenv("LITECLUSTER_TOMBSTONES");
  const int count = text == nullptr ? 2000 : std::atoi(text);
  const nats::JetStream jetstream(connect());
  std::vector<nats::PendingAck> acks;
  for (int number = 1; number <= count; ++number) {
    const std::string name = "ltx/1/" + to_string(Txid(static_cast<std::uint64_t>(number))) + "-" +
                             to_string(Txid(static_cast<std::uint64_t>(number))) + ".ltx";
    const std::string json =
        R"({"name":")" + name + R"(","bucket":")" + bucket_name +
        R"(","nuid":"","size":0,"mtime":"0001-01-01T00:00:00Z","chunks":0,"deleted":true})";
    auto ack = jetstream.publish_async(nats::metadata_subject(bucket_name, name), base::as_bytes(json));
    ASSERT_OK(ack);
    acks.push_back(std::move(*ack));
    if (acks.size() < 200 && number < count) continue;
    for (auto& one : acks) ASSERT_OK(one.wait(soon()));
    acks.clear();
  }
  start();
  write(10);
  expect_restored();
  const auto removed = bucket_->remove_orphans(soon(300s), 0s);
  ASSERT_OK(removed);
  EXPECT_GE(*removed, static_cast<std::uint64_t>(count));
  expect_restored();
}

}  // namespace
}  // namespace litecluster::replication
