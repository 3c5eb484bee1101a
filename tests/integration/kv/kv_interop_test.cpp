// An independent client, @nats-io/kv from npm, reads what we write, and we what it writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "nats/kv_bucket.hpp"
#include "support/nats_fixture.hpp"
#include "support/npm_partner.hpp"

namespace litecluster::nats {
namespace {

using test::soon;

class KvInterop : public test::NatsTest {
 protected:
  void SetUp() override {
    if (const auto missing = test::missing_npm_package("@nats-io/kv")) GTEST_SKIP() << *missing;
    test::NatsTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    jetstream_.emplace(connect());
  }

  std::string partner(const std::string& what, const std::string& bucket) const {
    const std::string command = fmt::format(
        "LITECLUSTER_PARTNER_MODULES={} timeout 60 node {}/tests/integration/kv/kv_partner.cjs {} {} {} 2>&1",
        test::npm_directory().string(), LITECLUSTER_SOURCE_DIR, what, server_->url(), bucket);
    const auto [status, output] = test::run_script(command);
    EXPECT_EQ(status, 0) << output;
    return output;
  }

  /// What we write is what the partner writes, call by call.
  static void write(const KeyValue& kv) {
    std::string binary(256, '\0');
    for (std::size_t index = 0; index < binary.size(); ++index) binary[index] = static_cast<char>(index);
    ASSERT_OK(kv.put(soon(), "binary", binary));
    ASSERT_OK(kv.put(soon(), "empty", ""));
    ASSERT_OK(kv.put(soon(), "a.b-c_d/e=f.G", "odd"));
    ASSERT_OK(kv.put(soon(), "config/max-conn", "100"));
    const auto revision = kv.put(soon(), "config/max-conn", "200");
    ASSERT_OK(revision);
    ASSERT_OK(kv.update(soon(), "config/max-conn", "300", *revision));
    ASSERT_OK(kv.create(soon(), "created", "once"));
    ASSERT_OK(kv.put(soon(), "deleted", "x"));
    ASSERT_OK(kv.remove(soon(), "deleted"));
    ASSERT_OK(kv.put(soon(), "purged", "x"));
    ASSERT_OK(kv.put(soon(), "purged", "y"));
    ASSERT_OK(kv.purge(soon(), "purged"));
    ASSERT_OK(kv.put(soon(), "again", "1"));
    ASSERT_OK(kv.remove(soon(), "again"));
    ASSERT_OK(kv.create(soon(), "again", "2"));
  }

  /// As the partner's dump.
  static std::string dump(const KeyValue& kv) {
    auto watch = kv.watch(soon(), ">", {.include_history = true});
    if (!watch) return watch.error().message();
    std::string text;
    while (true) {
      const auto entry = watch->next(soon());
      if (!entry) return entry.error().message();
      if (!*entry) return text;
      const char* const operation = (*entry)->operation == KvOperation::put      ? "PUT"
                                    : (*entry)->operation == KvOperation::remove ? "DEL"
                                                                                 : "PURGE";
      text += fmt::format("{} {} {} ", (*entry)->revision.value(), operation, (*entry)->key);
      for (const char byte : (*entry)->value) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
      text += '\n';
    }
  }

  std::optional<JetStream> jetstream_;
};

TEST_F(KvInterop, TheyReadWhatWeWriteAndWeReadWhatTheyWrite) {
  const auto ours = KeyValue::open_or_create(soon(), *jetstream_, {.bucket = "ours", .history = 5});
  ASSERT_OK(ours);
  write(*ours);
  EXPECT_EQ(partner("write", "theirs"), "");
  const auto theirs = KeyValue::open(soon(), *jetstream_, "theirs");
  ASSERT_OK(theirs);

  const std::string ours_seen_by_us = dump(*ours);
  EXPECT_EQ(partner("dump", "ours"), ours_seen_by_us);
  EXPECT_EQ(partner("dump", "theirs"), dump(*theirs));
  // The same calls leave the same bucket, whoever makes them.
  EXPECT_EQ(dump(*theirs), ours_seen_by_us);
  EXPECT_EQ(std::ranges::count(ours_seen_by_us, '\n'), 13);
}

TEST_F(KvInterop, BothMakeTheSameBucket) {
  ASSERT_OK(KeyValue::open_or_create(soon(), *jetstream_, {.bucket = "ours", .history = 5}));
  EXPECT_EQ(partner("write", "theirs"), "");
  const auto ours = jetstream_->stream_info(soon(), "KV_ours");
  const auto theirs = jetstream_->stream_info(soon(), "KV_theirs");
  ASSERT_OK(ours);
  ASSERT_OK(theirs);
  EXPECT_EQ(ours->config.retention, theirs->config.retention);
  EXPECT_EQ(ours->config.storage, theirs->config.storage);
  EXPECT_EQ(ours->config.discard, theirs->config.discard);
  EXPECT_EQ(ours->config.max_bytes, theirs->config.max_bytes);
  EXPECT_EQ(ours->config.max_messages, theirs->config.max_messages);
  EXPECT_EQ(ours->config.max_messages_per_subject, theirs->config.max_messages_per_subject);
  EXPECT_EQ(ours->config.max_message_size, theirs->config.max_message_size);
  EXPECT_EQ(ours->config.max_age, theirs->config.max_age);
  EXPECT_EQ(ours->config.duplicate_window, theirs->config.duplicate_window);
  EXPECT_EQ(ours->config.allow_rollup, theirs->config.allow_rollup);
  EXPECT_EQ(ours->config.allow_direct, theirs->config.allow_direct);
  // Not deny_delete: the Go client, which we follow, sets it, and this one does not.
  EXPECT_EQ(ours->config.deny_purge, theirs->config.deny_purge);
}

}  // namespace
}  // namespace litecluster::nats
