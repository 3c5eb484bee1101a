// What befalls a standby from outside: disks, files, other programs, readers, servers. Each time its state is
// clear, readers see something that was once true, and it recovers by itself when the cause is gone.
#include <sys/mount.h>

#include <cstdlib>
#include <fstream>

#include "standby_fixture.hpp"
#include "support/child_process.hpp"
#include "support/power_failure.hpp"

namespace litecluster::replication {
namespace {

using litecluster::test::ChildProcess;
using test::eventually;
using test::SourceChange;

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class Faults : public test::StandbyTest {
 protected:
  ~Faults() override {
    for (const auto& mounted : mounts_) ::umount2(mounted.c_str(), MNT_DETACH);
  }
  bool mount(const std::filesystem::path& path, const std::string& options) {
    std::filesystem::create_directories(path);
    if (::mount("tmpfs", path.c_str(), "tmpfs", 0, options.c_str()) != 0) return false;
    mounts_.push_back(path);
    return true;
  }
  SourceChange publish_some(int count) {
    SourceChange change = publish_next();
    for (int more = 1; more < count; ++more) change = publish_next();
    return change;
  }
  /// As another program sees it; -1 when it cannot be read.
  [[nodiscard]] std::int64_t counter() const { return number("SELECT counter FROM state"); }
  [[nodiscard]] std::int64_t number(const std::string& query) const {
    const std::string command =
        std::string(REPLICA_VISITOR) + " sql '" + path_.string() + "' '" + query + "'";
    FILE* const pipe = ::popen(command.c_str(), "r");
    char line[256] = {};
    const bool read = std::fgets(line, sizeof line, pipe) != nullptr;
    return ::pclose(pipe) == 0 && read ? std::atoll(line) : -1;
  }
  std::string visit(const std::string& statement) {
    const std::string command =
        std::string(REPLICA_VISITOR) + " sql '" + path_.string() + "' \"" + statement + "\"";
    return std::system((command + " > /dev/null").c_str()) == 0 ? "ok" : "failed";
  }

  std::vector<std::filesystem::path> mounts_;
};

TEST_F(Faults, AFullDiskIsSaidAndFollowingGoesOnWhenThereIsRoom) {
  const auto directory = directory_ / "small";
  if (!mount(directory, "size=3m")) GTEST_SKIP() << "mounting a small file system needs privileges";
  path_ = directory / "replica.db";
  SourceChange change = publish_some(10);
  start_follower();
  ASSERT_TRUE(reaches(change.txid));
  {
    std::ofstream hog(directory / "hog", std::ios::binary);
    const std::string block(4096, 'x');
    while (hog.write(block.data(), 4096) && hog.flush()) {
    }
  }
  while (!follower_->problem()) change = publish_some(1);
  ASSERT_EQ(follower_->problem()->code(), ErrorCode::resource_exhausted) << problem();
  const Txid stuck = follower_->position().txid;
  EXPECT_LT(stuck, change.txid);
  EXPECT_EQ(counter(), static_cast<std::int64_t>(stuck.value()));
  EXPECT_GT(follower_->lag().txids.value_or(0), 0U);
  std::filesystem::remove(directory / "hog");
  ASSERT_TRUE(reaches(change.txid)) << problem();
  EXPECT_TRUE(problem_passes());
  expect_content(change);
}

TEST_F(Faults, AFullDiskDuringTheFirstSeedIsSaidAndPasses) {
  const auto directory = directory_ / "small";
  if (!mount(directory, "size=256k")) GTEST_SKIP() << "mounting a small file system needs privileges";
  path_ = directory / "replica.db";
  publish_some(1);
  first_ = source_->commit(
      "INSERT INTO payload(body) VALUES (randomblob(400000));"
      "UPDATE state SET counter = 2, rows = 1, bytes = 400000");
  const SourceChange change = publish_some(1);
  start_follower();
  EXPECT_NE(problem(), "none");
  EXPECT_EQ(follower_->problem()->code(), ErrorCode::resource_exhausted) << problem();
  EXPECT_EQ(follower_->position().txid, Txid(0));
  ASSERT_EQ(::mount("tmpfs", directory.c_str(), "tmpfs", MS_REMOUNT, "size=8m"), 0);
  ASSERT_TRUE(reaches(change.txid)) << problem();
  EXPECT_TRUE(problem_passes());
  // Nothing of the attempts is left.
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    EXPECT_TRUE(entry.path().filename().string().starts_with("replica.db")) << entry.path();
    EXPECT_EQ(entry.path().string().find("seed"), std::string::npos) << entry.path();
  }
  expect_content(change);
}

TEST_F(Faults, AReadOnlyFileSystemIsSaidAndNothingIsLost) {
  const auto directory = directory_ / "fixed";
  if (!mount(directory, "size=8m")) GTEST_SKIP() << "mounting a file system needs privileges";
  path_ = directory / "replica.db";
  SourceChange change = publish_some(5);
  start_follower();
  ASSERT_TRUE(reaches(change.txid));
  follower_.reset();
  ASSERT_EQ(::mount("tmpfs", directory.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, "size=8m"), 0);
  const auto refused = Follower::start(follower_options(), *bucket_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::permission_denied) << refused.error().message();
  ASSERT_EQ(::mount("tmpfs", directory.c_str(), "tmpfs", MS_REMOUNT, "size=8m"), 0);
  start_follower();
  EXPECT_EQ(follower_->position().txid, change.txid) << "without a seed";
  change = publish_some(3);
  ASSERT_TRUE(reaches(change.txid));
  expect_content(change);
}

TEST_F(Faults, ADeletedReplicaIsMadeAnew) {
  SourceChange change = publish_some(5);
  start_follower();
  ASSERT_TRUE(reaches(change.txid));
  for (const char* what : {"", "-wal", "-shm"}) {
    SCOPED_TRACE(what);
    ASSERT_TRUE(std::filesystem::remove(path_.string() + what));
    change = publish_some(3);
    ASSERT_TRUE(reaches(change.txid)) << problem();
    EXPECT_TRUE(problem_passes());
    EXPECT_EQ(counter(), static_cast<std::int64_t>(change.txid.value()));
  }
  expect_content(change);
}

TEST_F(Faults, AReplicaReplacedByAnotherDatabaseIsSeededAnew) {
  SourceChange change = publish_some(5);
  start_follower();
  ASSERT_TRUE(reaches(change.txid));
  const auto foreign = directory_ / "foreign.db";
  {
    test::ReplicaSource other(foreign, 4096);
    other.commit("CREATE TABLE state(counter INTEGER); INSERT INTO state VALUES (12345)");
  }
  std::filesystem::rename(foreign, path_);
  change = publish_some(3);
  ASSERT_TRUE(reaches(change.txid)) << problem();
  EXPECT_TRUE(problem_passes());
  EXPECT_EQ(counter(), static_cast<std::int64_t>(change.txid.value()));
  // And by something that is no database at all.
  std::ofstream(directory_ / "text") << "this is no database, but long enough to be taken for one\n";
  std::filesystem::rename(directory_ / "text", path_);
  change = publish_some(3);
  ASSERT_TRUE(reaches(change.txid)) << problem();
  EXPECT_EQ(counter(), static_cast<std::int64_t>(change.txid.value()));
  expect_content(change);
}

TEST_F(Faults, AProgramThatWritesIntoTheReplicaIsNoticedAndItsWritesAreGone) {
  SourceChange change = publish_some(5);
  start_follower();
  ASSERT_TRUE(reaches(change.txid));
  for (const char* statement :
       {"UPDATE state SET counter = 777", "INSERT INTO payload(body) VALUES (randomblob(100000))",
        "CREATE TABLE mine(a)", "VACUUM", "DELETE FROM accounts"}) {
    SCOPED_TRACE(statement);
    ASSERT_EQ(visit(statement), "ok");
    change = publish_some(2);
    ASSERT_TRUE(reaches(change.txid)) << problem();
    EXPECT_TRUE(problem_passes());
    EXPECT_EQ(counter(), static_cast<std::int64_t>(change.txid.value()));
  }
  EXPECT_EQ(visit("SELECT * FROM mine"), "failed");
  expect_content(change);
}

TEST_F(Faults, AProgramThatWroteWhileNobodyFollowedIsNoticed) {
  SourceChange change = publish_some(5);
  start_follower();
  ASSERT_TRUE(reaches(change.txid));
  follower_.reset();
  ASSERT_EQ(visit("UPDATE state SET counter = 777"), "ok");
  start_follower();
  ASSERT_TRUE(reaches(change.txid)) << problem();
  EXPECT_TRUE(eventually([&] { return counter() == static_cast<std::int64_t>(change.txid.value()); }));
  expect_content(change);
}

// Equal changes of two pages cancel each other out in a database's checksum, so the last of these states
// looks like the first. The replica went through all of them, and lost power.
class SameChecksumAfterPowerFailure : public Faults {
 protected:
  void SetUp() override {
    Faults::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    publish_next();
    start_follower();
    first_flags_ = commit(
        "CREATE TABLE flag(id INTEGER PRIMARY KEY, value INTEGER, filler BLOB);"
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 15)"
        "INSERT INTO flag SELECT n, 0, zeroblob(1300) FROM numbers");
    commit("UPDATE flag SET value = 1 WHERE id = 4");
    const SourceChange last = commit("UPDATE flag SET value = 1 WHERE id = 7");
    ASSERT_EQ(last.checksum, first_flags_.checksum) << "the rows are not laid out alike";
    follower_.reset();
    litecluster::test::pretend_reboot(db::position_path_of(path_));
  }
  // One at a time, so that the replica goes through each of them.
  SourceChange commit(const std::string& sql) {
    SourceChange change = source_->commit(sql);
    publish(change);
    EXPECT_TRUE(reaches(change.txid)) << problem();
    return change;
  }
  SourceChange first_flags_;
};

TEST_F(SameChecksumAfterPowerFailure, TheReplicaIsSeededAndNoObjectIsBlamed) {
  start_follower();
  const SourceChange after = commit("UPDATE flag SET value = 1 WHERE id = 10");
  EXPECT_TRUE(problem_passes());
  expect_content(after);
}

TEST_F(SameChecksumAfterPowerFailure, TheReplicaIsSeededWhenTheLogEndsAtTheFirstOfThem) {
  for (const Txid txid : {first_flags_.txid.next().next(), first_flags_.txid.next()}) {
    const auto object = bucket_->info(test::soon(), log::ObjectName::raw(txid));
    ASSERT_OK(object);
    ASSERT_OK(bucket_->remove(test::soon(), *object));
  }
  start_follower();
  ASSERT_TRUE(eventually([&] { return number("SELECT sum(value) FROM flag") == 0; })) << problem();
  expect_content(first_flags_);
}

TEST_F(Faults, ALockThatAnotherProgramKeepsIsSaidAndPasses) {
  SourceChange change = publish_some(5);
  FollowerOptions options = follower_options();
  options.replica.lock_timeout = std::chrono::milliseconds(50);
  start_follower(std::move(options));
  ASSERT_TRUE(reaches(change.txid));
  auto writer = db::Connection::open(path_, SQLITE_OPEN_READWRITE);
  ASSERT_OK(writer->execute("BEGIN IMMEDIATE"));
  const SourceChange next = publish_some(3);
  EXPECT_NE(problem(), "none");
  EXPECT_EQ(follower_->problem()->code(), ErrorCode::busy) << problem();
  EXPECT_EQ(follower_->position().txid, change.txid);
  ASSERT_OK(writer->execute("ROLLBACK"));
  ASSERT_TRUE(reaches(next.txid)) << problem();
  EXPECT_TRUE(problem_passes());
  expect_content(next);
}

// LITECLUSTER_LONG_READ_SECONDS=60 is the whole minute.
TEST_F(Faults, AReaderThatStaysCostsWalAndNoLag) {
  SourceChange change = publish_some(5);
  start_follower();
  ASSERT_TRUE(reaches(change.txid));
  const auto stop = directory_ / "stop";
  ChildProcess reader = ChildProcess::execute({REPLICA_VISITOR, "hold", path_.string(), stop.string()});
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const auto wal = path_.string() + "-wal";
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::seconds(from_environment("LITECLUSTER_LONG_READ_SECONDS", 2));
  std::uint64_t lag_max = 0;
  std::uint64_t published = 0;
  while (std::chrono::steady_clock::now() < end) {
    change = publish_some(1);
    ++published;
    // The follower keeps up: it is never more than a few behind the writer, who does not wait for it.
    ASSERT_TRUE(eventually([&] { return change.txid.value() - follower_->position().txid.value() < 50; }));
    lag_max = std::max(lag_max, change.txid.value() - follower_->position().txid.value());
    ASSERT_FALSE(reader.ended());
  }
  ASSERT_TRUE(reaches(change.txid));
  const auto wal_bytes = std::filesystem::file_size(wal);
  EXPECT_EQ(counter(), static_cast<std::int64_t>(change.txid.value()));
  std::ofstream(stop).put('x');
  EXPECT_EQ(reader.wait(), "0");
  std::cout << published << " TXIDs, lag at most " << lag_max << " TXIDs, WAL " << wal_bytes / 1024 << " KiB"
            << std::endl;
  change = publish_some(300);
  ASSERT_TRUE(reaches(change.txid));
  expect_content(change);
}

TEST_F(Faults, WithoutNatsTheLagIsUnknownAndTheReplicaStaysReadable) {
  SourceChange change = publish_some(5);
  start_follower();
  ASSERT_TRUE(reaches(change.txid));
  ASSERT_TRUE(eventually([&] { return follower_->lag().txids == 0U; }));
  server_->stop();
  ASSERT_TRUE(eventually([&] { return !follower_->lag().txids && !follower_->lag().time; }));
  EXPECT_NE(problem(), "none");
  // And it stays so: nobody looks at an old view and calls it the present.
  for (int look = 0; look < 200; ++look) {
    ASSERT_FALSE(follower_->lag().txids);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(counter(), static_cast<std::int64_t>(change.txid.value()));
  ASSERT_OK(server_->start_again(test::soon()));
  EXPECT_TRUE(eventually([&] { return follower_->lag().txids == 0U; }));
  change = publish_some(3);
  ASSERT_TRUE(reaches(change.txid));
  EXPECT_TRUE(problem_passes());
  expect_content(change);
}

TEST_F(Faults, AReplicaAheadOfTheLogIsAnAlarmAndIsLeftAlone) {
  const SourceChange change = publish_some(5);
  start_follower();
  ASSERT_TRUE(reaches(change.txid));
  const auto last = bucket_->info(test::soon(), log::ObjectName::raw(change.txid));
  follower_.reset();
  ASSERT_OK(bucket_->remove(test::soon(), *last));
  const std::string before = fingerprint();
  start_follower();
  EXPECT_NE(problem(), "none");
  EXPECT_EQ(follower_->problem()->code(), ErrorCode::failed_precondition) << problem();
  EXPECT_EQ(follower_->position().txid, change.txid);
  EXPECT_EQ(fingerprint(), before);
  expect_content(change);
}

TEST_F(Faults, AnEarlyReaderSeesTheReplicaComeIntoBeing) {
  auto early = db::Connection::open(path_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  EXPECT_FALSE(early->query_integer("SELECT counter FROM state"));
  start_follower();
  SourceChange change = publish_some(1);
  ASSERT_TRUE(reaches(change.txid)) << problem();
  for (int round = 0; round < 20; ++round) {
    change = publish_some(1);
    ASSERT_TRUE(reaches(change.txid)) << problem();
    EXPECT_EQ(early->query_integer("SELECT counter FROM state").value_or(-1),
              static_cast<std::int64_t>(change.txid.value()));
  }
  EXPECT_EQ(counter(), static_cast<std::int64_t>(change.txid.value()));
  expect_content(change);
}

}  // namespace
}  // namespace litecluster::replication
