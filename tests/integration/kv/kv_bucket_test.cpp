#include "nats/kv_bucket.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "kv/kv_impl.hpp"
#include "support/nats_fixture.hpp"

namespace litecluster::nats {
namespace {

using namespace std::chrono_literals;
using test::soon;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class KvBucket : public test::NatsTest {
 protected:
  KeyValue bucket(int history = 1, const std::string& name = "b") {
    if (!jetstream_) jetstream_.emplace(connect());
    auto opened = KeyValue::open_or_create(soon(), *jetstream_, {.bucket = name, .history = history});
    if (!opened) {
      ADD_FAILURE() << opened.error().message();
      std::abort();
    }
    return std::move(*opened);
  }
  std::optional<JetStream> jetstream_;
};

TEST_F(KvBucket, IsMadeAsOtherClientsMakeIt) {
  (void)bucket(5);
  const auto info = jetstream_->stream_info(soon(), "KV_b");
  ASSERT_OK(info);
  EXPECT_THAT(info->config.subjects, ElementsAre("$KV.b.>"));
  EXPECT_EQ(info->config.max_messages_per_subject, 5);
  EXPECT_EQ(info->config.discard, "new");
  EXPECT_EQ(info->config.storage, "file");
  EXPECT_TRUE(info->config.allow_rollup);
  EXPECT_TRUE(info->config.allow_direct);
  EXPECT_TRUE(info->config.deny_delete);
  EXPECT_FALSE(info->config.deny_purge);
  EXPECT_EQ(info->config.replicas, 1);
  EXPECT_EQ(info->config.max_age, 0ns);
  EXPECT_EQ(info->config.duplicate_window, 2min);
}

TEST_F(KvBucket, GivesBackWhatWasPut) {
  const KeyValue kv = bucket();
  std::string binary(300, '\0');
  for (std::size_t index = 0; index < binary.size(); ++index) binary[index] = static_cast<char>(index);
  for (const auto& [key, value] : {std::pair<std::string, std::string>{"binary", binary},
                                   {"empty", ""},
                                   {"config/max-conn", "100"},
                                   {"a.b-c_d/e=f.G", "odd"}}) {
    const auto revision = kv.put(soon(), key, value);
    ASSERT_OK(revision);
    for (const KvRead read : {KvRead::any, KvRead::leader}) {
      const auto entry = kv.get(soon(), key, read);
      ASSERT_OK(entry);
      EXPECT_EQ(entry->value, value);
      EXPECT_EQ(entry->key, key);
      EXPECT_EQ(entry->revision, *revision);
      EXPECT_LT(std::chrono::abs(std::chrono::system_clock::now() - entry->time), 1min);
    }
  }
}

TEST_F(KvBucket, ChangesOnlyAtTheExpectedRevision) {
  const KeyValue kv = bucket();
  const auto first = kv.create(soon(), "key", "1");
  ASSERT_OK(first);
  EXPECT_ERROR(kv.create(soon(), "key", "2"), ErrorCode::already_exists);
  EXPECT_ERROR(kv.update(soon(), "key", "2", Revision(first->value() + 1)), ErrorCode::conflict);
  const auto second = kv.update(soon(), "key", "2", *first);
  ASSERT_OK(second);
  EXPECT_ERROR(kv.update(soon(), "key", "3", *first), ErrorCode::conflict);
  EXPECT_ERROR(kv.remove(soon(), "key", *first), ErrorCode::conflict);
  EXPECT_ERROR(kv.purge(soon(), "key", *first), ErrorCode::conflict);
  EXPECT_OK(kv.remove(soon(), "key", *second));
  EXPECT_ERROR(kv.get(soon(), "key"), ErrorCode::not_found);
  EXPECT_ERROR(kv.update(soon(), "none", "1", Revision(1)), ErrorCode::conflict);
  EXPECT_OK(kv.update(soon(), "none", "1", Revision(0)));
}

TEST_F(KvBucket, CreatesOverADeleteAndOverAPurge) {
  const KeyValue kv = bucket();
  ASSERT_OK(kv.put(soon(), "key", "1"));
  ASSERT_OK(kv.remove(soon(), "key"));
  EXPECT_OK(kv.create(soon(), "key", "2"));
  ASSERT_OK(kv.purge(soon(), "key"));
  EXPECT_OK(kv.create(soon(), "key", "3"));
  EXPECT_EQ(kv.get(soon(), "key")->value, "3");
}

TEST_F(KvBucket, KeepsAsMuchHistoryAsAskedForAndPurgeDropsIt) {
  const KeyValue kv = bucket(3);
  for (const char* value : {"1", "2", "3"}) ASSERT_OK(kv.put(soon(), "key", value));
  ASSERT_OK(kv.remove(soon(), "key"));
  const auto history = kv.history(soon(), "key");
  ASSERT_OK(history);
  ASSERT_EQ(history->size(), 3U);
  EXPECT_EQ(history->at(0).value, "2");
  EXPECT_EQ(history->at(1).value, "3");
  EXPECT_EQ(history->at(2).operation, KvOperation::remove);
  EXPECT_ERROR(kv.get_revision(soon(), "key", history->at(2).revision), ErrorCode::not_found);
  EXPECT_EQ(kv.get_revision(soon(), "key", history->at(0).revision)->value, "2");
  EXPECT_ERROR(kv.get_revision(soon(), "key", Revision(1)), ErrorCode::not_found);
  EXPECT_ERROR(kv.get_revision(soon(), "other", history->at(0).revision), ErrorCode::not_found);
  ASSERT_OK(kv.purge(soon(), "key"));
  const auto purged = kv.history(soon(), "key");
  ASSERT_OK(purged);
  ASSERT_EQ(purged->size(), 1U);
  EXPECT_EQ(purged->at(0).operation, KvOperation::purge);
  EXPECT_THAT(*kv.history(soon(), "none"), IsEmpty());
}

TEST_F(KvBucket, ListsTheKeysThatExist) {
  const KeyValue kv = bucket();
  EXPECT_THAT(*kv.keys(soon()), IsEmpty());
  for (const char* key : {"b", "a/2", "a/1", "a.1", "gone"}) ASSERT_OK(kv.put(soon(), key, "x"));
  ASSERT_OK(kv.remove(soon(), "gone"));
  EXPECT_THAT(*kv.keys(soon()), ElementsAre("a.1", "a/1", "a/2", "b"));
  EXPECT_THAT(*kv.keys(soon(), "a/*"), ElementsAre("a/1", "a/2"));
  EXPECT_THAT(*kv.keys(soon(), "none.>"), IsEmpty());
}

TEST_F(KvBucket, BadInputIsToldApart) {
  const KeyValue kv = bucket();
  EXPECT_ERROR(kv.put(soon(), "a b", "x"), ErrorCode::invalid_argument);
  EXPECT_ERROR(kv.put(soon(), "", "x"), ErrorCode::invalid_argument);
  EXPECT_ERROR(kv.put(soon(), "a.*", "x"), ErrorCode::invalid_argument);
  EXPECT_ERROR(kv.get(soon(), ".a"), ErrorCode::invalid_argument);
  EXPECT_ERROR(kv.watch(soon(), "a*"), ErrorCode::invalid_argument);
  EXPECT_ERROR(kv.history(soon(), "a.*"), ErrorCode::invalid_argument);
  EXPECT_ERROR(kv.put(soon(), "big", std::string(2 << 20, 'x')), ErrorCode::too_large);
  EXPECT_ERROR(kv.get(soon(), "none"), ErrorCode::not_found);
  EXPECT_ERROR(KeyValue::open(soon(), *jetstream_, "none"), ErrorCode::not_found);
  EXPECT_ERROR(KeyValue::open(soon(), *jetstream_, "no/ne"), ErrorCode::invalid_argument);
  EXPECT_ERROR(KeyValue::open_or_create(soon(), *jetstream_, {.bucket = "c", .history = 65}),
               ErrorCode::invalid_argument);
}

TEST_F(KvBucket, AValueAboveTheBucketsLimitIsTooLargeAndAFullBucketIsExhausted) {
  (void)bucket();
  const auto small = KeyValue::open_or_create(soon(), *jetstream_,
                                              {.bucket = "small", .value_size_max = 1000, .bytes_max = 5000});
  ASSERT_OK(small);
  EXPECT_ERROR(small->put(soon(), "key", std::string(1200, 'x')), ErrorCode::too_large);
  Status last;
  for (int index = 0; index < 30 && last; ++index) {
    const auto stored = small->put(soon(), "key" + std::to_string(index), std::string(600, 'x'));
    if (!stored) last = std::unexpected(stored.error());
  }
  EXPECT_ERROR(last, ErrorCode::resource_exhausted);
}

TEST_F(KvBucket, AForeignStreamIsNotTakenForABucket) {
  (void)bucket();
  StreamConfig config;
  config.name = "KV_foreign";
  config.subjects = {"foreign.>"};
  ASSERT_OK(jetstream_->create_stream(soon(), config));
  EXPECT_ERROR(KeyValue::open(soon(), *jetstream_, "foreign"), ErrorCode::failed_precondition);
  EXPECT_ERROR(KeyValue::open_or_create(soon(), *jetstream_, {.bucket = "foreign"}),
               ErrorCode::failed_precondition);
}

TEST_F(KvBucket, ABucketThatForgetsIsRefusedWhereRecordsHaveToStay) {
  (void)bucket();
  StreamConfig config;
  config.name = "KV_forgetful";
  config.subjects = {"$KV.forgetful.>"};
  config.max_messages_per_subject = 1;
  config.max_age = config.duplicate_window = 10s;
  ASSERT_OK(jetstream_->create_stream(soon(), config));
  const auto refused =
      KeyValue::open_or_create(soon(), *jetstream_, {.bucket = "forgetful", .permanent = true});
  EXPECT_ERROR(refused, ErrorCode::failed_precondition);
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("max_age"));
  EXPECT_OK(KeyValue::open_or_create(soon(), *jetstream_, {.bucket = "forgetful"}));
  config.max_age = 0s;
  config.discard = "old";
  config.max_bytes = 1 << 20;
  ASSERT_OK(jetstream_->update_stream(soon(), config));
  EXPECT_ERROR(KeyValue::open_or_create(soon(), *jetstream_, {.bucket = "forgetful", .permanent = true}),
               ErrorCode::failed_precondition);
  EXPECT_OK(KeyValue::open_or_create(soon(), *jetstream_, {.bucket = "permanent", .permanent = true}));
  EXPECT_OK(KeyValue::open_or_create(soon(), *jetstream_, {.bucket = "permanent", .permanent = true}));
}

TEST_F(KvBucket, AnExistingBucketKeepsItsSettings) {
  (void)bucket(7);
  EXPECT_EQ(bucket(1).status(soon())->history, 7);
}

TEST_F(KvBucket, ABucketThatIsGoneIsAnAlarmAndNotMadeAnew) {
  const KeyValue kv = bucket();
  ASSERT_OK(kv.put(soon(), "key", "x"));
  ASSERT_OK(kv.status(soon()));
  ASSERT_OK(jetstream_->delete_stream(soon(), "KV_b"));
  EXPECT_ERROR(kv.get(soon(), "key"), ErrorCode::failed_precondition);
  EXPECT_ERROR(kv.get(soon(), "key", KvRead::leader), ErrorCode::failed_precondition);
  EXPECT_ERROR(kv.put(soon(), "key", "x"), ErrorCode::failed_precondition);
  EXPECT_ERROR(kv.create(soon(), "key", "x"), ErrorCode::failed_precondition);
  EXPECT_ERROR(kv.status(soon()), ErrorCode::failed_precondition);
  EXPECT_ERROR(jetstream_->stream_info(soon(), "KV_b"), ErrorCode::not_found);
}

TEST_F(KvBucket, ABucketThatWasMadeAnewIsToldFromTheOldOne) {
  const KeyValue kv = bucket();
  ASSERT_OK(kv.put(soon(), "key", "x"));
  ASSERT_OK(jetstream_->delete_stream(soon(), "KV_b"));
  (void)bucket();
  const auto status = kv.status(soon());
  EXPECT_ERROR(status, ErrorCode::failed_precondition);
  EXPECT_THAT(status.error().message(), HasSubstr("made anew"));
}

TEST_F(KvBucket, ABucketThatWasMadeAnewIsNotTakenForAnEmptyOne) {
  const KeyValue kv = bucket(5);
  ASSERT_OK(kv.create(soon(), "job/7/done", "x"));
  ASSERT_OK(kv.put(soon(), "key", "x"));
  ASSERT_OK(kv.put(soon(), "key", "y"));
  ASSERT_OK(jetstream_->delete_stream(soon(), "KV_b"));
  const KeyValue fresh = bucket(5);
  EXPECT_ERROR(kv.get(soon(), "job/7/done"), ErrorCode::failed_precondition);
  EXPECT_ERROR(kv.get(soon(), "job/7/done", KvRead::leader), ErrorCode::failed_precondition);
  EXPECT_ERROR(kv.get_revision(soon(), "key", Revision(2)), ErrorCode::failed_precondition);
  EXPECT_ERROR(kv.keys(soon()), ErrorCode::failed_precondition);
  EXPECT_ERROR(kv.history(soon(), "key"), ErrorCode::failed_precondition);
  EXPECT_ERROR(kv.watch(soon()), ErrorCode::failed_precondition);
  EXPECT_ERROR(kv.watch(soon(), ">", {.updates_only = true}), ErrorCode::failed_precondition);
  const auto done = kv.create(soon(), "job/7/done", "x");
  EXPECT_ERROR(done, ErrorCode::failed_precondition);
  EXPECT_THAT(done.error().message(), HasSubstr("made anew"));
  EXPECT_ERROR(kv.put(soon(), "key", "x"), ErrorCode::failed_precondition);
  ASSERT_OK(fresh.remove(soon(), "key"));
  EXPECT_ERROR(kv.get(soon(), "key"), ErrorCode::failed_precondition);
  EXPECT_EQ(fresh.get(soon(), "job/7/done")->value, "x");
  EXPECT_ERROR(fresh.get(soon(), "key"), ErrorCode::not_found);
}

TEST_F(KvBucket, AReplaceableBucketIsGoneOnWithWhenItWasMadeAnew) {
  (void)bucket();
  const KeyValueOptions options{.bucket = "r", .replaceable = true};
  const auto kv = KeyValue::open_or_create(soon(), *jetstream_, options);
  ASSERT_OK(kv);
  ASSERT_OK(kv->put(soon(), "key", "x"));
  ASSERT_OK(jetstream_->delete_stream(soon(), "KV_r"));
  ASSERT_OK(KeyValue::open_or_create(soon(), *jetstream_, options));
  EXPECT_ERROR(kv->get(soon(), "key"), ErrorCode::not_found);
  EXPECT_THAT(*kv->keys(soon()), IsEmpty());
  EXPECT_OK(kv->watch(soon()));
  EXPECT_EQ(*kv->put(soon(), "key", "y"), Revision(1));
  EXPECT_ERROR(kv->status(soon()), ErrorCode::failed_precondition);
}

/// A server that can be told not to answer what a stream is.
class KvBucketThatTellsNothing : public KvBucket {
 protected:
  nats::PrivateServerOptions server_options() override {
    write_users("");
    PrivateServerOptions options = KvBucket::server_options();
    options.extra_configuration = "include users.conf\nno_auth_user: any";
    return options;
  }
  void write_users(const std::string& permissions) {
    std::filesystem::create_directories(directory_ / "nats");
    std::ofstream(directory_ / "nats" / "users.conf")
        << "authorization { users: [ { user: any, password: any" << permissions << " } ] }\n";
  }
};

TEST_F(KvBucketThatTellsNothing, AnAnswerIsGoodAlsoWhenTheBucketCannotBeLookedAt) {
  const KeyValue kv = bucket();
  ASSERT_OK(kv.put(soon(), "key", "x"));
  ASSERT_OK(kv.get(soon(), "key"));
  server_->stop();
  write_users(R"(, permissions: { publish: { deny: "$JS.API.STREAM.INFO.KV_b" } })");
  ASSERT_OK(server_->start_again(soon()));
  EXPECT_OK(kv.get(soon(), "key"));
  EXPECT_FALSE(jetstream_->stream_info(Context::background().with_timeout(1s), "KV_b"));
  EXPECT_ERROR(kv.get(soon(), "none"), ErrorCode::not_found);
}

TEST_F(KvBucket, AServerThatLostChangesIsAnAlarm) {
  const KeyValue kv = bucket();
  ASSERT_OK(kv.put(soon(), "key", "old"));
  server_->stop();
  // As from a backup, or a disk that never got what it had acknowledged.
  const auto store = directory_ / "nats" / "store";
  const auto backup = directory_ / "backup";
  std::filesystem::copy(store, backup, std::filesystem::copy_options::recursive);
  ASSERT_OK(server_->start_again(soon()));
  ASSERT_OK(kv.put(soon(), "key", "new"));
  ASSERT_OK(kv.status(soon()));
  server_->stop();
  std::filesystem::remove_all(store);
  std::filesystem::rename(backup, store);
  ASSERT_OK(server_->start_again(soon()));
  const auto status = kv.status(soon());
  EXPECT_ERROR(status, ErrorCode::failed_precondition);
  EXPECT_THAT(status.error().message(), HasSubstr("lost changes"));
}

TEST_F(KvBucket, ACallWithoutAServerEndsWithItsContext) {
  const KeyValue kv = bucket();
  server_->stop();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_ERROR(kv.put(Context::background().with_timeout(200ms), "key", "x"), ErrorCode::unavailable);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 3s);
}

TEST_F(KvBucket, ACallSpansARestartOfTheServer) {
  const KeyValue kv = bucket();
  server_->stop();
  std::jthread starter([&] {
    std::this_thread::sleep_for(300ms);
    EXPECT_OK(server_->start_again(soon()));
  });
  EXPECT_OK(kv.put(soon(), "key", "x"));
  starter.join();
  EXPECT_EQ(kv.get(soon(), "key")->value, "x");
}

TEST_F(KvBucket, ALostAcknowledgementIsNoConflict) {
  NatsOptions impatient = options();
  impatient.request_timeout = 300ms;
  impatient.ping_interval = 10s;
  const JetStream jetstream(connect(impatient));
  const auto kv = KeyValue::open_or_create(soon(), jetstream, {.bucket = "b", .history = 5});
  ASSERT_OK(kv);
  const auto first = kv->put(soon(), "key", "1");
  ASSERT_OK(first);
  server_->pause();
  std::jthread resumer([&] {
    std::this_thread::sleep_for(450ms);
    server_->resume();
  });
  // The first attempt reaches the server, its answer comes too late, and the repetition finds it done.
  const auto second = kv->update(soon(), "key", "2", *first);
  ASSERT_OK(second);
  EXPECT_EQ(kv->get(soon(), "key", KvRead::leader)->revision, *second);
  EXPECT_EQ(kv->history(soon(), "key")->size(), 2U);
}

TEST_F(KvBucket, ASingleWriterSeesNoConflictThroughRestarts) {
  const KeyValue kv = bucket(10);
  std::atomic<bool> over = false;
  std::jthread restarter([&] {
    for (int round = 0; round < 4; ++round) {
      std::this_thread::sleep_for(250ms);
      restart_server();
    }
    over = true;
  });
  auto revision = kv.create(soon(), "counter", "0");
  ASSERT_OK(revision);
  std::uint64_t count = 0;
  while (!over) {
    revision = kv.update(soon(), "counter", std::to_string(count + 1), *revision);
    ASSERT_OK(revision);
    ++count;
  }
  EXPECT_GT(count, 100U);
  const auto history = kv.history(soon(), "counter");
  ASSERT_OK(history);
  for (std::size_t index = 0; index < history->size(); ++index) {
    EXPECT_EQ(history->at(index).value, std::to_string(count - (history->size() - 1 - index)));
  }
}

TEST_F(KvBucket, WritersThatRaceCountEachIncrementOnce) {
  const KeyValue kv = bucket();
  constexpr int writers = 4;
  constexpr int rounds = 50;
  {
    std::vector<std::jthread> threads;
    for (int writer = 0; writer < writers; ++writer) {
      threads.emplace_back([&] {
        const JetStream own(connect());
        const auto mine = KeyValue::open(soon(), own, "b");
        ASSERT_OK(mine);
        for (int round = 0; round < rounds;) {
          const auto present = mine->last(soon(), "counter", KvRead::leader);
          ASSERT_OK(present);
          const int value = *present ? std::stoi((*present)->value) : 0;
          const auto stored = mine->update(soon(), "counter", std::to_string(value + 1),
                                           *present ? (*present)->revision : Revision());
          if (stored) {
            ++round;
          } else {
            ASSERT_EQ(stored.error().code(), ErrorCode::conflict) << stored.error().message();
          }
        }
      });
    }
  }
  EXPECT_EQ(kv.get(soon(), "counter")->value, std::to_string(writers * rounds));
}

TEST_F(KvBucket, AWriteAtTheSameTimeIsNotTakenForALostChange) {
  const KeyValue kv = bucket();
  std::atomic<bool> done = false;
  std::jthread writer([&] {
    for (int number = 0; number < 1'000; ++number) EXPECT_OK(kv.put(soon(), "a", std::to_string(number)));
    done = true;
  });
  while (!done) {
    const auto status = kv.status(soon());
    EXPECT_OK(status);
    if (!status) break;
  }
}

TEST_F(KvBucket, ThePublicInterfaceSaysTheSame) {
  const Kv kv = kv::make_kv(bucket(5));
  const auto revision = kv.put("config/max-conn", "100");
  ASSERT_OK(revision);
  EXPECT_EQ(kv.get("config/max-conn")->value, "100");
  EXPECT_EQ(kv.get("config/max-conn", {.from_leader = true})->value, "100");
  ASSERT_OK(kv.update("config/max-conn", "200", *revision));
  EXPECT_EQ(kv.get("config/max-conn", {.revision = *revision})->value, "100");
  EXPECT_EQ(kv.history("config/max-conn")->size(), 2U);
  EXPECT_ERROR(kv.create("config/max-conn", "300"), ErrorCode::already_exists);
  EXPECT_THAT(*kv.keys("config/>"), ElementsAre("config/max-conn"));
  ASSERT_OK(kv.remove("config/max-conn"));
  EXPECT_ERROR(kv.get("config/max-conn"), ErrorCode::not_found);
  ASSERT_OK(kv.purge("config/max-conn"));
  EXPECT_ERROR(kv.history("none"), ErrorCode::not_found);
  auto watch = kv.watch("config/>");
  ASSERT_OK(watch);
  EXPECT_EQ(watch->next(soon())->value().operation, KvOperation::purge);
  EXPECT_EQ(*watch->next(soon()), std::nullopt);
  watch->stop();
  EXPECT_ERROR(watch->next(soon()), ErrorCode::cancelled);
}

class KvBucketOnACluster : public test::NatsClusterTest {};

TEST_F(KvBucketOnACluster, HasThreeReplicas) {
  const JetStream jetstream(connect());
  const auto kv = KeyValue::open_or_create(soon(), jetstream, {.bucket = "b"});
  ASSERT_OK(kv);
  ASSERT_OK(kv->put(soon(), "key", "value"));
  EXPECT_EQ(kv->status(soon())->replicas, 3);
  EXPECT_EQ(kv->get(soon(), "key", KvRead::leader)->value, "value");
}

TEST_F(KvBucketOnACluster, WithoutQuorumACallEndsInTimeWithAdviceAndTheNextSucceeds) {
  NatsOptions options = test::client_options(cluster_->urls());
  options.request_timeout = 500ms;
  const auto connected = Connection::connect(soon(), options);
  ASSERT_OK(connected);
  const JetStream jetstream(*connected);
  // A cluster that has just begun may take longer than the requests below.
  ASSERT_OK(KeyValue::open_or_create(soon(), JetStream(connect()), {.bucket = "b"}));
  const auto kv = KeyValue::open_or_create(soon(), jetstream, {.bucket = "b"});
  ASSERT_OK(kv);
  const auto revision = kv->put(soon(), "key", "before");
  ASSERT_OK(revision);
  cluster_->server(1).kill();
  cluster_->server(2).kill();
  const auto put = kv->put(soon(), "key", "during");
  EXPECT_ERROR(put, ErrorCode::unavailable);
  EXPECT_THAT(put.error().message(), testing::HasSubstr("quorum"));
  EXPECT_FALSE(KeyValue::open_or_create(soon(), jetstream, {.bucket = "new"}).has_value());
  ASSERT_OK(cluster_->server(1).start_again(soon()));
  ASSERT_OK(cluster_->server(2).start_again(soon()));
  const Context context = soon(60s);
  while (!kv->put(context, "key", "after")) ASSERT_FALSE(context.wait_for(100ms));
  EXPECT_EQ(kv->get(soon(), "key", KvRead::leader)->value, "after");
}

}  // namespace
}  // namespace litecluster::nats
