// The whole way of a commit, from the application's WAL over the log to the replica, at every single TXID:
//
//   truth     the primary's pages, read through SQLite while nobody writes
//   restored  what the objects of the log add up to, put together here page by page
//   replica   the replica's pages, read through SQLite, and the checksum that the follower says it has
//
// All four must be equal. The checksum is computed here by a table of its own.
//
// LITECLUSTER_EQUALITY_TXIDS=10000 is the full size, divided among the page sizes.
#include <array>
#include <cstdlib>
#include <iostream>
#include <map>

#include "base/mutex.hpp"
#include "db/empty_database.hpp"
#include "ltx/decoder.hpp"
#include "ltx/stream.hpp"
#include "replication/leader_session.hpp"
#include "replication/session_options.hpp"
#include "standby_fixture.hpp"

namespace litecluster::replication {
namespace {

using test::soon;

// CRC-64 of ISO 3309 (reversed polynomial), bit by bit into a table.
class PageCrc {
 public:
  PageCrc() {
    for (std::uint64_t index = 0; index < table_.size(); ++index) {
      std::uint64_t crc = index;
      for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xD800000000000000U : crc >> 1;
      table_[index] = crc;
    }
  }
  [[nodiscard]] std::uint64_t of(std::uint32_t page, base::ByteView bytes) const {
    std::array<std::byte, 4> number{};
    for (std::size_t index = 0; index < 4; ++index)
      number[index] = static_cast<std::byte>(page >> (24 - 8 * index));
    std::uint64_t crc = ~std::uint64_t{0};
    for (const base::ByteView part : {base::ByteView(number), bytes}) {
      for (const std::byte byte : part) {
        crc = table_[(crc ^ static_cast<std::uint64_t>(byte)) & 0xFF] ^ (crc >> 8);
      }
    }
    return ~crc;
  }

 private:
  std::array<std::uint64_t, 256> table_{};
};

using Pages = std::vector<base::Bytes>;

class Equality : public test::StandbyTest {
 protected:
  [[nodiscard]] std::uint64_t checksum_of(const Pages& pages) const {
    std::uint64_t sum = 0;
    for (std::size_t index = 0; index < pages.size(); ++index) {
      sum ^= crc_.of(static_cast<std::uint32_t>(index + 1), pages[index]);
    }
    return sum | (std::uint64_t{1} << 63U);
  }

  static Pages pages_through_sqlite(db::Connection& connection, std::size_t page_size) {
    sqlite3_int64 size = 0;
    const std::unique_ptr<unsigned char, decltype(&::sqlite3_free)> image(
        ::sqlite3_serialize(connection.handle(), "main", &size, 0), ::sqlite3_free);
    litecluster::test::require(image != nullptr, "sqlite3_serialize");
    Pages pages(static_cast<std::size_t>(size) / page_size);
    const auto* bytes = reinterpret_cast<const std::byte*>(image.get());
    for (std::size_t index = 0; index < pages.size(); ++index) {
      pages[index].assign(bytes + index * page_size, bytes + (index + 1) * page_size);
    }
    return pages;
  }

  // The next TXID out of the bucket.
  void restore_one(Txid txid, Pages& pages) {
    const auto object = bucket_->info(soon(), log::ObjectName::raw(txid));
    ASSERT_OK(object);
    base::Bytes bytes;
    ASSERT_OK(bucket_->get(soon(), *object, [&](base::ByteView part) -> Status {
      base::append_bytes(bytes, part);
      return {};
    }));
    ltx::MemorySource source(bytes, to_string(object->name));
    ltx::Decoder decoder(source);
    const auto header = decoder.read_header();
    ASSERT_OK(header);
    pages.resize(header->commit, base::Bytes(header->page_size));
    while (true) {
      const auto page = decoder.next_page();
      ASSERT_OK(page);
      if (!*page) break;
      pages[(*page)->number.value() - 1].assign((*page)->bytes.begin(), (*page)->bytes.end());
    }
  }

  void follow_everywhere(std::uint32_t page_size, std::uint64_t txids);

  PageCrc crc_;
};

void Equality::follow_everywhere(std::uint32_t page_size, std::uint64_t txids) {
  SCOPED_TRACE("page size " + std::to_string(page_size));
  const auto primary = directory_ / "app.db";
  {
    auto connection = db::Connection::open(primary, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    ASSERT_OK(connection->execute("PRAGMA page_size=" + std::to_string(page_size) +
                                  "; PRAGMA journal_mode=WAL; " + test::Workload::schema()));
  }
  Sqlite sqlite;
  sqlite.path = primary;
  auto session = LeaderSession::take_over(soon(), leader_session_options(sqlite, "node-1"),
                                          database_options(sqlite), *bucket_);
  ASSERT_OK(session);
  auto application = db::Connection::open(primary, SQLITE_OPEN_READWRITE);
  application->set_busy_timeout(std::chrono::seconds(10));

  base::Mutex mutex;
  std::map<std::uint64_t, Checksum> said;
  FollowerOptions options = follower_options();
  options.on_applied = [&](const db::ReplicaPosition& position) {
    const base::MutexLock lock(mutex);
    said[position.txid.value()] = position.checksum;
  };
  ASSERT_OK((*session)->publisher().sync(soon()));
  start_follower(std::move(options));
  ASSERT_TRUE(reaches((*session)->publisher().position().txid));
  auto reader = db::Connection::open(path_, SQLITE_OPEN_READWRITE);
  auto witness = db::Connection::open(primary, SQLITE_OPEN_READWRITE);
  test::Workload workload(page_size);
  Pages restored;
  Txid reached;
  std::map<std::uint64_t, std::uint64_t> sums;
  std::uint64_t compared = 0;
  while (reached.value() < txids) {
    const Position position = (*session)->publisher().position();
    while (reached < position.txid) {
      reached = reached.next();
      restore_one(reached, restored);
      if (HasFatalFailure()) return;
      sums[reached.value()] = checksum_of(restored);
    }
    ASSERT_TRUE(reaches(reached)) << problem();
    const std::string at = to_string(reached);
    const Pages truth = pages_through_sqlite(*witness, page_size);
    const std::uint64_t expected = checksum_of(truth);
    ASSERT_EQ(position.checksum.value(), expected) << "the publisher's at " << at;
    ASSERT_EQ(checksum_of(restored), expected) << "the restored database's at " << at;
    ASSERT_EQ(follower_->position().checksum.value(), expected) << "the follower's at " << at;
    ASSERT_EQ(checksum_of(pages_through_sqlite(*reader, page_size)), expected)
        << "the replica's pages at " << at;
    ++compared;
    ASSERT_OK(application->execute(workload.next()));
    ASSERT_OK((*session)->publisher().sync(soon()));
  }
  session->reset();
  // Some transactions were two TXIDs, and only the second was waited for: the follower's word is compared.
  std::uint64_t words = 0;
  {
    const base::MutexLock lock(mutex);
    for (const auto& [txid, sum] : sums) {
      const auto found = said.find(txid);
      if (found == said.end()) continue;
      ++words;
      ASSERT_EQ(found->second.value(), sum) << txid;
    }
  }
  std::cout << "page size " << page_size << ": " << compared << " of " << reached.value()
            << " TXIDs compared by all pages, " << words << " by the follower's checksum, " << restored.size()
            << " pages at the end" << std::endl;
  EXPECT_GE(compared * 10, reached.value() * 8);
  EXPECT_GE(words, sums.size() - 1) << "the first TXID may be part of the seed";
  auto feeder = follower_->stop();
  follower_.reset();
  EXPECT_OK(feeder->replica().verify());
}

TEST_F(Equality, OfReplicaAndPrimaryAtEveryTxid) {
  const char* const text = std::getenv("LITECLUSTER_EQUALITY_TXIDS");
  const std::uint64_t txids = text == nullptr ? 240 : std::strtoull(text, nullptr, 10);
  int number = 0;
  for (const std::uint32_t page_size : {4096U, 512U, 65536U}) {
    // Each page size is a database, a bucket and a replica of its own.
    const std::string bucket = "equality-" + std::to_string(page_size);
    auto store = nats::create_object_store(soon(), nats::JetStream(connection_), bucket);
    ASSERT_OK(store);
    bucket_ = log::make_nats_object_bucket(std::move(*store));
    const auto directory = directory_ / std::to_string(page_size);
    std::filesystem::create_directory(directory);
    path_ = directory / "replica.db";
    follow_everywhere(page_size, number++ == 0 ? txids / 2 : txids / 4);
    if (HasFatalFailure()) return;
    std::filesystem::rename(directory_ / "app.db", directory / "app.db");
    for (const char* rest : {"app.db-wal", "app.db-shm", ".app.db-litecluster"}) {
      std::error_code ignored;
      std::filesystem::remove_all(directory_ / rest, ignored);
    }
  }
}

}  // namespace
}  // namespace litecluster::replication
