#include "nats/connection.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "base/mutex.hpp"
#include "support/eventually.hpp"
#include "support/nats_fixture.hpp"
#include "support/tcp_proxy.hpp"

namespace litecluster::nats {
namespace {

using base::as_bytes;
using test::soon;

class ConnectionTest : public test::NatsTest {
 protected:
  static void wait_until_lost(Connection& connection) {
    const Context context = soon();
    while (connection.state() == ConnectionState::connected) {
      ASSERT_FALSE(context.wait_for(std::chrono::milliseconds(1)));
    }
  }
};

TEST_F(ConnectionTest, DeliversWhatIsPublishedWithHeadersInOrder) {
  const auto connection = connect();
  auto subscription = connection->subscribe("greetings.*");
  ASSERT_OK(subscription);
  ASSERT_OK(connection->flush(soon()));
  for (int number = 0; number < 100; ++number) {
    ASSERT_OK(connection->publish("greetings.en", as_bytes(std::to_string(number)), {{"Number", "x"}},
                                  "answer.here"));
  }
  for (int number = 0; number < 100; ++number) {
    auto message = subscription->next(soon());
    ASSERT_OK(message);
    EXPECT_EQ(message->subject(), "greetings.en");
    EXPECT_EQ(message->reply(), "answer.here");
    EXPECT_EQ(message->text(), std::to_string(number));
    EXPECT_EQ(message->header("Number"), "x");
    EXPECT_EQ(message->headers(), (Headers{{"Number", "x"}}));
  }
}

TEST_F(ConnectionTest, AnswersRequests) {
  const auto connection = connect();
  auto subscription = connection->subscribe("double");
  ASSERT_OK(subscription);
  std::jthread server([&] {
    for (int count = 0; count < 50; ++count) {
      auto message = subscription->next(soon());
      if (!message) return;
      const std::string text = std::string(message->text()) + std::string(message->text());
      static_cast<void>(connection->publish(message->reply(), as_bytes(text)));
    }
  });
  std::vector<PendingReply> pending;
  for (int number = 0; number < 50; ++number) {
    auto sent = connection->send_request("double", as_bytes(std::to_string(number)));
    ASSERT_OK(sent);
    pending.push_back(std::move(*sent));
  }
  for (int number = 0; number < 50; ++number) {
    auto reply = pending[static_cast<std::size_t>(number)].wait(soon());
    ASSERT_OK(reply);
    EXPECT_EQ(reply->text(), std::to_string(number) + std::to_string(number));
  }
}

TEST_F(ConnectionTest, SaysAtOnceThatNobodyServesASubject) {
  EXPECT_ERROR(connect()->request(soon(), "nobody.here", {}), ErrorCode::unavailable);
}

TEST_F(ConnectionTest, GivesUpARequestAtItsDeadline) {
  const auto connection = connect();
  auto silent = connection->subscribe("silent");
  ASSERT_OK(silent);
  EXPECT_ERROR(
      connection->request(Context::background().with_timeout(std::chrono::milliseconds(20)), "silent", {}),
      ErrorCode::deadline_exceeded);
}

TEST_F(ConnectionTest, GivesUpARequestAtTheRequestTimeoutWithoutADeadline) {
  NatsOptions quick = options();
  quick.request_timeout = std::chrono::milliseconds(20);
  const auto connection = connect(quick);
  auto silent = connection->subscribe("silent");
  ASSERT_OK(silent);
  EXPECT_ERROR(connection->request(Context::background(), "silent", {}), ErrorCode::unavailable);
}

TEST_F(ConnectionTest, EndsWaitsWhenCancelled) {
  const auto connection = connect();
  auto silent = connection->subscribe("silent");
  ASSERT_OK(silent);
  const Context context = Context::background().with_cancel();
  std::jthread canceller([&] {
    soon().wait_for(std::chrono::milliseconds(30));
    context.cancel();
  });
  EXPECT_ERROR(connection->request(context, "silent", {}), ErrorCode::cancelled);
  EXPECT_OK(silent->next(context));  // the request itself
  EXPECT_ERROR(silent->next(context), ErrorCode::cancelled);
}

TEST_F(ConnectionTest, RejectsBadSubjectsAndHeaders) {
  const auto connection = connect();
  EXPECT_ERROR(connection->publish("", {}), ErrorCode::invalid_argument);
  EXPECT_ERROR(connection->publish("a b", {}), ErrorCode::invalid_argument);
  EXPECT_ERROR(connection->publish("a\r\nPUB b 0", {}), ErrorCode::invalid_argument);
  EXPECT_ERROR(connection->publish("a", {}, {{"Name", "x\r\nOther: y"}}), ErrorCode::invalid_argument);
  EXPECT_ERROR(connection->subscribe("a b"), ErrorCode::invalid_argument);
}

TEST_F(ConnectionTest, RefusesMessagesAboveMaxPayload) {
  const auto connection = connect();
  const base::Bytes large(connection->max_payload() + 1);
  EXPECT_ERROR(connection->publish("large", large), ErrorCode::too_large);
  EXPECT_OK(connection->publish("large", base::ByteView(large).first(connection->max_payload())));
  EXPECT_OK(connection->flush(soon()));
}

// The promise that a fenced writer depends on: nothing written in an outage comes out later.
TEST_F(ConnectionTest, FailsToPublishDuringAnOutageAndNeverSendsItLater) {
  const auto connection = connect();
  auto subscription = connection->subscribe("log");
  ASSERT_OK(subscription);
  ASSERT_OK(connection->flush(soon()));
  server_->kill();
  wait_until_lost(*connection);
  for (int attempt = 0; attempt < 100; ++attempt) {
    EXPECT_ERROR(connection->publish("log", as_bytes("too late")), ErrorCode::unavailable);
  }
  ASSERT_OK(server_->start_again(soon()));
  ASSERT_OK(connection->wait_connected(soon()));
  ASSERT_OK(connection->publish("log", as_bytes("after")));
  EXPECT_ERROR(subscription->next(soon()), ErrorCode::gap);
  auto message = subscription->next(soon());
  ASSERT_OK(message);
  EXPECT_EQ(message->text(), "after");
}

// The same with publishers that do not stop while the server goes: whatever publish() refused must not
// arrive.
TEST_F(ConnectionTest, NeverDeliversWhatItRefusedAroundRestarts) {
  const auto publisher = connect();
  std::vector<bool> accepted;
  std::atomic<bool> stop = false;
  std::jthread writer([&] {
    while (!stop) {
      accepted.push_back(
          publisher->publish("numbers", as_bytes(std::to_string(accepted.size()))).has_value());
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  });
  std::vector<std::size_t> seen;
  {
    const auto reader = connect();
    auto subscription = reader->subscribe("numbers");
    ASSERT_OK(subscription);
    for (int round = 0; round < 3; ++round) {
      soon().wait_for(std::chrono::milliseconds(100));
      server_->kill();
      soon().wait_for(std::chrono::milliseconds(50));
      ASSERT_OK(server_->start_again(soon()));
      ASSERT_OK(publisher->wait_connected(soon()));
      ASSERT_OK(reader->wait_connected(soon()));
    }
    soon().wait_for(std::chrono::milliseconds(100));
    stop = true;
    writer.join();
    static_cast<void>(publisher->flush(soon()));
    ASSERT_OK(reader->flush(soon()));
    while (true) {
      auto next = subscription->poll();
      if (next && !*next) break;
      if (next) seen.push_back(std::stoul(std::string((*next)->text())));
    }
  }
  EXPECT_FALSE(seen.empty());
  EXPECT_TRUE(std::ranges::is_sorted(seen));
  for (const std::size_t number : seen) EXPECT_TRUE(accepted[number]) << number;
}

TEST_F(ConnectionTest, FailsRequestsUnderWayWhenTheConnectionBreaks) {
  const auto connection = connect();
  auto silent = connection->subscribe("silent");
  ASSERT_OK(silent);
  auto pending = connection->send_request("silent", {});
  ASSERT_OK(pending);
  server_->kill();
  EXPECT_ERROR(pending->wait(soon()), ErrorCode::unavailable);
}

TEST_F(ConnectionTest, TellsObserversEachChangeInOrder) {
  base::Mutex mutex;
  std::vector<ConnectionState> seen;
  const auto connection = connect();
  const auto observer = connection->observe([&](ConnectionState state) {
    const base::MutexLock lock(mutex);
    seen.push_back(state);
  });
  for (int round = 0; round < 3; ++round) {
    server_->kill();
    wait_until_lost(*connection);
    ASSERT_OK(server_->start_again(soon()));
    ASSERT_OK(connection->wait_connected(soon()));
  }
  EXPECT_EQ(connection->generation(), 4);
  const Context context = soon();
  while (true) {
    const base::MutexLock lock(mutex);
    if (seen.size() == 6) break;
    ASSERT_FALSE(context.done());
  }
  const base::MutexLock lock(mutex);
  for (std::size_t index = 0; index < seen.size(); ++index) {
    EXPECT_EQ(seen[index], index % 2 == 0 ? ConnectionState::reconnecting : ConnectionState::connected);
  }
}

TEST_F(ConnectionTest, ReportsAGapWhenTheQueueOverflowsAndGoesOn) {
  const auto connection = connect();
  SubscriptionOptions small;
  small.messages_max = 10;
  auto subscription = connection->subscribe("flood", small);
  ASSERT_OK(subscription);
  const Context context = soon();
  // What flush() waits for has reached the library, not yet the queue: flood it until it is full.
  bool gap = false;
  while (!gap) {
    for (int number = 0; number < 1000; ++number) ASSERT_OK(connection->publish("flood", as_bytes("x")));
    ASSERT_OK(connection->flush(context));
    for (auto message = subscription->poll(); !gap; message = subscription->poll()) {
      if (message && !*message) break;
      gap = !message && message.error().code() == ErrorCode::gap;
    }
  }
  ASSERT_OK(connection->flush(context));
  while (true) {  // the rest of the flood may still be on its way through the library
    auto left = subscription->poll();
    if (left && !*left) break;
  }
  while (true) {
    // Again and again: the rest of the flood may push it out of the queue.
    ASSERT_OK(connection->publish("flood", as_bytes("last")));
    auto message = subscription->next(context.with_timeout(std::chrono::milliseconds(100)));
    if (!message && message.error().code() == ErrorCode::gap) continue;
    if (!message && message.error().code() == ErrorCode::deadline_exceeded && !context.done()) continue;
    ASSERT_OK(message);
    if (message->text() == "last") break;
  }
}

TEST_F(ConnectionTest, MayBeDestroyedWhileOthersWait) {
  for (int round = 0; round < 20; ++round) {
    auto connection = connect();
    auto subscription = connection->subscribe("x.>");
    ASSERT_OK(subscription);
    auto pending = connection->send_request("x.y", {});
    ASSERT_OK(pending);
    std::jthread receiver([&] {
      while (subscription->next(soon())) {
      }
    });
    std::jthread waiter([&] { static_cast<void>(pending->wait(soon())); });
    for (int number = 0; number < 50; ++number) ASSERT_OK(connection->publish("x.z", as_bytes("data")));
    connection.reset();
  }
}

TEST_F(ConnectionTest, ConnectsOnceAServerAppears) {
  server_->stop();
  const auto connection = Connection::connect_eventually(options());
  ASSERT_OK(connection);
  EXPECT_EQ((*connection)->state(), ConnectionState::reconnecting);
  auto subscription = (*connection)->subscribe("early");
  ASSERT_OK(subscription);
  EXPECT_ERROR((*connection)->publish("early", {}), ErrorCode::unavailable);
  ASSERT_OK(server_->start_again(soon()));
  ASSERT_OK((*connection)->wait_connected(soon()));
  ASSERT_OK((*connection)->publish("early", as_bytes("bird")));
  auto message = subscription->next(soon());
  ASSERT_OK(message);
  EXPECT_EQ(message->text(), "bird");
}

TEST_F(ConnectionTest, SaysThatNoServerAnswers) {
  server_->stop();
  NatsOptions quick = options();
  quick.connect_timeout = std::chrono::milliseconds(100);
  EXPECT_ERROR(Connection::connect(soon(), quick), ErrorCode::unavailable);
}

TEST_F(ConnectionTest, NeverBlocksForLongOnAServerThatDoesNotRead) {
  const auto connection = connect();
  server_->pause();
  const base::Bytes block(1U << 20U);
  // The socket's buffers fill up; then publish() waits for write_timeout, and the connection counts as
  // broken.
  const auto began = std::chrono::steady_clock::now();
  Status status;
  for (int count = 0; status && count < 100; ++count) status = connection->publish("flood", block);
  const auto took = std::chrono::steady_clock::now() - began;
  server_->resume();
  EXPECT_ERROR(status, ErrorCode::unavailable);
  EXPECT_LT(took, write_timeout + std::chrono::seconds(5));
  // The broken connection may count as one for a moment yet; then another takes its place.
  EXPECT_TRUE(test::eventually([&] { return connection->flush(soon()).has_value(); }));
}

TEST_F(ConnectionTest, AFlushEndsWithItsContextOnAServerThatDoesNotAnswer) {
  test::TcpProxy proxy(server_->port());
  const auto connection = connect(test::client_options({proxy.url()}));
  proxy.lose_answers(true);
  EXPECT_ERROR(connection->flush(Context::background().with_timeout(std::chrono::milliseconds(200))),
               ErrorCode::deadline_exceeded);
  const Context cancelled = Context::background().with_cancel();
  std::jthread canceller([&] { cancelled.cancel(); });
  EXPECT_ERROR(connection->flush(cancelled), ErrorCode::cancelled);
  proxy.lose_answers(false);
  proxy.cut();
  EXPECT_TRUE(test::eventually([&] { return connection->flush(soon()).has_value(); }));
}

TEST_F(ConnectionTest, TellsWhichServerItTalksToWhileThereIsOne) {
  const auto connection = connect();
  const auto info = connection->server_info(soon());
  ASSERT_OK(info);
  EXPECT_EQ(info->version, server_->version());
  EXPECT_TRUE(info->jetstream);
  server_->stop();
  EXPECT_ERROR(connection->server_info(soon()), ErrorCode::unavailable);
}

// The library gives up for good when it meets the same authorisation error twice; we do not.
TEST_F(ConnectionTest, ComesBackAfterItsCredentialsWereRefusedForAWhile) {
  const auto connection = connect();
  auto subscription = connection->subscribe("news");
  ASSERT_OK(subscription);
  const auto directory = directory_ / "strict";
  server_->stop();
  {
    PrivateServerOptions strict;
    strict.directory = directory;
    strict.port = server_->port();
    strict.restart = false;
    strict.extra_configuration = "authorization { user: somebody, password: else }";
    auto refusing = PrivateServer::start(soon(), strict);
    ASSERT_OK(refusing);
    const Context context = soon();
    while (connection->last_problem().find("uthorization") == std::string::npos) {
      ASSERT_FALSE(context.wait_for(std::chrono::milliseconds(5))) << connection->last_problem();
    }
    context.wait_for(std::chrono::milliseconds(500));
    EXPECT_EQ(connection->state(), ConnectionState::reconnecting);
  }
  ASSERT_OK(server_->start_again(soon()));
  ASSERT_OK(connection->wait_connected(soon()));
  ASSERT_OK(connection->publish("news", as_bytes("back")));
  EXPECT_ERROR(subscription->next(soon()), ErrorCode::gap);
  auto message = subscription->next(soon());
  ASSERT_OK(message);
  EXPECT_EQ(message->text(), "back");
}

}  // namespace
}  // namespace litecluster::nats
