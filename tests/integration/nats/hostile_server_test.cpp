// What answers is no NATS server, or no JetStream, or says what the API does not say: an error, never an
// answer.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "base/file_descriptor.hpp"
#include "nats/jetstream.hpp"
#include "nats/kv_bucket.hpp"
#include "nats/ordered_consumer.hpp"
#include "nats/server_probe.hpp"
#include "support/nats_fixture.hpp"

namespace litecluster::nats {
namespace {

using namespace std::chrono_literals;
using base::as_bytes;
using test::soon;
using testing::HasSubstr;
using testing::Not;

// Answers all that goes to `subject` with the same message, in place of JetStream.
class Impostor {
 public:
  Impostor(std::shared_ptr<Connection> connection, std::string_view subject)
      : connection_(std::move(connection)) {
    auto subscription = connection_->subscribe(subject);
    if (!subscription || !connection_->flush(soon())) {
      ADD_FAILURE() << "cannot subscribe";
      return;
    }
    thread_ = std::jthread([this, all = std::move(*subscription)]() mutable {
      while (auto request = all.next(context_)) {
        if (request->reply().empty()) continue;
        const std::scoped_lock lock(mutex_);
        EXPECT_OK(connection_->publish(request->reply(), as_bytes(answer_), headers_));
      }
    });
  }
  Impostor(const Impostor&) = delete;
  Impostor& operator=(const Impostor&) = delete;
  ~Impostor() { context_.cancel(); }

  void answer(std::string text, Headers headers = {}) {
    const std::scoped_lock lock(mutex_);
    answer_ = std::move(text);
    headers_ = std::move(headers);
  }

 private:
  std::shared_ptr<Connection> connection_;
  const Context context_ = Context::background().with_cancel();
  std::mutex mutex_;
  std::string answer_;
  Headers headers_;
  std::jthread thread_;
};

class HostileServer : public test::NoJetStreamTest {};

TEST_F(HostileServer, AnswersThatAreNotOfTheApiAreCorrupt) {
  Impostor impostor(connect(), "$JS.API.>");
  Impostor stream(connect(), "s.x");
  const JetStream jetstream(connect());
  StreamConfig config;
  config.name = "S";
  config.subjects = {"s.>"};
  for (const char* text : {"", "no JSON", "[1, 2]", "{", R"("text")"}) {
    SCOPED_TRACE(text);
    impostor.answer(text);
    stream.answer(text);
    EXPECT_ERROR(jetstream.account_info(soon()), ErrorCode::corrupt);
    EXPECT_ERROR(jetstream.stream_info(soon(), "S"), ErrorCode::corrupt);
    EXPECT_ERROR(jetstream.create_stream(soon(), config), ErrorCode::corrupt);
    EXPECT_ERROR(jetstream.purge(soon(), "S", {}), ErrorCode::corrupt);
    EXPECT_ERROR(jetstream.message_at(soon(), "S", 1, true), ErrorCode::corrupt);
    EXPECT_ERROR(jetstream.publish(soon(), "s.x", {}), ErrorCode::corrupt);
  }
}

// A member of a group without a leader answers with what it has, which can be less than there was.
TEST_F(HostileServer, AStreamWithoutALeaderSaysNothingAboutItsHistory) {
  Impostor impostor(connect(), "$JS.API.STREAM.INFO.>");
  const JetStream jetstream(connect());
  const auto answer = [&](std::string_view leader) {
    impostor.answer(fmt::format(R"({{"config":{{"name":"S"}},"state":{{"last_seq":3}},)"
                                R"("created":"2026-01-01T00:00:00Z","cluster":{{"name":"c"{}}}}})",
                                leader));
  };
  const auto begin = [&] {
    return OrderedConsumer::create(soon(), jetstream,
                                   {.stream = "S", .filter = {}, .start = StartAtSequence{4}});
  };
  answer("");
  const auto info = jetstream.stream_info(soon(), "S");
  ASSERT_OK(info);
  EXPECT_FALSE(info->from_leader());
  const auto leaderless = begin();
  EXPECT_ERROR(leaderless, ErrorCode::unavailable);
  EXPECT_THAT(leaderless.error().message(), HasSubstr("no leader"));
  answer(R"(,"leader":"n1")");
  EXPECT_TRUE(jetstream.stream_info(soon(), "S")->from_leader());
  const auto led = begin();
  ASSERT_FALSE(led);
  EXPECT_THAT(led.error().message(), Not(HasSubstr("no leader")));
}

TEST_F(HostileServer, ABucketWithoutALeaderLostNothing) {
  Impostor impostor(connect(), "$JS.API.STREAM.INFO.>");
  const auto answer = [&](int last, std::string_view leader) {
    impostor.answer(
        fmt::format(R"({{"config":{{"name":"KV_b","subjects":["$KV.b.>"]}},"state":{{"last_seq":{}}},)"
                    R"("created":"2026-01-01T00:00:00Z","cluster":{{"name":"c"{}}}}})",
                    last, leader));
  };
  answer(7, R"(,"leader":"n1")");
  const JetStream jetstream(connect());
  const auto bucket = KeyValue::open(soon(), jetstream, std::string("b"));
  ASSERT_OK(bucket);
  EXPECT_OK(bucket->status(soon()));
  answer(3, "");
  EXPECT_ERROR(bucket->status(Context::background().with_timeout(300ms)), ErrorCode::unavailable);
  KeyValueWatchOptions behind_it;
  behind_it.resume_after = Revision(7);
  EXPECT_ERROR(bucket->watch(Context::background().with_timeout(300ms), ">", behind_it),
               ErrorCode::unavailable);
  answer(3, R"(,"leader":"n2")");
  EXPECT_ERROR(bucket->status(soon()), ErrorCode::failed_precondition);
}

TEST_F(HostileServer, ADirectReadTellsWhatItsStatusMeansAndTrustsNoMessageWithoutItsPlace) {
  Impostor impostor(connect(), "$JS.API.DIRECT.GET.>");
  const JetStream jetstream(connect());
  const auto read = [&]() -> Result<StoredMessage> {
    auto pending = jetstream.send_next_message("S", "s.>", 1);
    if (!pending) return std::unexpected(pending.error());
    return pending->wait(soon());
  };
  impostor.answer("value");
  EXPECT_ERROR(read(), ErrorCode::corrupt);
  impostor.answer("value", {{"Nats-Subject", "s.x"}, {"Nats-Sequence", "seven"}, {"Nats-Time-Stamp", "now"}});
  EXPECT_ERROR(read(), ErrorCode::corrupt);
  impostor.answer("", {{"Status", "404"}, {"Description", "Message Not Found"}});
  EXPECT_ERROR(read(), ErrorCode::not_found);
  impostor.answer("", {{"Status", "503"}});
  EXPECT_ERROR(read(), ErrorCode::unavailable);
  impostor.answer("", {{"Status", "408"}, {"Description", "Bad Request"}});
  const auto refused = read();
  EXPECT_ERROR(refused, ErrorCode::invalid_argument);
  EXPECT_THAT(refused.error().message(), HasSubstr("408 Bad Request"));
  impostor.answer("value", {{"Nats-Subject", "s.x"},
                            {"Nats-Sequence", "7"},
                            {"Nats-Time-Stamp", "2026-01-01T00:00:00Z"},
                            {"Own", "1"}});
  const auto message = read();
  ASSERT_OK(message);
  EXPECT_EQ(message->sequence, 7U);
  EXPECT_EQ(message->header("Own"), "1");
  EXPECT_EQ(message->header("Nats-Sequence"), std::nullopt) << "the read's own headers are not the message's";
}

// Sends `greeting` to everybody who connects, and closes the connection then unless it is to `hold` it.
class Greeter {
 public:
  explicit Greeter(std::string greeting, bool hold = false)
      : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
        greeting_(std::move(greeting)),
        hold_(hold) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_.get(), generic, size) != 0 || ::listen(listener_.get(), 4) != 0 ||
        ::getsockname(listener_.get(), generic, &size) != 0) {
      ADD_FAILURE() << "cannot listen";
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this] {
      while (true) {
        base::FileDescriptor client(::accept(listener_.get(), nullptr, nullptr));
        if (!client) return;
        (void)::send(client.get(), greeting_.data(), greeting_.size(), MSG_NOSIGNAL);
        if (hold_) held_ = std::move(client);
      }
    });
  }
  Greeter(const Greeter&) = delete;
  Greeter& operator=(const Greeter&) = delete;
  ~Greeter() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  [[nodiscard]] std::string url() const { return "nats://127.0.0.1:" + std::to_string(port_); }

 private:
  base::FileDescriptor listener_;
  base::FileDescriptor held_;
  std::string greeting_;
  bool hold_;
  std::uint16_t port_ = 0;
  std::jthread thread_;
};

TEST(ServerProbe, KnowsAServerByItsFirstLine) {
  const Greeter server("INFO {\"version\":\"2.9.10\",\"server_name\":\"n1\",\"jetstream\":true}\r\n");
  const auto info = probe_server(soon(), server.url());
  ASSERT_OK(info);
  EXPECT_EQ(info->version, "2.9.10");
  EXPECT_EQ(info->name, "n1");
  EXPECT_TRUE(info->jetstream);
}

TEST(ServerProbe, IsNotFooledByOtherServers) {
  for (const std::string& greeting :
       {std::string("SSH-2.0-OpenSSH\r\n"), std::string("INFO no JSON\r\n"), std::string(100'000, 'x')}) {
    const Greeter server(greeting, true);
    EXPECT_ERROR(probe_server(soon(), server.url()), ErrorCode::corrupt);
  }
  const Greeter closes("");
  EXPECT_ERROR(probe_server(soon(), closes.url()), ErrorCode::unavailable);
  const Greeter breaks_off("INFO {\"version\"");
  EXPECT_ERROR(probe_server(soon(), breaks_off.url()), ErrorCode::unavailable);
}

TEST(ServerProbe, EndsWithItsContextWhenTheServerIsSilent) {
  const Greeter silent("", true);
  EXPECT_ERROR(probe_server(Context::background().with_timeout(50ms), silent.url()),
               ErrorCode::deadline_exceeded);
  const Context cancelled = Context::background().with_cancel();
  std::jthread canceller([&] { cancelled.cancel(); });
  EXPECT_ERROR(probe_server(cancelled, silent.url()), ErrorCode::cancelled);
}

TEST(ServerProbe, KnowsWhatIsSecretInAUrl) {
  EXPECT_EQ(without_credentials("nats://user:secret@host:4222"), "nats://host:4222");
  EXPECT_EQ(without_credentials("tls://token@host"), "tls://host");
  EXPECT_EQ(without_credentials("user:s@cret@[::1]:1"), "[::1]:1");
  EXPECT_EQ(without_credentials("nats://host:4222"), "nats://host:4222");
  EXPECT_EQ(without_credentials("host"), "host");
}

TEST(ServerProbe, SaysThatNobodyIsThere) {
  const auto port = find_free_port();
  ASSERT_OK(port);
  const auto nobody = probe_server(soon(), "nats://user:secret@127.0.0.1:" + std::to_string(*port));
  EXPECT_ERROR(nobody, ErrorCode::unavailable);
  EXPECT_THAT(nobody.error().message(), HasSubstr("127.0.0.1"));
  EXPECT_THAT(nobody.error().message(), Not(HasSubstr("secret")));
  EXPECT_ERROR(probe_server(soon(), "nats://[::1]:" + std::to_string(*port)), ErrorCode::unavailable);
  EXPECT_ERROR(probe_server(soon(), "nats://127.0.0.1:no-port"), ErrorCode::unavailable);
}

}  // namespace
}  // namespace litecluster::nats
