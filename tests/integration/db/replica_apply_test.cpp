// A replica against real SQLite: what it holds after each change is what the source held.
#include "db/replica.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.hpp"
#include "support/replica_source.hpp"
#include "support/temporary_directory.hpp"

namespace litecluster::db {
namespace {

using test::ReplicaSource;
using test::SourceChange;
using test::Workload;

ReplicaOptions options_for(const std::filesystem::path& path) {
  ReplicaOptions options;
  options.path = path;
  options.sync = false;
  options.checkpoint_frames = 200;
  options.background_checkpoints = false;
  return options;
}

#define ASSERT_OK(expression)                                           \
  do {                                                                  \
    const auto& checked = (expression);                                 \
    ASSERT_TRUE(checked) << (checked ? "" : checked.error().message()); \
  } while (false)

test::Image image_of_file(const std::filesystem::path& path, std::uint32_t page_size) {
  const auto bytes = *base::read_file(path, 1ULL << 32U);
  test::Image image;
  for (std::size_t at = 0; at < bytes.size(); at += page_size) {
    image.emplace_back(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                       bytes.begin() + static_cast<std::ptrdiff_t>(at + page_size));
  }
  return image;
}

std::string integrity(const std::filesystem::path& path) {
  auto connection = Connection::open(path, SQLITE_OPEN_READWRITE);
  return connection->query_text("PRAGMA integrity_check")->value_or("nothing");
}

struct Shape {
  std::uint32_t page_size;
  bool auto_vacuum;
};

class ReplicaOfEveryShape : public testing::TestWithParam<Shape> {};

TEST_P(ReplicaOfEveryShape, EqualsItsSourceAtEveryTxid) {
  const test::TemporaryDirectory directory;
  ReplicaSource source(directory / "source.db", GetParam().page_size, GetParam().auto_vacuum);
  Workload workload(GetParam().page_size);
  auto replica = Replica::open(options_for(directory / "replica.db"));
  ASSERT_OK(replica);
  EXPECT_EQ(replica->state(), ReplicaState::empty);
  ASSERT_OK(apply(*replica, source.commit(Workload::schema())));
  // LITECLUSTER_EQUALITY_TXIDS=10000 for a long run.
  const char* const rounds = std::getenv("LITECLUSTER_EQUALITY_TXIDS");
  for (int round = 0; round < (rounds == nullptr ? 150 : std::atoi(rounds)); ++round) {
    const SourceChange change = source.commit(workload.next());
    ASSERT_OK(apply(*replica, change));
    ASSERT_EQ(replica->position(), (ReplicaPosition{change.txid, change.checksum, Epoch(1)}));
    ASSERT_EQ(replica->page_count(), change.page_count);
    ASSERT_EQ(*replica->scan(), change.checksum);
  }
  EXPECT_GT(replica->statistics().wal_restarts, 0U);
  ASSERT_OK(replica->verify());
  const auto handover = replica->hand_over(true, std::chrono::milliseconds(100));
  ASSERT_OK(handover);
  EXPECT_TRUE(handover->wal_is_empty);
  EXPECT_EQ(image_of_file(directory / "replica.db", GetParam().page_size), source.image());
  EXPECT_EQ(integrity(directory / "replica.db"), "ok");
}

INSTANTIATE_TEST_SUITE_P(PageSizes, ReplicaOfEveryShape,
                         testing::Values(Shape{512, false}, Shape{1024, false}, Shape{4096, false},
                                         Shape{4096, true}, Shape{16384, false}, Shape{65536, false}),
                         [](const auto& shape) {
                           return std::to_string(shape.param.page_size) +
                                  (shape.param.auto_vacuum ? "AutoVacuum" : "");
                         });

class ReplicaTest : public testing::Test {
 protected:
  ReplicaTest() : source_(directory_ / "source.db", 4096) {
    changes_.push_back(source_.commit(Workload::schema()));
    for (int count = 0; count < 20; ++count) changes_.push_back(source_.commit(workload_.next()));
  }

  Replica open() {
    auto replica = Replica::open(options_for(path_));
    test::require(replica.has_value(), replica ? "" : replica.error().message());
    return std::move(*replica);
  }

  // Brings `replica` to the end of changes_[0 .. count).
  void follow(Replica& replica, std::size_t count) {
    while (replica.position().txid.value() < count) {
      ASSERT_OK(apply(replica, changes_[replica.position().txid.value()]));
    }
  }

  std::int64_t counter() {
    auto connection = Connection::open(path_, SQLITE_OPEN_READWRITE);
    return connection->query_integer("SELECT counter FROM state")->value_or(-1);
  }

  test::TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_ / "replica.db";
  ReplicaSource source_;
  Workload workload_;
  std::vector<SourceChange> changes_;
};

TEST_F(ReplicaTest, ContinuesFromItsPositionAfterACleanClose) {
  {
    Replica replica = open();
    follow(replica, 10);
    ASSERT_OK(replica.close());
  }
  EXPECT_FALSE(std::filesystem::exists(directory_ / "replica.db-wal"));
  Replica replica = open();
  EXPECT_EQ(replica.state(), ReplicaState::ready);
  EXPECT_EQ(replica.position().txid, Txid(10));
  follow(replica, 20);
  ASSERT_OK(replica.verify());
}

TEST_F(ReplicaTest, ContinuesAlthoughAReaderCheckpointedAndRemovedTheWalMeanwhile) {
  std::filesystem::create_directory(directory_ / "copy");
  {
    Replica replica = open();
    follow(replica, 10);
    // What kill -9 leaves: the three files as they are now.
    for (const char* name : {"replica.db", "replica.db-wal", "replica.db-position"}) {
      std::filesystem::copy(directory_ / name, directory_ / "copy" / name);
    }
    // Same inode as far as the record is concerned: move the copies over the originals' content.
  }
  for (const char* name : {"replica.db", "replica.db-wal", "replica.db-position"}) {
    const auto bytes = *base::read_file(directory_ / "copy" / name, 1ULL << 30U);
    auto file = base::open_file(directory_ / name, O_RDWR | O_CREAT | O_TRUNC);
    ASSERT_OK(base::write_at(file->get(), bytes, 0, directory_ / name));
  }
  EXPECT_EQ(counter(), 10);  // this reader recovers, reads, and as the last one checkpoints on closing
  EXPECT_FALSE(std::filesystem::exists(directory_ / "replica.db-wal"));
  Replica replica = open();
  EXPECT_EQ(replica.state(), ReplicaState::ready);
  EXPECT_EQ(replica.position().txid, Txid(10));
  follow(replica, 21);
  ASSERT_OK(replica.verify());
}

TEST_F(ReplicaTest, IsNotChangedByAnythingThatDoesNotFit) {
  Replica replica = open();
  follow(replica, 10);
  const auto content = *replica.scan();
  const SourceChange good = changes_[10];
  std::vector<ReplicaPage> views;
  const auto refused = [&](const ReplicaChange& change, ErrorCode code) {
    const auto applied = replica.apply(change);
    ASSERT_FALSE(applied);
    EXPECT_EQ(applied.error().code(), code) << applied.error().message();
    EXPECT_EQ(replica.state(), ReplicaState::ready);
    EXPECT_EQ(*replica.scan(), content);
    EXPECT_EQ(counter(), 10);
  };
  const auto with = [&](auto edit) {
    ReplicaChange change = good.view(views);
    edit(change);
    return change;
  };
  refused(with([](auto& change) { change.txid_first = change.txid_last = Txid(12); }), ErrorCode::gap);
  refused(with([](auto& change) { change.txid_first = change.txid_last = Txid(10); }),
          ErrorCode::already_exists);
  refused(with([](auto& change) { change.txid_first = Txid(0); }), ErrorCode::corrupt);
  refused(with([](auto& change) { change.epoch = Epoch(0); }), ErrorCode::deposed);
  refused(with([](auto& change) { change.page_size = 512; }), ErrorCode::corrupt);
  refused(with([](auto& change) { change.page_count = 0; }), ErrorCode::corrupt);
  refused(with([](auto& change) { change.page_count += 1; }), ErrorCode::corrupt);
  refused(with([](auto& change) { change.pages = {}; }), ErrorCode::corrupt);
  refused(with([&](auto&) { views.back().bytes = views.back().bytes.first(100); }), ErrorCode::corrupt);
  refused(with([&](auto&) { views.back().number = views.front().number; }), ErrorCode::corrupt);
  base::Bytes rollback_mode = changes_[0].pages[0].second;
  rollback_mode[18] = rollback_mode[19] = std::byte{1};
  refused(with([&](auto& change) {
            views.front() = {PageNo(1), rollback_mode};
            change.checksum.reset();
          }),
          ErrorCode::unsupported);
  follow(replica, 21);
}

TEST_F(ReplicaTest, QuarantinesItselfBeforeAWrongChecksumBecomesVisible) {
  Replica replica = open();
  follow(replica, 10);
  SourceChange wrong = changes_[10];
  wrong.pages.back().second.back() ^= std::byte{1};
  const auto applied = apply(replica, wrong);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().code(), ErrorCode::corrupt);
  EXPECT_EQ(replica.state(), ReplicaState::quarantined);
  EXPECT_EQ(counter(), 10);
  EXPECT_EQ(apply(replica, changes_[10]).error().code(), ErrorCode::failed_precondition);
  ASSERT_OK(replica.verify());
  EXPECT_EQ(replica.state(), ReplicaState::ready);
  follow(replica, 21);
}

TEST_F(ReplicaTest, AppliesACompactedRangeThatOverlapsItsPosition) {
  Replica replica = open();
  follow(replica, 5);
  std::map<PageNo, base::Bytes> merged;
  for (std::size_t index = 2; index < 12; ++index) {
    for (const auto& [number, bytes] : changes_[index].pages) merged[number] = bytes;
  }
  SourceChange compacted = changes_[11];
  compacted.pages.clear();
  for (auto& [number, bytes] : merged) {
    if (number.value() <= compacted.page_count) compacted.pages.emplace_back(number, bytes);
  }
  std::vector<ReplicaPage> views;
  ReplicaChange change = compacted.view(views);
  change.txid_first = Txid(3);
  ASSERT_OK(replica.apply(change));
  EXPECT_EQ(replica.position().txid, Txid(12));
  follow(replica, 21);
  ASSERT_OK(replica.verify());
}

TEST_F(ReplicaTest, NoticesAnotherWriter) {
  Replica replica = open();
  follow(replica, 10);
  {
    auto other = Connection::open(path_, SQLITE_OPEN_READWRITE);
    ASSERT_OK(other->execute("UPDATE accounts SET balance = balance + 1 WHERE id = 7"));
  }
  const auto applied = apply(replica, changes_[10]);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().code(), ErrorCode::failed_precondition);
  EXPECT_EQ(replica.state(), ReplicaState::quarantined);
  EXPECT_FALSE(replica.verify());
}

TEST_F(ReplicaTest, NoticesAnotherWriterThatCameWhileItWasDown) {
  {
    Replica replica = open();
    follow(replica, 10);
  }
  {
    auto other = Connection::open(path_, SQLITE_OPEN_READWRITE);
    ASSERT_OK(other->execute("UPDATE accounts SET balance = balance + 1 WHERE id = 7"));
  }
  const Replica replica = open();
  EXPECT_EQ(replica.state(), ReplicaState::quarantined);
}

TEST_F(ReplicaTest, IsNotDisturbedByOthersCheckpoints) {
  Replica replica = open();
  for (std::size_t count = 1; count <= changes_.size(); ++count) {
    follow(replica, count);
    auto other = Connection::open(path_, SQLITE_OPEN_READWRITE);
    ASSERT_OK(other->execute(count % 3 == 0   ? "PRAGMA wal_checkpoint(TRUNCATE)"
                             : count % 3 == 1 ? "PRAGMA wal_checkpoint(RESTART)"
                                              : "PRAGMA wal_checkpoint(PASSIVE)"));
  }
  ASSERT_OK(replica.verify());
}

TEST_F(ReplicaTest, NoticesThatItsFileWasReplacedOrDeleted) {
  for (const char* suffix : {"", "-wal", "-shm"}) {
    for (const bool replaced : {false, true}) {
      Replica replica = open();
      std::vector<ReplicaPage> views;
      if (replica.state() != ReplicaState::ready) {
        ASSERT_OK(replica.seed({.txid = Txid(1),
                                .epoch = Epoch(1),
                                .page_size = 4096,
                                .page_count = changes_[0].page_count,
                                .checksum = changes_[0].checksum},
                               [&](PageNo number, std::span<std::byte> page) -> Status {
                                 const auto& bytes = changes_[0].pages[number.value() - 1].second;
                                 std::copy(bytes.begin(), bytes.end(), page.begin());
                                 return {};
                               }));
      }
      follow(replica, 10);
      const std::filesystem::path victim = path_.string() + suffix;
      std::filesystem::remove(victim);
      if (replaced) ASSERT_OK(base::write_file_durably(victim, base::as_bytes("something else")));
      const auto applied = apply(replica, changes_[10]);
      ASSERT_FALSE(applied) << victim;
      EXPECT_EQ(replica.state(), ReplicaState::quarantined);
    }
  }
}

TEST_F(ReplicaTest, HeedsOneProcessAtATime) {
  const Replica replica = open();
  const auto second = Replica::open(options_for(path_));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::busy);
}

TEST_F(ReplicaTest, SurvivesAWriteThatFailsHalfWay) {
  Replica replica = open();
  follow(replica, 10);
  // The record file cannot fail here; the WAL can: a limit on file sizes stands for a full disk.
  const auto wal_size = std::filesystem::file_size(directory_ / "replica.db-wal");
  struct rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit tight{wal_size + 1000, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &tight);
  const auto applied = apply(replica, changes_[10]);
  ::setrlimit(RLIMIT_FSIZE, &before);
  ASSERT_FALSE(applied);
  EXPECT_EQ(replica.state(), ReplicaState::ready);
  EXPECT_EQ(replica.position().txid, Txid(10));
  EXPECT_EQ(counter(), 10);
  follow(replica, 21);
  ASSERT_OK(replica.verify());
}

}  // namespace
}  // namespace litecluster::db
