// A bucket on a real server, and writers with connections of their own.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "base/clock.hpp"
#include "log/appender.hpp"
#include "log/fence.hpp"
#include "log/nats_object_bucket.hpp"
#include "log/restore.hpp"
#include "nats/object_store.hpp"
#include "support/model_database.hpp"
#include "support/nats_fixture.hpp"

namespace litecluster::log::test {

using litecluster::test::soon;

inline Author author(std::uint64_t epoch, std::string node = "node-1") {
  return {Epoch(epoch), std::move(node), "incarnation-" + std::to_string(epoch)};
}

class LogBucketTest : public litecluster::test::NatsTest {
 protected:
  static constexpr const char* bucket_name = "app-wal";

  void SetUp() override {
    NatsTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    bucket_ = open_bucket();
  }
  void TearDown() override {
    bucket_.reset();
    NatsTest::TearDown();
  }

  /// The bucket over a new connection.
  [[nodiscard]] std::unique_ptr<ObjectBucket> open_bucket() const {
    auto store = nats::create_object_store(soon(), nats::JetStream(connect()), bucket_name);
    if (!store) {
      ADD_FAILURE() << store.error().message();
      std::abort();
    }
    return make_nats_object_bucket(std::move(*store));
  }

  [[nodiscard]] base::Bytes restored(const RestoreTarget& target, const std::string& file = "restored.db") {
    RestoreOptions options{.output = directory_ / file, .target = target, .overwrite = true};
    const auto report = restore(soon(), *bucket_, options);
    EXPECT_TRUE(report) << report.error().message();
    return base::read_file(options.output, std::uint64_t{1} << 32U).value_or(base::Bytes());
  }

  /// Plays the replica of a new leader by restoring from the log.
  FenceDriver fence_driver(ObjectBucket& bucket, const std::string& file) {
    const std::filesystem::path path = directory_ / file;
    return {.apply = [&bucket, path](const Context& context, const LogView&, Txid txid) -> Status {
              const RestoreOptions options{
                  .output = path, .target = RestoreTarget::at(txid), .overwrite = true};
              const auto report = restore(context, bucket, options);
              if (!report) return std::unexpected(report.error());
              return {};
            },
            .make_file = [path](const Context&, Txid txid) -> Result<NewFile> {
              const auto database = base::read_file(path, 1 << 30);
              if (!database) return std::unexpected(database.error());
              const std::uint32_t page_size = 512;
              const auto now = base::system_clock().wall_time();
              auto bytes =
                  make_fence_file(txid, static_cast<std::uint32_t>(database->size() / page_size),
                                  base::ByteView(*database).first(page_size), now, ltx::PageEncoding::block);
              if (!bytes) return std::unexpected(bytes.error());
              return NewFile{.payload = std::move(*bytes)};
            }};
  }

  std::unique_ptr<ObjectBucket> bucket_;
};

}  // namespace litecluster::log::test
