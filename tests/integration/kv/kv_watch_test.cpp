#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <thread>

#include <fmt/format.h>

#include "nats/kv_bucket.hpp"
#include "support/environment.hpp"
#include "support/nats_fixture.hpp"

namespace litecluster::nats {
namespace {

using namespace std::chrono_literals;
using test::soon;

class KvWatchTest : public test::NatsTest {
 protected:
  void SetUp() override {
    test::NatsTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    jetstream_.emplace(connect());
    auto opened = KeyValue::open_or_create(soon(), *jetstream_, {.bucket = "b", .history = 64});
    ASSERT_OK(opened);
    kv_.emplace(std::move(*opened));
  }

  KeyValueWatch watch(const std::string& pattern = ">", const KeyValueWatchOptions& options = {}) {
    auto started = kv_->watch(soon(), pattern, options);
    if (!started) {
      ADD_FAILURE() << started.error().message();
      std::abort();
    }
    return std::move(*started);
  }

  /// "key=value", "key deleted", "--" for the end of the initial values, or the error.
  static std::string next(KeyValueWatch& watch) {
    const auto entry = watch.next(soon());
    if (!entry) return entry.error().message();
    if (!*entry) return "--";
    if ((*entry)->operation == KvOperation::remove) return (*entry)->key + " deleted";
    if ((*entry)->operation == KvOperation::purge) return (*entry)->key + " purged";
    return (*entry)->key + "=" + (*entry)->value;
  }

  void put(const std::string& key, const std::string& value) { ASSERT_OK(kv_->put(soon(), key, value)); }

  /// Stores changes with revisions up to `count`, pipelined, over as many keys as the history is kept of;
  /// goes on through restarts.
  void write_up_to(std::uint64_t count) {
    const JetStream own(connect());
    std::deque<PendingAck> open;
    const std::uint64_t keys = std::max<std::uint64_t>(2'000, count / 40);
    std::uint64_t number = 0;
    while (true) {
      const auto info = own.stream_info(soon(), "KV_b");
      if (!info) {
        std::this_thread::sleep_for(20ms);
        continue;
      }
      if (info->last_sequence >= count) return;
      const std::uint64_t left = std::min<std::uint64_t>(count - info->last_sequence, 5'000);
      for (std::uint64_t index = 0; index < left; ++index, ++number) {
        auto ack = own.publish_async(fmt::format("$KV.b.key.{}", number % keys),
                                     base::as_bytes(std::to_string(number)));
        if (ack) open.push_back(std::move(*ack));
        if (open.size() >= 500) {
          (void)open.front().wait(soon());
          open.pop_front();
        }
      }
      for (; !open.empty(); open.pop_front()) (void)open.front().wait(soon());
    }
  }

  std::optional<JetStream> jetstream_;
  std::optional<KeyValue> kv_;
};

TEST_F(KvWatchTest, TellsWhatIsThereThenThatThisIsAllThenEachChange) {
  put("a", "1");
  put("b", "1");
  put("a", "2");
  KeyValueWatch all = watch();
  EXPECT_EQ(next(all), "b=1");
  EXPECT_EQ(next(all), "a=2");
  EXPECT_EQ(next(all), "--");
  put("c", "");
  ASSERT_OK(kv_->remove(soon(), "a"));
  ASSERT_OK(kv_->purge(soon(), "b"));
  EXPECT_EQ(next(all), "c=");
  EXPECT_EQ(next(all), "a deleted");
  EXPECT_EQ(next(all), "b purged");
}

// nats-server before 2.9.12 moves every consumer that lags behind to the purge, over what was not purged.
TEST_F(KvWatchTest, DeliversWhatWasStoredBeforeAnotherKeyWasPurged) {
  KeyValueWatch all = watch();
  ASSERT_EQ(next(all), "--");
  constexpr int rounds = 500;
  std::vector<PendingAck> open;
  for (int round = 0; round < rounds; ++round) {
    for (const char* key : {"a", "b"}) {
      auto ack = jetstream_->publish_async(fmt::format("$KV.b.{}{}", key, round), base::as_bytes("1"));
      ASSERT_OK(ack);
      open.push_back(std::move(*ack));
    }
    auto ack = jetstream_->publish_async(fmt::format("$KV.b.c{}", round), {},
                                         {{"KV-Operation", "PURGE"}, {"Nats-Rollup", "sub"}});
    ASSERT_OK(ack);
    open.push_back(std::move(*ack));
  }
  for (auto& ack : open) ASSERT_OK(ack.wait(soon()));
  for (int round = 0; round < rounds; ++round) {
    ASSERT_EQ(next(all), fmt::format("a{}=1", round));
    ASSERT_EQ(next(all), fmt::format("b{}=1", round));
    ASSERT_EQ(next(all), fmt::format("c{} purged", round));
  }
}

TEST_F(KvWatchTest, AnEmptyBucketIsCompleteAtOnce) {
  KeyValueWatch all = watch();
  EXPECT_EQ(next(all), "--");
}

TEST_F(KvWatchTest, ConfigSlashGreaterDeliversConfigSlashMaxConn) {
  put("config/max-conn", "100");
  put("other/max-conn", "1");
  KeyValueWatch config = watch("config/>");
  EXPECT_EQ(next(config), "config/max-conn=100");
  EXPECT_EQ(next(config), "--");
  put("configuration/a", "1");
  put("config/a/b.c", "2");
  ASSERT_OK(kv_->remove(soon(), "config/max-conn"));
  EXPECT_EQ(next(config), "config/a/b.c=2");
  EXPECT_EQ(next(config), "config/max-conn deleted");
}

TEST_F(KvWatchTest, APatternThatMatchesNothingIsCompleteAllTheSame) {
  put("other/a", "1");
  KeyValueWatch config = watch("config/>");
  EXPECT_EQ(next(config), "--");
}

TEST_F(KvWatchTest, OptionsChooseWhatComes) {
  put("a", "1");
  put("a", "2");
  ASSERT_OK(kv_->remove(soon(), "a"));
  put("b", "3");
  KeyValueWatch history = watch("a", {.include_history = true});
  EXPECT_EQ(next(history), "a=1");
  EXPECT_EQ(next(history), "a=2");
  EXPECT_EQ(next(history), "a deleted");
  EXPECT_EQ(next(history), "--");
  KeyValueWatch no_deletes = watch(">", {.ignore_deletes = true});
  EXPECT_EQ(next(no_deletes), "b=3");
  EXPECT_EQ(next(no_deletes), "--");
  KeyValueWatch after = watch(">", {.resume_after = Revision(2)});
  EXPECT_EQ(next(after), "a deleted");
  EXPECT_EQ(next(after), "b=3");
  EXPECT_EQ(next(after), "--");
  EXPECT_ERROR(kv_->watch(soon(), ">", {.resume_after = Revision(5)}), ErrorCode::failed_precondition);
  KeyValueWatch updates = watch(">", {.updates_only = true});
  EXPECT_EQ(next(updates), "--");
  put("c", "4");
  EXPECT_EQ(next(updates), "c=4");
}

TEST_F(KvWatchTest, StopEndsAWaitFromAnotherThread) {
  KeyValueWatch all = watch();
  EXPECT_EQ(next(all), "--");
  std::jthread stopper([&] {
    std::this_thread::sleep_for(50ms);
    all.stop();
  });
  EXPECT_ERROR(all.next(soon()), ErrorCode::cancelled);
  EXPECT_ERROR(all.next(soon()), ErrorCode::cancelled);
}

TEST_F(KvWatchTest, AWaitEndsWithItsContextAndTheWatchGoesOn) {
  KeyValueWatch all = watch();
  EXPECT_EQ(next(all), "--");
  EXPECT_ERROR(all.next(Context::background().with_timeout(20ms)), ErrorCode::deadline_exceeded);
  put("a", "1");
  EXPECT_EQ(next(all), "a=1");
}

TEST_F(KvWatchTest, ABucketThatIsDeletedOrMadeAnewEndsTheWatchWithAnAlarm) {
  put("a", "1");
  KeyValueWatch all = watch(">", {.heartbeat = 100ms});
  EXPECT_EQ(next(all), "a=1");
  EXPECT_EQ(next(all), "--");
  ASSERT_OK(jetstream_->delete_stream(soon(), "KV_b"));
  EXPECT_ERROR(all.next(soon()), ErrorCode::failed_precondition);
}

TEST_F(KvWatchTest, ASilentServerIsNotTakenForSilence) {
  KeyValueWatch all = watch(">", {.heartbeat = 100ms});
  EXPECT_EQ(next(all), "--");
  server_->kill();
  std::jthread writer([&] {
    std::this_thread::sleep_for(300ms);
    ASSERT_OK(server_->start_again(soon()));
    put("a", "1");
  });
  EXPECT_EQ(next(all), "a=1");
}

// Revisions are given without a hole and no value is dropped (fewer than 64 per key), so the watcher has to
// see exactly 1, 2, 3 and so on. 100,000 changes, or LITECLUSTER_WATCH_CHANGES.
TEST_F(KvWatchTest, ManyChangesThroughTwoRestartsComeOnceAndInOrder) {
  const std::uint64_t count = test::count_from_environment("LITECLUSTER_WATCH_CHANGES", 100'000);
  KeyValueWatch all = watch(">", {.include_history = true, .heartbeat = 200ms});
  EXPECT_EQ(next(all), "--");
  std::jthread writer([&] { write_up_to(count); });
  std::atomic<std::uint64_t> seen = 0;
  std::jthread restarter([&] {
    for (const std::uint64_t place : {count / 4, count / 2}) {
      while (seen < place) std::this_thread::sleep_for(1ms);
      restart_server();
    }
  });
  for (std::uint64_t expected = 1; expected <= count; ++expected) {
    const auto entry = all.next(soon(60s));
    ASSERT_OK(entry);
    ASSERT_TRUE(entry->has_value());
    ASSERT_EQ((*entry)->revision, Revision(expected));
    seen = expected;
  }
  EXPECT_GE(all.restarts(), 2U);
  fmt::print("{} changes, the consumer was made anew {} times\n", count, all.restarts());
}

TEST_F(KvWatchTest, AWatcherThatDoesNotReadLosesNothing) {
  constexpr std::uint64_t count = 80'000;  // more than the subscription's queue holds
  KeyValueWatch all = watch();
  EXPECT_EQ(next(all), "--");
  write_up_to(count);
  for (std::uint64_t expected = 1; expected <= count; ++expected) {
    const auto entry = all.next(soon(60s));
    ASSERT_OK(entry);
    ASSERT_EQ((*entry)->revision, Revision(expected));
  }
}

}  // namespace
}  // namespace litecluster::nats
