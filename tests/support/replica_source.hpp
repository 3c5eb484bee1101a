// A source database for tests of replicas: runs transactions on a real SQLite file and says after each which
// pages changed, by comparing the file with what it was before.
#pragma once

#include <sqlite3.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/bytes.hpp"
#include "db/replica.hpp"
#include "db/sqlite.hpp"
#include "ltx/checksum.hpp"
#include "ltx/format.hpp"

namespace litecluster::test {

/// A change with pages of its own.
struct SourceChange {
  Txid txid;
  std::uint32_t page_size = 0;
  std::uint32_t page_count = 0;
  Checksum checksum;
  std::vector<std::pair<PageNo, base::Bytes>> pages;

  /// Valid while `views` and this live.
  [[nodiscard]] db::ReplicaChange view(std::vector<db::ReplicaPage>& views, Epoch epoch = Epoch(1)) const {
    views.clear();
    for (const auto& [number, bytes] : pages) views.push_back({number, bytes});
    return {.txid_first = txid,
            .txid_last = txid,
            .epoch = epoch,
            .page_size = page_size,
            .page_count = page_count,
            .pages = views,
            .checksum = checksum};
  }
};

/// An image of a whole database, page by page.
using Image = std::vector<base::Bytes>;

inline void require(bool condition, const std::string& what) {
  if (condition) return;
  std::cerr << "test support: " << what << std::endl;
  std::abort();
}

/// "ok", or what went wrong.
inline std::string outcome(const Status& status) {
  return status ? "ok" : status.error().message();
}

inline Status apply(db::Replica& replica, const SourceChange& change, Epoch epoch = Epoch(1)) {
  std::vector<db::ReplicaPage> views;
  return replica.apply(change.view(views, epoch));
}

inline Status seed_with(db::Replica& replica, const Image& image, const SourceChange& at) {
  const db::ReplicaSeed seed{.txid = at.txid,
                             .epoch = Epoch(1),
                             .page_size = at.page_size,
                             .page_count = at.page_count,
                             .checksum = at.checksum};
  return replica.seed(seed, [&](PageNo number, std::span<std::byte> page) -> Status {
    std::ranges::copy(image[number.value() - 1], page.begin());
    return {};
  });
}

inline Checksum checksum_of_image(const Image& image, std::uint32_t page_size) {
  Checksum sum;
  for (std::size_t index = 0; index < image.size(); ++index) {
    const PageNo number(static_cast<std::uint32_t>(index + 1));
    if (number != ltx::lock_page(page_size)) sum = sum.toggled(ltx::page_checksum(number, image[index]));
  }
  return sum;
}

class ReplicaSource {
 public:
  ReplicaSource(const std::filesystem::path& path, std::uint32_t page_size, bool auto_vacuum = false)
      : connection_(*db::Connection::open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)),
        page_size_(page_size) {
    run(fmt::format("PRAGMA page_size={}", page_size));
    if (auto_vacuum) run("PRAGMA auto_vacuum=FULL");
    run("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0");
  }

  /// Runs statements and returns the change that they made as the next TXID.
  SourceChange commit(const std::string& sql) {
    run(sql);
    return capture();
  }

  SourceChange capture() {
    run("PRAGMA wal_checkpoint(TRUNCATE)");
    sqlite3_file* const file = connection_.database_file();
    const auto size = *db::file_handle_size(file, connection_.path());
    Image image(size / page_size_);
    SourceChange change;
    change.txid = txid_ = txid_.next();
    change.page_size = page_size_;
    change.page_count = static_cast<std::uint32_t>(image.size());
    for (std::size_t index = 0; index < image.size(); ++index) {
      image[index].resize(page_size_);
      require(db::read_file_handle(file, image[index], index * page_size_, connection_.path()).has_value(),
              "read source");
      const PageNo number(static_cast<std::uint32_t>(index + 1));
      if (number == ltx::lock_page(page_size_)) continue;
      if (index >= image_.size() || image_[index] != image[index]) {
        change.pages.emplace_back(number, image[index]);
      }
    }
    if (change.pages.empty()) change.pages.emplace_back(PageNo(1), image[0]);
    image_ = std::move(image);
    page_checksums_.resize(image_.size());
    for (const auto& [number, bytes] : change.pages) {
      page_checksums_[number.value() - 1] = ltx::page_checksum(number, bytes);
    }
    for (const Checksum page : page_checksums_) change.checksum = change.checksum.toggled(page);
    return change;
  }

  void run(const std::string& sql) {
    const auto done = connection_.execute(sql);
    require(done.has_value(), done ? "" : done.error().message());
  }

  [[nodiscard]] const Image& image() const { return image_; }
  [[nodiscard]] db::Connection& connection() { return connection_; }
  [[nodiscard]] Txid txid() const { return txid_; }

 private:
  db::Connection connection_;
  std::uint32_t page_size_;
  Txid txid_;
  Image image_;
  std::vector<Checksum> page_checksums_;  // that of the lock page stays as if there were none
};

/// A workload whose every committed state satisfies one invariant that a reader can check by itself: the
/// balances sum up to 0, and `state` tells number and total size of the payload rows, and a counter that
/// only grows.
class Workload {
 public:
  explicit Workload(std::uint64_t seed = 1) : random_(seed) {}

  static std::string schema() {
    return "BEGIN;"
           "CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);"
           "CREATE TABLE payload(id INTEGER PRIMARY KEY, body BLOB NOT NULL);"
           "CREATE TABLE state(counter INTEGER, rows INTEGER, bytes INTEGER);"
           "INSERT INTO state VALUES (1, 0, 0);"
           "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)"
           " INSERT INTO accounts SELECT i, 0 FROM n; COMMIT";
  }

  /// The statements of one transaction.
  std::string next() {
    const std::uint64_t kind = random_() % 100;
    if (kind < 3) return "VACUUM; " + transaction(transfer());
    if (kind < 8) {
      tables_ = (tables_ + 1) % 5;
      return transaction(
          fmt::format("DROP TABLE IF EXISTS extra{0}; CREATE TABLE extra{0}(a, b);"
                      "CREATE INDEX extra{0}_index ON extra{0}(a);"
                      "INSERT INTO extra{0} SELECT id, balance FROM accounts;",
                      tables_));
    }
    if (kind < 15) return transaction(fmt::format("DELETE FROM payload WHERE id % 3 = {};", random_() % 3));
    if (kind < 45) {
      return transaction(
          fmt::format("INSERT INTO payload(body) VALUES (randomblob({}));", random_() % 20000 + 1));
    }
    return transaction(transfer());
  }

 private:
  std::string transfer() {
    const std::uint64_t amount = random_() % 1000;
    return fmt::format(
        "UPDATE accounts SET balance = balance - {0} WHERE id = {1};"
        "UPDATE accounts SET balance = balance + {0} WHERE id = {2};",
        amount, random_() % 200 + 1, random_() % 200 + 1);
  }

  static std::string transaction(const std::string& body) {
    return "BEGIN;" + body +
           "UPDATE state SET counter = counter + 1, rows = (SELECT count(*) FROM payload),"
           " bytes = (SELECT coalesce(sum(length(body)), 0) FROM payload); COMMIT";
  }

  std::mt19937_64 random_;
  std::uint64_t tables_ = 0;
};

/// Reads the invariant of Workload in one read transaction. Returns the counter; aborts the process with a
/// message when what it sees cannot have been committed by anybody.
class InvariantReader {
 public:
  explicit InvariantReader(std::filesystem::path path) : path_(std::move(path)) { reopen(); }

  void reopen() {
    connection_.reset();
    connection_.emplace(*db::Connection::open(path_, SQLITE_OPEN_READWRITE));
    connection_->set_busy_timeout(std::chrono::seconds(10));
  }

  void set_busy_timeout(std::chrono::milliseconds timeout) { connection_->set_busy_timeout(timeout); }

  std::int64_t check(bool quick_check) {
    run("BEGIN");
    const std::int64_t counter = number("SELECT counter FROM state");
    require(number("SELECT coalesce(sum(balance), 0) FROM accounts") == 0,
            "torn read: balances do not sum up");
    require(number("SELECT count(*) FROM accounts") == 200, "torn read: accounts are missing");
    require(number("SELECT rows FROM state") == number("SELECT count(*) FROM payload"),
            "torn read: number of rows");
    require(number("SELECT bytes FROM state") == number("SELECT coalesce(sum(length(body)), 0) FROM payload"),
            "torn read: size of rows");
    if (quick_check) {
      const auto verdict = connection_->query_text("PRAGMA quick_check");
      require(verdict.has_value(), verdict ? "" : verdict.error().message());
      require(verdict->value_or("") == "ok", "quick_check: " + verdict->value_or("no row"));
    }
    require(number("SELECT counter FROM state") == counter, "the snapshot moved inside a transaction");
    run("COMMIT");
    require(counter >= last_, fmt::format("time went back: {} after {}", counter, last_));
    last_ = counter;
    return counter;
  }

  void run(const char* sql) {
    const auto done = connection_->execute(sql);
    require(done.has_value(), done ? "" : done.error().message());
  }

 private:
  std::int64_t number(const char* sql) {
    const auto value = connection_->query_integer(sql);
    require(value.has_value() && value->has_value(), value ? sql : value.error().message());
    return **value;
  }

  std::filesystem::path path_;
  std::optional<db::Connection> connection_;
  std::int64_t last_ = 0;
};

}  // namespace litecluster::test
