#include "nats/ordered_consumer.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "support/eventually.hpp"
#include "support/nats_fixture.hpp"

namespace litecluster::nats {
namespace {

using namespace std::chrono_literals;
using base::as_bytes;
using test::soon;

class OrderedConsumerTest : public test::NatsTest {
 protected:
  void SetUp() override {
    NatsTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    jetstream_.emplace(connect());
    make_stream();
  }
  void TearDown() override {
    jetstream_.reset();
    NatsTest::TearDown();
  }
  void make_stream() {
    StreamConfig config;
    config.name = "s";
    config.subjects = {"s.>"};
    config.allow_rollup = true;
    ASSERT_OK(jetstream_->create_stream(soon(), config));
  }
  void publish(int from, int to, const std::string& subject = "s.a") {
    std::vector<PendingAck> pending;
    for (int number = from; number < to; ++number) {
      auto sent = jetstream_->publish_async(subject, as_bytes(std::to_string(number)));
      ASSERT_OK(sent);
      pending.push_back(std::move(*sent));
    }
    for (auto& ack : pending) ASSERT_OK(ack.wait(soon()));
  }
  Result<OrderedConsumer> consume(Start start = StartAll{}, std::string filter = {},
                                  std::chrono::milliseconds heartbeat = std::chrono::milliseconds(200)) {
    return OrderedConsumer::create(soon(), *jetstream_,
                                   {.stream = "s",
                                    .filter = std::move(filter),
                                    .start = start,
                                    .headers_only = false,
                                    .heartbeat = heartbeat});
  }
  static void expect_numbers(OrderedConsumer& consumer, int from, int to) {
    for (int number = from; number < to; ++number) {
      auto delivery = consumer.next(soon());
      ASSERT_OK(delivery);
      ASSERT_EQ(delivery->message.text(), std::to_string(number));
    }
  }
  static void expect_nothing(OrderedConsumer& consumer) {
    EXPECT_ERROR(consumer.next(Context::background().with_timeout(std::chrono::milliseconds(50))),
                 ErrorCode::deadline_exceeded);
  }

  std::optional<JetStream> jetstream_;
};

TEST_F(OrderedConsumerTest, DeliversWhatIsThereAndWhatFollowsInOrder) {
  publish(0, 100);
  auto consumer = consume();
  ASSERT_OK(consumer);
  EXPECT_EQ(consumer->initial_pending(), 100);
  expect_numbers(*consumer, 0, 100);
  expect_nothing(*consumer);
  publish(100, 200);
  expect_numbers(*consumer, 100, 200);
  EXPECT_EQ(consumer->last_sequence(), 200);
  EXPECT_EQ(consumer->restarts(), 0);
}

TEST_F(OrderedConsumerTest, BeginsWhereItIsTold) {
  publish(0, 10);
  publish(10, 20, "s.b");
  auto from = consume(StartAtSequence{15});
  ASSERT_OK(from);
  expect_numbers(*from, 14, 20);
  auto fresh = consume(StartNew{});
  ASSERT_OK(fresh);
  EXPECT_EQ(fresh->initial_pending(), 0);
  auto last = consume(StartLastPerSubject{});
  ASSERT_OK(last);
  EXPECT_EQ(last->initial_pending(), 2);
  expect_numbers(*last, 9, 10);
  expect_numbers(*last, 19, 20);
  auto filtered = consume(StartAll{}, "s.b");
  ASSERT_OK(filtered);
  expect_numbers(*filtered, 10, 20);
  publish(20, 21);
  expect_numbers(*fresh, 20, 21);
  expect_numbers(*last, 20, 21);
  expect_nothing(*filtered);
}

// nats-server before 2.9.12 moves a consumer that lags behind over what was not purged.
TEST_F(OrderedConsumerTest, LosesNothingWhenSubjectsArePurgedMeanwhile) {
  for (const bool sparse : {false, true}) {
    SCOPED_TRACE(sparse);
    auto consumer = OrderedConsumer::create(
        soon(), *jetstream_,
        {.stream = "s", .filter = "s.*", .start = StartNew{}, .sparse = sparse, .heartbeat = 200ms});
    ASSERT_OK(consumer);
    std::vector<PendingAck> open;
    const auto send = [&](const std::string& subject, int number, const Headers& headers = {}) {
      auto sent = jetstream_->publish_async(subject, as_bytes(std::to_string(number)), headers);
      ASSERT_OK(sent);
      open.push_back(std::move(*sent));
    };
    for (int number = 0; number < 900; number += 3) {
      send("s.a", number);
      send("s.x.filler", 0);
      send("s.a", number + 1);
      // Seen through a sparse filter it is the purge's own message that tells: it has to be there.
      send(sparse ? fmt::format("s.b{}", number) : "s.b", number + 2, {{rollup_header, "sub"}});
    }
    for (auto& ack : open) ASSERT_OK(ack.wait(soon()));
    for (int number = 0; number < 900;) {
      auto delivery = consumer->next(soon());
      ASSERT_OK(delivery);
      if (delivery->message.subject() != "s.a") continue;
      ASSERT_EQ(delivery->message.text(), std::to_string(number));
      number += number % 3 == 0 ? 1 : 2;
    }
  }
}

TEST_F(OrderedConsumerTest, LosesNothingAtTheEndWhenASubjectIsPurgedMeanwhile) {
  for (int round = 0; round < 50; ++round) {
    auto consumer = consume(StartNew{}, "s.*", std::chrono::milliseconds(100));
    ASSERT_OK(consumer);
    // A purge that leaves nothing on its subject moves the consumer to the end.
    auto sent = jetstream_->publish_async("s.a", as_bytes("1"));
    ASSERT_OK(sent);
    auto purged = jetstream_->purge(soon(), "s", {.filter = "s.c", .below_sequence = 0, .keep = 0});
    ASSERT_OK(purged);
    ASSERT_OK(sent->wait(soon()));
    auto delivery = consumer->next(soon());
    ASSERT_OK(delivery);
    EXPECT_EQ(delivery->message.text(), "1");
  }
}

TEST_F(OrderedConsumerTest, GoesOnBehindARestartWithoutLossOrRepetition) {
  publish(0, 50);
  auto consumer = consume();
  ASSERT_OK(consumer);
  expect_numbers(*consumer, 0, 20);
  restart_server();
  ASSERT_OK(jetstream_->connection().wait_connected(soon()));
  publish(50, 80);
  expect_numbers(*consumer, 20, 80);
  expect_nothing(*consumer);
}

TEST_F(OrderedConsumerTest, ThatBeganAtNewLosesNothingOverARestart) {
  auto consumer = consume(StartNew{});
  ASSERT_OK(consumer);
  restart_server();
  ASSERT_OK(jetstream_->connection().wait_connected(soon()));
  publish(0, 10);
  expect_numbers(*consumer, 0, 10);
}

TEST_F(OrderedConsumerTest, GoesOnWhenItsConsumerIsTakenAway) {
  publish(0, 10);
  auto consumer = consume();
  ASSERT_OK(consumer);
  expect_numbers(*consumer, 0, 10);
  // Whoever else deletes consumers: the heartbeats end, and a new one is made.
  auto names = jetstream_->api_request(soon(), "CONSUMER.NAMES.s", "", "s");
  ASSERT_OK(names);
  const std::size_t begin = names->find("\"consumers\":[\"") + 14;
  const std::string name = names->substr(begin, names->find('"', begin) - begin);
  ASSERT_OK(jetstream_->api_request(soon(), "CONSUMER.DELETE.s." + name, "", "s"));
  publish(10, 20);
  expect_numbers(*consumer, 10, 20);
  EXPECT_EQ(consumer->restarts(), 1);
}

TEST_F(OrderedConsumerTest, SaysThatTheStreamWasDeleted) {
  publish(0, 1);
  auto consumer = consume();
  ASSERT_OK(consumer);
  expect_numbers(*consumer, 0, 1);
  ASSERT_OK(jetstream_->delete_stream(soon(), "s"));
  EXPECT_ERROR(consumer->next(soon()), ErrorCode::not_found);
  EXPECT_ERROR(consumer->next(soon()), ErrorCode::not_found);
  EXPECT_ERROR(consume(), ErrorCode::not_found);
}

// The verdict takes longer than the patience of each call.
TEST_F(OrderedConsumerTest, SaysThatTheStreamWasDeletedAlsoToWhoAsksWithShortPatience) {
  publish(0, 1);
  auto consumer = consume();
  ASSERT_OK(consumer);
  expect_numbers(*consumer, 0, 1);
  ASSERT_OK(jetstream_->delete_stream(soon(), "s"));
  const Context limit = soon();
  auto delivery = consumer->next(limit.with_timeout(500ms));
  while (!delivery && delivery.error().code() == ErrorCode::deadline_exceeded && !limit.done()) {
    delivery = consumer->next(limit.with_timeout(500ms));
  }
  EXPECT_ERROR(delivery, ErrorCode::not_found);
  EXPECT_ERROR(consumer->next(soon()), ErrorCode::not_found);
}

// What looked lost for a while and is there again was not lost; a later doubt begins anew.
TEST_F(OrderedConsumerTest, ForgetsADoubtThatPassed) {
  publish(0, 5);
  auto consumer = consume();
  ASSERT_OK(consumer);
  expect_numbers(*consumer, 0, 5);
  for (int round = 0; round < 3; ++round) {
    server_->stop();
    const auto store = directory_ / "nats" / "store";
    const auto away = directory_ / "away";
    std::filesystem::rename(store, away);
    ASSERT_OK(server_->start_again(soon()));
    // Long enough for a doubt, too short for the verdict.
    EXPECT_ERROR(consumer->next(Context::background().with_timeout(2s)), ErrorCode::deadline_exceeded);
    server_->stop();
    std::filesystem::remove_all(store);
    std::filesystem::rename(away, store);
    ASSERT_OK(server_->start_again(soon()));
    ASSERT_OK(jetstream_->connection().wait_connected(soon()));
    publish(5 + round, 6 + round);
    expect_numbers(*consumer, 5 + round, 6 + round);
  }
}

TEST_F(OrderedConsumerTest, SaysThatTheStreamWasMadeAnew) {
  publish(0, 5);
  auto consumer = consume();
  ASSERT_OK(consumer);
  expect_numbers(*consumer, 0, 5);
  ASSERT_OK(jetstream_->delete_stream(soon(), "s"));
  make_stream();
  publish(0, 10);
  EXPECT_ERROR(consumer->next(soon()), ErrorCode::gap);
  EXPECT_ERROR(consumer->next(soon()), ErrorCode::gap);
}

// What was read last may be gone for good reasons.
TEST_F(OrderedConsumerTest, GoesOnAlsoWhenTheLastMessageThatItReadWasRemoved) {
  publish(0, 5);
  auto consumer = consume();
  ASSERT_OK(consumer);
  expect_numbers(*consumer, 0, 5);
  ASSERT_OK(jetstream_->delete_message(soon(), "s", 5));
  restart_server();
  ASSERT_OK(jetstream_->connection().wait_connected(soon()));
  publish(5, 10);
  expect_numbers(*consumer, 5, 10);
}

TEST_F(OrderedConsumerTest, LosesNothingWhenItIsAskedWithShortPatience) {
  auto consumer = OrderedConsumer::create(
      soon(), *jetstream_, {.stream = "s", .filter = "s.*", .start = StartNew{}, .heartbeat = 200ms});
  ASSERT_OK(consumer);
  for (int number = 0; number < 50; ++number) {
    publish(0, 1, "s.x.filler");
    publish(number, number + 1);
  }
  int number = 0;
  int turn = 0;
  ASSERT_TRUE(test::eventually([&] {
    // From less than a call needs to more than it needs, however slow the machine is.
    const std::chrono::microseconds patience(10U << (turn++ % 12));
    const auto delivery = consumer->next(Context::background().with_timeout(patience));
    if (delivery) {
      EXPECT_EQ(delivery->message.text(), std::to_string(number++));
    }
    return number == 50;
  }));
  EXPECT_EQ(consumer->restarts(), 0);
}

// A server that comes back with an older state, and whose stream has grown past the old end meanwhile.
TEST_F(OrderedConsumerTest, SaysThatWhatItReadWasReplacedByAnotherHistory) {
  publish(0, 5);
  server_->stop();
  const auto store = directory_ / "nats";
  const auto backup = directory_ / "backup";
  std::filesystem::copy(store, backup, std::filesystem::copy_options::recursive);
  ASSERT_OK(server_->start_again(soon()));
  ASSERT_OK(jetstream_->connection().wait_connected(soon()));
  publish(5, 10);
  auto consumer = consume();
  ASSERT_OK(consumer);
  expect_numbers(*consumer, 0, 10);
  server_->stop();
  std::filesystem::remove_all(store);
  std::filesystem::rename(backup, store);
  ASSERT_OK(server_->start_again(soon()));
  ASSERT_OK(jetstream_->connection().wait_connected(soon()));
  publish(100, 120);
  EXPECT_ERROR(consumer->next(soon()), ErrorCode::gap);
  EXPECT_ERROR(consumer->next(soon()), ErrorCode::gap);
}

TEST_F(OrderedConsumerTest, SaysThatTheStreamEndsBeforeThePlaceToBegin) {
  publish(0, 5);
  EXPECT_OK(consume(StartAtSequence{6}));
  EXPECT_ERROR(consume(StartAtSequence{7}), ErrorCode::gap);
}

// A slow reader and large messages: flow control has to hold the server back.
TEST_F(OrderedConsumerTest, KeepsUpWithMoreThanFitsIntoItsQueue) {
  const std::string block(512 << 10, 'x');
  for (int number = 0; number < 250; ++number)
    ASSERT_OK(jetstream_->publish(soon(), "s.large", as_bytes(block)));
  // A server that is late with its heartbeats on a busy machine is not what this is about.
  auto consumer = consume(StartAll{}, {}, std::chrono::seconds(30));
  ASSERT_OK(consumer);
  soon().wait_for(std::chrono::milliseconds(300));
  for (int number = 0; number < 250; ++number) ASSERT_OK(consumer->next(soon()));
  EXPECT_EQ(consumer->restarts(), 0);
}

TEST_F(OrderedConsumerTest, LosesAndRepeatsNothingWhileTheServerCrashes) {
  constexpr int count = 20'000;
  auto consumer = consume();
  ASSERT_OK(consumer);
  std::set<std::uint64_t> acknowledged;
  std::jthread writer([&] {
    const JetStream own(connect());
    for (int number = 0; number < count; ++number) {
      const Headers id{{message_id_header, std::to_string(number)}};
      while (true) {
        const auto ack = own.publish(soon(), "s.a", as_bytes(std::to_string(number)), id);
        if (ack) {
          acknowledged.insert(ack->sequence);
          break;
        }
        static_cast<void>(own.connection().wait_connected(soon()));
      }
    }
  });
  std::jthread crasher([&] {
    for (int round = 0; round < 3; ++round) {
      soon().wait_for(std::chrono::milliseconds(400));
      server_->kill();
      EXPECT_OK(server_->start_again(soon()));
    }
  });
  std::uint64_t last = 0;
  int expected = 0;
  while (expected < count) {
    auto delivery = consumer->next(soon(std::chrono::seconds(60)));
    ASSERT_OK(delivery);
    ASSERT_GT(delivery->sequence, last);
    last = delivery->sequence;
    ASSERT_EQ(delivery->message.text(), std::to_string(expected));
    ++expected;
  }
  EXPECT_GE(consumer->restarts(), 1);
}

class OrderedConsumerClusterTest : public test::NatsClusterTest {};

TEST_F(OrderedConsumerClusterTest, GoesOnWhenAServerOfTheClusterIsKilled) {
  const JetStream writer(connect());
  StreamConfig config;
  config.name = "s";
  config.subjects = {"s"};
  config.replicas = 3;
  ASSERT_OK(writer.create_stream(soon(), config));
  auto consumer =
      OrderedConsumer::create(soon(), JetStream(connect()),
                              {.stream = "s", .filter = {}, .start = StartAll{}, .headers_only = false});
  ASSERT_OK(consumer);
  int expected = 0;
  for (int victim = 0; victim < 3; ++victim) {
    for (int count = 0; count < 100; ++count) {
      const int number = victim * 100 + count;
      if (count == 50) cluster_->server(static_cast<std::size_t>(victim)).kill();
      const Context context = soon(std::chrono::seconds(150));
      while (true) {
        const auto ack = writer.publish(context, "s", as_bytes(std::to_string(number)),
                                        {{message_id_header, std::to_string(number)}});
        if (ack) break;
        ASSERT_FALSE(context.wait_for(std::chrono::milliseconds(20))) << ack.error().message();
      }
    }
    for (; expected < (victim + 1) * 100; ++expected) {
      auto delivery = consumer->next(soon(std::chrono::seconds(150)));
      ASSERT_OK(delivery);
      ASSERT_EQ(delivery->message.text(), std::to_string(expected));
    }
    ASSERT_OK(cluster_->server(static_cast<std::size_t>(victim)).start_again(soon()));
    wait_for_jetstream();
  }
}

}  // namespace
}  // namespace litecluster::nats
