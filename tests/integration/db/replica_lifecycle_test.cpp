// Seeding, restarts after crashes of every kind, long readers, a full disk, and giving the replica away.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "base/file.hpp"
#include "db/database.hpp"
#include "db/replica.hpp"
#include "db/replica_record.hpp"
#include "support/child_process.hpp"
#include "support/power_failure.hpp"
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

ReplicaOptions options_for(const std::filesystem::path& path) {
  ReplicaOptions options;
  options.path = path;
  options.checkpoint_frames = 200;
  options.background_checkpoints = false;
  return options;
}

Replica open_replica(const std::filesystem::path& path) {
  auto replica = Replica::open(options_for(path));
  test::require(replica.has_value(), replica ? "" : replica.error().message());
  return std::move(*replica);
}

std::int64_t counter_in(Connection& connection) {
  const auto value = connection.query_integer("SELECT counter FROM state");
  return value ? value->value_or(-1) : -2;
}

std::string integrity(const std::filesystem::path& path) {
  auto connection = Connection::open(path, SQLITE_OPEN_READWRITE);
  return connection->query_text("PRAGMA integrity_check")->value_or("nothing");
}

class ReplicaLifecycle : public testing::Test {
 protected:
  // Twenty transactions, with the image after each.
  ReplicaLifecycle() {
    ReplicaSource source(directory_ / "source.db", 4096);
    Workload workload(3);
    changes_.push_back(source.commit(Workload::schema()));
    images_.push_back(source.image());
    while (changes_.size() < 20) {
      changes_.push_back(source.commit(workload.next()));
      images_.push_back(source.image());
    }
  }

  void follow(Replica& replica, std::size_t count) {
    while (replica.position().txid.value() < count) {
      const auto applied = apply(replica, changes_[replica.position().txid.value()]);
      ASSERT_EQ(outcome(applied), "ok");
    }
  }

  test::TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_ / "replica.db";
  std::vector<SourceChange> changes_;
  std::vector<Image> images_;
};

TEST_F(ReplicaLifecycle, KnowsItsStateWhenItIsKilledIdleAfterItsWalWasStartedAnew) {
  const test::SharedValue<std::atomic<std::uint64_t>> restarts;
  for (std::size_t count = 2; count <= changes_.size(); ++count) {
    const auto path = directory_ / ("killed-" + std::to_string(count) + ".db");
    ChildProcess killed = ChildProcess::run([&] {
      ReplicaOptions options = options_for(path);
      options.checkpoint_frames = 2;
      auto replica = Replica::open(options);
      test::require(replica.has_value(), "open");
      follow(*replica, count);
      *restarts += replica->statistics().wal_restarts;
      ::raise(SIGKILL);
      return 1;
    });
    ASSERT_EQ(killed.wait(), "signal 9");
    Replica replica = open_replica(path);
    EXPECT_EQ(replica.state(), ReplicaState::ready) << replica.quarantine_reason();
    EXPECT_EQ(replica.position().txid, Txid(count));
    follow(replica, changes_.size());
    EXPECT_EQ(replica.position().checksum, changes_.back().checksum);
  }
  EXPECT_GT(*restarts, 0U);
}

TEST_F(ReplicaLifecycle, SeedsAnEmptyPlace) {
  Replica replica = open_replica(path_);
  EXPECT_EQ(outcome(seed_with(replica, images_[9], changes_[9])), "ok");
  EXPECT_EQ(replica.state(), ReplicaState::ready);
  EXPECT_EQ(replica.position().txid, Txid(10));
  follow(replica, 20);
  EXPECT_EQ(outcome(replica.verify()), "ok");
  EXPECT_EQ(integrity(path_), "ok");
}

TEST_F(ReplicaLifecycle, SeedsOverAReplicaThatReadersHaveOpen) {
  Replica replica = open_replica(path_);
  follow(replica, 3);
  auto reader = Connection::open(path_, SQLITE_OPEN_READWRITE);
  ASSERT_EQ(outcome(reader->execute("BEGIN")), "ok");
  EXPECT_EQ(counter_in(*reader), 3);
  EXPECT_EQ(outcome(seed_with(replica, images_[14], changes_[14])), "ok");
  EXPECT_EQ(counter_in(*reader), 3);
  ASSERT_EQ(outcome(reader->execute("COMMIT")), "ok");
  EXPECT_EQ(counter_in(*reader), 15);
  follow(replica, 20);
  EXPECT_EQ(counter_in(*reader), 20);
  // Back in time, too: what a re-seed after a fork means.
  EXPECT_EQ(outcome(seed_with(replica, images_[4], changes_[4])), "ok");
  EXPECT_EQ(counter_in(*reader), 5);
  EXPECT_EQ(replica.page_count(), changes_[4].page_count);
  follow(replica, 20);
  EXPECT_EQ(outcome(replica.verify()), "ok");
}

TEST_F(ReplicaLifecycle, SeedsWithAnotherPageSizeAsANewFile) {
  Replica replica = open_replica(path_);
  follow(replica, 3);
  ReplicaSource other(directory_ / "other.db", 1024);
  const SourceChange change = other.commit(Workload::schema());
  EXPECT_EQ(outcome(seed_with(replica, other.image(), change)), "ok");
  EXPECT_EQ(replica.page_size(), 1024U);
  Workload workload;
  EXPECT_EQ(outcome(apply(replica, other.commit(workload.next()))), "ok");
  EXPECT_EQ(outcome(replica.verify()), "ok");
  EXPECT_EQ(integrity(path_), "ok");
}

TEST_F(ReplicaLifecycle, KeepsTheOldContentWhenASeedFails) {
  Replica replica = open_replica(path_);
  follow(replica, 5);
  SourceChange wrong = changes_[9];
  wrong.checksum = wrong.checksum.toggled(Checksum(1));
  EXPECT_EQ(seed_with(replica, images_[9], wrong).error().code(), ErrorCode::corrupt);
  EXPECT_EQ(replica.state(), ReplicaState::ready);
  const ReplicaSeed header{.txid = Txid(10),
                           .epoch = Epoch(1),
                           .page_size = 4096,
                           .page_count = changes_[9].page_count,
                           .checksum = std::nullopt};
  const auto broken = replica.seed(header, [&](PageNo number, std::span<std::byte> page) -> Status {
    if (number == PageNo(6)) return failure(ErrorCode::unavailable, "fetch", "snapshot", "gone");
    std::ranges::copy(images_[9][number.value() - 1], page.begin());
    return {};
  });
  EXPECT_EQ(broken.error().code(), ErrorCode::unavailable);
  EXPECT_EQ(replica.position().txid, Txid(5));
  EXPECT_EQ(outcome(replica.verify()), "ok");
  follow(replica, 20);
}

TEST_F(ReplicaLifecycle, IsWholeWhereverASeedIsKilled) {
  int kills = 0;
  for (const char* point : {"replica.seed.built", "replica.seed.recorded", "replica.seed.renamed",
                            "replica.record.slot", "replica.wal.frames", "replica.wal.published"}) {
    for (const bool over_old : {false, true}) {
      const auto path = directory_ / (std::string(point) + (over_old ? "1" : "0"));
      if (over_old) {
        ChildProcess first = ChildProcess::run([&] {
          Replica replica = open_replica(path);
          return seed_with(replica, images_[3], changes_[3]) ? 0 : 1;
        });
        ASSERT_EQ(first.wait(), "0");
      }
      ChildProcess killed = ChildProcess::run([&] {
        test::set_fault(point);
        Replica replica = open_replica(path);
        return seed_with(replica, images_[12], changes_[12]) ? 0 : 1;
      });
      kills += killed.wait() == "signal 9" ? 1 : 0;
      ChildProcess after = ChildProcess::run([&] {
        Replica replica = open_replica(path);
        if (replica.state() == ReplicaState::quarantined) return 1;
        const auto txid = replica.position().txid;
        if (replica.state() == ReplicaState::ready) {
          if (txid != Txid(13) && !(over_old && txid == Txid(4))) return 2;
          if (!replica.verify()) return 3;
        } else if (over_old) {
          return 4;
        }
        return seed_with(replica, images_[12], changes_[12]) && replica.verify() ? 0 : 5;
      });
      EXPECT_EQ(after.wait(), "0") << point << (over_old ? " over an old one" : "");
    }
  }
  // A new file passes the first four points, a WAL transaction over an old replica the last three.
  EXPECT_EQ(kills, 7);
}

TEST_F(ReplicaLifecycle, TrustsNothingAfterAPowerFailureButItsChecksum) {
  {
    Replica replica = open_replica(path_);
    follow(replica, 10);
  }
  test::pretend_reboot(path_.string() + "-position");
  {
    Replica replica = open_replica(path_);
    EXPECT_EQ(replica.state(), ReplicaState::ready);
    EXPECT_EQ(replica.position().txid, Txid(10));
  }
  // The disk lost the newest writes: the content is that of TXID 7, the record says 10.
  test::put_back(images_[6], path_);
  test::pretend_reboot(path_.string() + "-position");
  {
    Replica replica = open_replica(path_);
    EXPECT_EQ(replica.state(), ReplicaState::ready);
    EXPECT_EQ(replica.position().txid, Txid(7));
    follow(replica, 20);
    EXPECT_EQ(outcome(replica.verify()), "ok");
  }
  // The disk lost some of the writes only: no state that ever was.
  {
    auto file = base::open_file(path_, O_RDWR);
    ASSERT_TRUE(base::write_at(file->get(), base::as_bytes("garbage"), 3 * 4096 + 50, path_));
  }
  test::pretend_reboot(path_.string() + "-position");
  Replica replica = open_replica(path_);
  EXPECT_EQ(replica.state(), ReplicaState::quarantined);
  EXPECT_EQ(outcome(seed_with(replica, images_[9], changes_[9])), "ok");
  EXPECT_EQ(replica.position().txid, Txid(10));
  follow(replica, 20);
  EXPECT_EQ(outcome(replica.verify()), "ok");
}

// Three rows a page, all laid out alike: equal changes of two of them leave the checksum as it is.
TEST_F(ReplicaLifecycle, AppliesAgainWhatTheChecksumDoesNotShowAfterAPowerFailure) {
  ReplicaSource source(directory_ / "second.db", 4096);
  const auto path = directory_ / "second-replica.db";
  const auto first = source.commit(
      "CREATE TABLE flag(id INTEGER PRIMARY KEY, value INTEGER, filler BLOB);"
      "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 15)"
      "INSERT INTO flag SELECT n, 0, zeroblob(1300) FROM numbers");
  const Image before = source.image();
  const auto second = source.commit("UPDATE flag SET value = 1 WHERE id IN (4, 7)");
  ASSERT_EQ(second.checksum, first.checksum) << "the rows are not laid out alike";
  {
    Replica replica = open_replica(path);
    ASSERT_EQ(outcome(apply(replica, first)), "ok");
    ASSERT_EQ(outcome(apply(replica, second)), "ok");
    ASSERT_EQ(outcome(replica.checkpoint()), "ok");
  }
  test::put_back(before, path);
  test::pretend_reboot(path.string() + "-position");
  Replica replica = open_replica(path);
  ASSERT_EQ(replica.state(), ReplicaState::ready);
  EXPECT_EQ(replica.position().txid, Txid(1));
  ASSERT_EQ(outcome(apply(replica, second)), "ok");
  auto connection = Connection::open(path, SQLITE_OPEN_READWRITE);
  EXPECT_EQ(connection->query_integer("SELECT sum(value) FROM flag")->value_or(-1), 2);
}

// The content is that of the last of three states, the first of which has the same checksum: going on from
// there leads to wrong checksums, and nothing but a seed can tell what it is.
TEST_F(ReplicaLifecycle, SaysWhenItsPositionIsNoMoreThanAGuess) {
  ReplicaSource source(directory_ / "second.db", 4096);
  const auto path = directory_ / "second-replica.db";
  const std::vector<SourceChange> changes{
      source.commit("CREATE TABLE flag(id INTEGER PRIMARY KEY, value INTEGER, filler BLOB);"
                    "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 15)"
                    "INSERT INTO flag SELECT n, 0, zeroblob(1300) FROM numbers"),
      source.commit("UPDATE flag SET value = 1 WHERE id = 4"),
      source.commit("UPDATE flag SET value = 1 WHERE id = 7")};
  ASSERT_EQ(changes[2].checksum, changes[0].checksum) << "the rows are not laid out alike";
  const Image last = source.image();
  {
    Replica replica = open_replica(path);
    for (const SourceChange& change : changes) ASSERT_EQ(outcome(apply(replica, change)), "ok");
    EXPECT_FALSE(replica.position_is_doubtful());
  }
  test::pretend_reboot(path.string() + "-position");
  {
    Replica replica = open_replica(path);
    EXPECT_EQ(replica.position().txid, Txid(1));
    EXPECT_TRUE(replica.position_is_doubtful());
  }
  Replica replica = open_replica(path);
  EXPECT_TRUE(replica.position_is_doubtful()) << "a restart made it certain";
  EXPECT_EQ(replica.hand_over(false, std::chrono::milliseconds(0)).error().code(),
            ErrorCode::failed_precondition);
  EXPECT_EQ(apply(replica, changes[1]).error().code(), ErrorCode::corrupt);
  replica.distrust("it does not fit");
  EXPECT_EQ(replica.verify().error().code(), ErrorCode::corrupt) << "by a checksum that proves nothing";
  ASSERT_EQ(outcome(seed_with(replica, last, changes[2])), "ok");
  EXPECT_FALSE(replica.position_is_doubtful());
  EXPECT_EQ(outcome(replica.verify()), "ok");
}

// Another program wrote, which was noticed; the seed that should mend it is killed, at each place, or never
// begins.
TEST_F(ReplicaLifecycle, StillDistrustsWhatAnotherProgramWroteAfterAKillOfTheSeed) {
  int distrusted = 0;
  for (const char* point :
       {"", "replica.record.slot", "replica.record.written", "replica.wal.frames", "replica.wal.index"}) {
    const auto path = directory_ / (std::string("foreign-") + point);
    ChildProcess killed = ChildProcess::run([&] {
      Replica replica = open_replica(path);
      if (!seed_with(replica, images_[5], changes_[5])) return 1;
      auto other = Connection::open(path, SQLITE_OPEN_READWRITE);
      if (!other->execute("UPDATE state SET counter = 77")) return 2;
      if (apply(replica, changes_[6])) return 3;
      if (replica.state() != ReplicaState::quarantined) return 4;
      if (*point == '\0') ::kill(::getpid(), SIGKILL);
      test::set_fault(point);
      return seed_with(replica, images_[7], changes_[7]) ? 0 : 5;
    });
    ASSERT_EQ(killed.wait(), "signal 9") << point;
    Replica replica = open_replica(path);
    // The last of its frames may be there, and then the seed counts.
    if (replica.state() == ReplicaState::quarantined) {
      ++distrusted;
      EXPECT_EQ(replica.verify().error().code(), ErrorCode::corrupt) << point;
      ASSERT_EQ(outcome(seed_with(replica, images_[7], changes_[7])), "ok");
    }
    EXPECT_EQ(replica.position().txid, changes_[7].txid) << point;
    ASSERT_EQ(outcome(apply(replica, changes_[8])), "ok");
    EXPECT_EQ(outcome(replica.verify()), "ok");
  }
  EXPECT_EQ(distrusted, 3);
}

TEST_F(ReplicaLifecycle, DoubtsItsPositionNoLongerWhenTheLastOneThatItCouldBeIsPassed) {
  {
    Replica replica = open_replica(path_);
    follow(replica, 10);
  }
  test::put_back(images_[6], path_);
  test::pretend_reboot(path_.string() + "-position");
  Replica replica = open_replica(path_);
  follow(replica, 9);
  EXPECT_TRUE(replica.position_is_doubtful());
  // What the log holds beyond may be in the WAL and not in the record.
  replica.note_log_end(Txid(12));
  follow(replica, 11);
  EXPECT_TRUE(replica.position_is_doubtful());
  replica.note_log_end(Txid(14));
  follow(replica, 12);
  EXPECT_FALSE(replica.position_is_doubtful());
}

TEST_F(ReplicaLifecycle, DoesNotWaitForAReaderThatStays) {
  ReplicaSource source(directory_ / "second.db", 4096);
  Workload workload(5);
  Replica replica = open_replica(path_);
  ASSERT_EQ(outcome(apply(replica, source.commit(Workload::schema()))), "ok");
  auto reader = Connection::open(path_, SQLITE_OPEN_READWRITE);
  ASSERT_EQ(outcome(apply(replica, source.commit(workload.next()))), "ok");
  ASSERT_EQ(outcome(reader->execute("BEGIN")), "ok");
  EXPECT_EQ(counter_in(*reader), 2);
  for (int round = 0; round < 600; ++round) {
    ASSERT_EQ(outcome(apply(replica, source.commit(workload.next()))), "ok");
  }
  EXPECT_GT(replica.statistics().wal_frames, 1000U);
  EXPECT_EQ(counter_in(*reader), 2);
  {
    auto second = Connection::open(path_, SQLITE_OPEN_READWRITE);
    EXPECT_EQ(counter_in(*second), 602);
  }
  ASSERT_EQ(outcome(reader->execute("COMMIT")), "ok");
  ASSERT_EQ(outcome(replica.checkpoint()), "ok");
  ASSERT_EQ(outcome(apply(replica, source.commit(workload.next()))), "ok");
  EXPECT_LT(replica.statistics().wal_frames, 500U);
  EXPECT_EQ(outcome(replica.verify()), "ok");
}

TEST_F(ReplicaLifecycle, RecoversByItselfFromAFullDisk) {
  const auto mount_point = directory_ / "small";
  std::filesystem::create_directory(mount_point);
  if (::mount("tmpfs", mount_point.c_str(), "tmpfs", 0, "size=1800k") != 0) {
    GTEST_SKIP() << "mounting a small file system needs privileges";
  }
  {
    Replica replica = open_replica(mount_point / "replica.db");
    bool full = false;
    int failures = 0;
    for (std::size_t next = 0; next < changes_.size();) {
      if (next == 5 && !full) {
        // Something else takes all the space.
        std::ofstream hog(mount_point / "hog", std::ios::binary);
        const std::string block(4096, 'x');
        while (hog.write(block.data(), 4096) && hog.flush()) {
        }
        full = true;
      }
      const auto applied = apply(replica, changes_[next]);
      if (applied) {
        ++next;
        continue;
      }
      EXPECT_EQ(applied.error().code(), ErrorCode::resource_exhausted) << applied.error().message();
      EXPECT_EQ(replica.state(), ReplicaState::ready);
      EXPECT_EQ(replica.position().txid, Txid(next));
      ASSERT_LT(++failures, 3);
      std::filesystem::remove(mount_point / "hog");
    }
    EXPECT_GT(failures, 0);
    EXPECT_EQ(outcome(replica.verify()), "ok");
  }
  ::umount(mount_point.c_str());
}

TEST_F(ReplicaLifecycle, SaysSoOnAReadOnlyFileSystem) {
  const auto mount_point = directory_ / "fixed";
  std::filesystem::create_directory(mount_point);
  if (::mount("tmpfs", mount_point.c_str(), "tmpfs", 0, "size=8m") != 0) {
    GTEST_SKIP() << "mounting a file system needs privileges";
  }
  {
    Replica replica = open_replica(mount_point / "replica.db");
    follow(replica, 5);
  }
  ASSERT_EQ(::mount("tmpfs", mount_point.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, "size=8m"), 0);
  const auto refused = Replica::open(options_for(mount_point / "replica.db"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::permission_denied);
  ASSERT_EQ(::mount("tmpfs", mount_point.c_str(), "tmpfs", MS_REMOUNT, "size=8m"), 0);
  {
    Replica replica = open_replica(mount_point / "replica.db");
    EXPECT_EQ(replica.position().txid, Txid(5));
    follow(replica, 20);
  }
  ::umount(mount_point.c_str());
}

TEST_F(ReplicaLifecycle, BecomesAPrimaryAndAReplicaAgain) {
  const auto primary = directory_ / "primary.db";
  {
    Replica replica = open_replica(path_);
    follow(replica, 12);
    const auto handover = replica.hand_over(true, std::chrono::milliseconds(100));
    ASSERT_TRUE(handover) << handover.error().message();
    EXPECT_TRUE(handover->wal_is_empty);
    EXPECT_EQ(handover->position.txid, Txid(12));
    EXPECT_EQ(outcome(apply(replica, changes_[12])).find("ok"), std::string::npos);
  }
  ASSERT_EQ(outcome(move_database(path_, primary)), "ok");
  EXPECT_FALSE(std::filesystem::exists(path_));
  Image image;
  {
    const auto bytes = *base::read_file(primary, 1U << 30U);
    for (std::size_t at = 0; at < bytes.size(); at += 4096) {
      image.emplace_back(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                         bytes.begin() + static_cast<std::ptrdiff_t>(at + 4096));
    }
  }
  EXPECT_EQ(image, images_[11]);
  {
    // It is written as a primary, and comes back.
    auto connection = Connection::open(primary, SQLITE_OPEN_READWRITE);
    ASSERT_EQ(outcome(connection->execute("UPDATE state SET counter = 13")), "ok");
  }
  ASSERT_EQ(outcome(move_database(primary, path_)), "ok");
  Replica replica = open_replica(path_);
  EXPECT_EQ(replica.state(), ReplicaState::quarantined) << "content and record disagree";
  const auto checksum = replica.scan();
  ASSERT_TRUE(checksum);
  EXPECT_EQ(replica.adopt({Txid(13), checksum->toggled(Checksum(1)), Epoch(2)}).error().code(),
            ErrorCode::corrupt);
  EXPECT_EQ(outcome(replica.adopt({Txid(13), *checksum, Epoch(2)})), "ok");
  EXPECT_EQ(replica.position().epoch, Epoch(2));
  EXPECT_EQ(apply(replica, changes_[13]).error().code(), ErrorCode::deposed);
}

TEST_F(ReplicaLifecycle, ItsNewOwnerNeedNotReadWhatItReadBefore) {
  const auto primary = directory_ / "primary.db";
  std::optional<Handover> handover;
  {
    Replica replica = open_replica(path_);
    follow(replica, 12);
    handover = *replica.hand_over(false, std::chrono::milliseconds(100));
  }
  ASSERT_EQ(outcome(move_database(path_, primary)), "ok");
  const LogEnd end{.txid = Txid(12), .checksum = handover->position.checksum, .epoch = Epoch(1)};
  const auto attach = [&] {
    DatabaseOptions options;
    options.path = primary;
    options.state_directory = directory_ / "state";
    options.handover = handover;
    auto database = Database::attach(std::move(options), end);
    EXPECT_TRUE(database) << database.error().message();
    std::filesystem::remove_all(directory_ / "state");
    return (*database)->attach_report();
  };
  EXPECT_EQ(attach().outcome, AttachOutcome::verified);
  EXPECT_EQ(attach().pages_read, 0U);
  {
    auto connection = Connection::open(primary, SQLITE_OPEN_READWRITE);
    ASSERT_EQ(outcome(connection->execute("UPDATE state SET counter = 13")), "ok");
  }
  EXPECT_GT(attach().pages_read, 0U) << "somebody wrote in between";
  EXPECT_EQ(attach().outcome, AttachOutcome::complete);
}

// As the disk does it; in another process: closing a descriptor of the file here would drop the replica's
// locks.
void flip_a_bit(const std::filesystem::path& path, std::uint64_t offset) {
  ChildProcess disk = ChildProcess::run([&] {
    const auto file = base::open_file(path, O_RDWR);
    base::Bytes byte(1);
    if (!base::read_at(file->get(), byte, offset, path)) return 1;
    byte[0] ^= std::byte{1};
    return base::write_at(file->get(), byte, offset, path) ? 0 : 2;
  });
  ASSERT_EQ(disk.wait(), "0");
}

TEST_F(ReplicaLifecycle, AScrubFindsWhatRottedUnseen) {
  {
    Replica replica = open_replica(path_);
    follow(replica, 12);
  }
  Replica replica = open_replica(path_);
  ASSERT_EQ(replica.state(), ReplicaState::ready);
  flip_a_bit(path_, 2 * 4096 + 1000);
  Result<bool> more = true;
  while (more && *more) more = replica.scrub(1);
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code(), ErrorCode::corrupt);
  EXPECT_EQ(replica.state(), ReplicaState::quarantined);
}

TEST_F(ReplicaLifecycle, AnotherScrubFindsWhatRottedAfterTheFirst) {
  {
    Replica replica = open_replica(path_);
    follow(replica, 12);
  }
  Replica replica = open_replica(path_);
  const auto scrub_again = [&] {
    Result<bool> more = true;
    while (more && *more) more = replica.scrub_again(1);
    return more;
  };
  EXPECT_EQ(scrub_again().error().code(), ErrorCode::failed_precondition) << "there was none yet";
  Result<bool> more = true;
  while (more && *more) more = replica.scrub(1);
  ASSERT_TRUE(more);
  follow(replica, 14);
  ASSERT_TRUE(scrub_again());
  ASSERT_TRUE(scrub_again()) << "from the beginning each time";
  flip_a_bit(path_, 2 * 4096 + 1000);
  more = scrub_again();
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code(), ErrorCode::corrupt);
  EXPECT_EQ(replica.state(), ReplicaState::quarantined);
}

TEST_F(ReplicaLifecycle, IsHandedOverWithReadersThatStayCoherent) {
  const auto primary = directory_ / "primary.db";
  std::optional<Replica> replica = open_replica(path_);
  follow(*replica, 6);
  auto old_reader = Connection::open(path_, SQLITE_OPEN_READWRITE);
  ASSERT_EQ(outcome(old_reader->execute("BEGIN")), "ok");
  EXPECT_EQ(counter_in(*old_reader), 6);
  follow(*replica, 12);
  const auto handover = replica->hand_over(false, std::chrono::milliseconds(20));
  ASSERT_TRUE(handover) << handover.error().message();
  EXPECT_FALSE(handover->wal_is_empty);
  replica.reset();
  ASSERT_EQ(outcome(move_database(path_, primary)), "ok");
  // In another process, as the application is: the new primary goes on at once.
  ChildProcess application = ChildProcess::run([&] {
    auto connection = Connection::open(primary, SQLITE_OPEN_READWRITE);
    connection->set_busy_timeout(std::chrono::seconds(5));
    if (counter_in(*connection) != 12) return 1;
    if (!connection->execute("UPDATE state SET counter = 100; PRAGMA wal_checkpoint(PASSIVE)")) return 2;
    return counter_in(*connection) == 100 ? 0 : 3;
  });
  EXPECT_EQ(application.wait(), "0");
  EXPECT_EQ(counter_in(*old_reader), 6) << "the old snapshot holds";
  ASSERT_EQ(outcome(old_reader->execute("COMMIT")), "ok");
  EXPECT_EQ(counter_in(*old_reader), 100) << "and the old connection sees what the new primary commits";
  old_reader = Connection::open(primary, SQLITE_OPEN_READWRITE);
  EXPECT_EQ(old_reader->query_text("PRAGMA integrity_check")->value_or(""), "ok");
}

}  // namespace
}  // namespace litecluster::db
