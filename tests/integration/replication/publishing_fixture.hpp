// What the tests of the leader's side share: an application, a log in memory that misbehaves on demand, and
// the proof that it leads to the database, TXID by TXID.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.hpp"
#include "base/sha256.hpp"
#include "integration/db/capture_fixture.hpp"
#include "ltx/database_builder.hpp"
#include "replication/publisher.hpp"
#include "support/eventually.hpp"

namespace litecluster::replication::test {

inline const std::string table =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0;"
    "CREATE TABLE t(id INTEGER PRIMARY KEY, x TEXT);";

/// Objects in order; the target refuses what does not follow, as the bucket does. Thread-safe.
class LogInMemory {
 public:
  struct Object {
    Position position;
    base::Bytes bytes;
  };

  /// From now on appends fail with this code; nullopt: they work.
  void fail_with(std::optional<ErrorCode> code) {
    const base::MutexLock lock(mutex_);
    failing_ = code;
  }
  [[nodiscard]] std::vector<Object> objects() const {
    const base::MutexLock lock(mutex_);
    return objects_;
  }
  [[nodiscard]] std::size_t attempts() const {
    const base::MutexLock lock(mutex_);
    return attempts_;
  }
  /// A new process may try other bytes; which of them arrive, the bucket decides.
  void forget_attempts() {
    const base::MutexLock lock(mutex_);
    tried_.reset();
  }
  /// What was done that a bucket would never forgive; empty when nothing.
  [[nodiscard]] std::string crime() const {
    const base::MutexLock lock(mutex_);
    return crime_;
  }

  [[nodiscard]] Status append(const OutboxItem& item) {
    base::Bytes bytes(item.payload.size());
    const auto count = item.payload.read(0, bytes);
    const base::MutexLock lock(mutex_);
    ++attempts_;
    if (!count || *count != bytes.size()) crime_ = "the payload cannot be read";
    const auto digest = base::sha256(bytes);
    // What failed once may still arrive: a TXID must not have other bytes the next time.
    if (tried_ && tried_->first == item.position.txid && tried_->second != digest) {
      crime_ = "TXID " + to_string(item.position.txid) + " was tried with other bytes";
    }
    tried_.emplace(item.position.txid, digest);
    if (failing_) return failure(*failing_, "append", to_string(item.position.txid), "refused by the test");
    const Txid end = objects_.empty() ? Txid() : objects_.back().position.txid;
    if (item.position.txid != end.next()) crime_ = to_string(item.position.txid) + " after " + to_string(end);
    objects_.push_back({item.position, std::move(bytes)});
    return {};
  }

 private:
  mutable base::Mutex mutex_;
  std::vector<Object> objects_;
  std::optional<ErrorCode> failing_;
  std::optional<std::pair<Txid, base::Sha256Digest>> tried_;
  std::size_t attempts_ = 0;
  std::string crime_;
};

class TargetInMemory final : public AppendTarget {
 public:
  explicit TargetInMemory(LogInMemory& log) : log_(log) {}
  [[nodiscard]] Status append(const Context& /*context*/, const OutboxItem& item) override {
    return log_.append(item);
  }

 private:
  LogInMemory& log_;
};

class PublishingTest : public ::testing::Test {
 protected:
  PublishingTest() {
    database_.path = directory_ / "app.db";
    database_.poll_interval = std::chrono::milliseconds(50);
    options_.epoch = Epoch(1);
    options_.outbox.directory = directory_ / "spool";
    options_.retry_cap = std::chrono::milliseconds(100);
    application_ = std::make_unique<db::Application>(database_.path, table);
  }

  void start() {
    auto database = db::Database::attach(database_, end());
    ASSERT_TRUE(database) << database.error().message();
    log_.forget_attempts();
    auto started = Publisher::start(options_, std::move(*database), std::make_unique<TargetInMemory>(log_));
    ASSERT_TRUE(started) << started.error().message();
    publisher_ = std::move(*started);
  }
  [[nodiscard]] db::LogEnd end() const {
    const auto objects = log_.objects();
    if (objects.empty()) return {};
    return {.txid = objects.back().position.txid,
            .checksum = objects.back().position.checksum,
            .epoch = Epoch(1)};
  }

  void write(int rows = 1) {
    application_->run("WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < " +
                      std::to_string(rows) + ") INSERT INTO t(x) SELECT hex(randomblob(700)) FROM c");
  }
  [[nodiscard]] Status sync() {
    return publisher_->sync(Context::background().with_timeout(std::chrono::seconds(60)));
  }

  /// Applies the whole log, one TXID after the other, each checked against its checksum; what comes out has
  /// to be what the application sees.
  void expect_log_leads_to_database() {
    EXPECT_EQ(log_.crime(), "");
    const auto target = directory_ / "rebuilt.db";
    auto builder = ltx::DatabaseBuilder::create(target, {.track_checksum = true});
    ASSERT_TRUE(builder) << builder.error().message();
    for (const auto& object : log_.objects()) {
      ltx::MemorySource source(object.bytes, to_string(object.position.txid));
      const auto applied = builder->apply(source);
      ASSERT_TRUE(applied) << applied.error().message();
      const auto checksum = builder->checksum();
      ASSERT_TRUE(checksum);
      ASSERT_EQ(*checksum, object.position.checksum) << to_string(object.position.txid);
    }
    ASSERT_TRUE(builder->commit());
    db::Application rebuilt(target);
    EXPECT_EQ(rebuilt.ask("PRAGMA integrity_check"), "ok");
    EXPECT_EQ(rebuilt.ask(db::digest_of_t), application_->ask(db::digest_of_t));
  }

  litecluster::test::TemporaryDirectory directory_;
  db::DatabaseOptions database_;
  PublisherOptions options_;
  LogInMemory log_;
  std::unique_ptr<db::Application> application_;
  std::unique_ptr<Publisher> publisher_;
};

}  // namespace litecluster::replication::test
