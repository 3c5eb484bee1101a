// A follower on a bucket of a real server, and a hand that writes into the bucket whatever it likes.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/sha256.hpp"
#include "log/nats_object_bucket.hpp"
#include "log/payload.hpp"
#include "nats/object_metadata.hpp"
#include "nats/object_store.hpp"
#include "raw_ltx.hpp"
#include "replication/follower.hpp"
#include "support/eventually.hpp"
#include "support/nats_fixture.hpp"
#include "support/replica_source.hpp"

namespace litecluster::replication::test {

using litecluster::test::eventually;
using litecluster::test::ReplicaSource;
using litecluster::test::soon;
using litecluster::test::SourceChange;
using litecluster::test::Workload;

class StandbyTest : public litecluster::test::NatsTest {
 protected:
  using Json = nlohmann::json;
  static constexpr const char* bucket_name = "app-wal";

  void SetUp() override {
    NatsTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    connection_ = connect();
    bucket_ = open_bucket();
    source_.emplace(directory_ / "source.db", 4096);
    first_ = source_->commit(Workload::schema());
  }
  void TearDown() override {
    follower_.reset();
    bucket_.reset();
    connection_.reset();
    NatsTest::TearDown();
  }

  [[nodiscard]] std::unique_ptr<log::ObjectBucket> open_bucket() const {
    auto store = nats::create_object_store(soon(), nats::JetStream(connect()), bucket_name);
    litecluster::test::require(store.has_value(), store ? "" : store.error().message());
    return log::make_nats_object_bucket(std::move(*store));
  }

  /// The next transaction of the source; the first one makes the schema.
  SourceChange next_change() {
    if (first_) return *std::exchange(first_, std::nullopt);
    return source_->commit(workload_.next());
  }

  static log::NewObject described(const SourceChange& change, std::uint64_t epoch) {
    return {.name = log::ObjectName::raw(change.txid),
            .created_at = base::WallTime(std::chrono::milliseconds(1'700'000'000'000)),
            .author = log::Author{Epoch(epoch), "node-1", "incarnation"},
            .checksum = change.checksum};
  }
  log::Object publish(const SourceChange& change, std::uint64_t epoch = 1) {
    const base::Bytes bytes = RawFile(change).build();
    log::NewObject object = described(change, epoch);
    object.file_checksum = log::Payload(bytes).file_checksum().value_or(Checksum());
    auto stored = bucket_->put(soon(), object, base::ByteView(bytes));
    litecluster::test::require(stored.has_value(), stored ? "" : stored.error().message());
    return *stored;
  }
  SourceChange publish_next(std::uint64_t epoch = 1) {
    SourceChange change = next_change();
    publish(change, epoch);
    return change;
  }

  /// Metadata that describes the bytes truly. What is not true about it is up to the caller.
  static Json metadata(const log::NewObject& object, base::ByteView bytes, const std::string& nuid) {
    Json headers = Json::object();
    for (const auto& [name, value] : log::make_headers(object)) {
      headers[name] = Json::array({value});
    }
    base::Sha256 digest;
    digest.update(bytes);
    return {{"name", to_string(object.name)},
            {"headers", headers},
            {"bucket", bucket_name},
            {"nuid", nuid},
            {"size", bytes.size()},
            {"mtime", "0001-01-01T00:00:00Z"},
            {"chunks", bytes.empty() ? 0 : 1},
            {"digest", nats::digest_text(digest.finish())},
            {"options", {{"max_chunk_size", 131072}}}};
  }
  /// Stores bytes and metadata as any client of the server can, over whatever was there.
  void inject(const log::ObjectName& name, base::ByteView bytes, const Json& metadata) {
    const nats::JetStream jetstream(connection_);
    const std::string nuid = metadata.value("nuid", "");
    if (!bytes.empty()) {
      ASSERT_OK(jetstream.publish(soon(), nats::chunk_subject(bucket_name, nuid), bytes));
    }
    const std::string text = metadata.dump();
    ASSERT_OK(jetstream.publish(soon(), nats::metadata_subject(bucket_name, to_string(name)),
                                base::as_bytes(text), {{"Nats-Rollup", "sub"}}));
  }

  FollowerOptions follower_options() {
    FollowerOptions options;
    options.replica.path = path_;
    options.retry_cap = std::chrono::milliseconds(200);
    options.seed_retry_cap = std::chrono::milliseconds(300);
    return options;
  }
  void start_follower() { start_follower(follower_options()); }
  void start_follower(FollowerOptions options) {
    auto started = Follower::start(std::move(options), *bucket_);
    ASSERT_OK(started);
    follower_ = std::move(*started);
  }
  [[nodiscard]] bool reaches(Txid txid) const {
    return eventually([&] { return follower_->position().txid == txid; });
  }
  /// The follower's problem once it has one.
  [[nodiscard]] std::string problem() const {
    eventually([&] { return follower_->problem().has_value(); });
    const auto problem = follower_->problem();
    return problem ? problem->message() : "none";
  }
  [[nodiscard]] bool problem_passes() const {
    return eventually([&] { return !follower_->problem(); });
  }
  /// Stops the follower and reads all of the replica.
  void expect_content(const SourceChange& change) {
    auto feeder = follower_->stop();
    follower_.reset();
    EXPECT_EQ(feeder->replica().position().txid, change.txid);
    EXPECT_EQ(feeder->replica().position().checksum, change.checksum);
    const auto scanned = feeder->replica().scan();
    ASSERT_OK(scanned);
    EXPECT_EQ(*scanned, change.checksum);
  }
  /// Of the replica's files. By another process: closing a file here would drop SQLite's locks on it.
  [[nodiscard]] std::string fingerprint() const {
    const std::string command = "cat '" + path_.string() + "' '" + path_.string() + "-wal' | sha256sum";
    FILE* const pipe = ::popen(command.c_str(), "r");
    char line[80] = {};
    const bool read = std::fgets(line, sizeof line, pipe) != nullptr;
    ::pclose(pipe);
    return read ? line : "nothing";
  }

  std::shared_ptr<nats::Connection> connection_;
  std::unique_ptr<log::ObjectBucket> bucket_;
  std::optional<ReplicaSource> source_;
  std::optional<SourceChange> first_;
  Workload workload_{11};
  std::filesystem::path path_ = directory_ / "replica.db";
  std::unique_ptr<Follower> follower_;
};

}  // namespace litecluster::replication::test
