#include "nats/jetstream.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "support/nats_fixture.hpp"

namespace litecluster::nats {
namespace {

using base::as_bytes;
using test::soon;

class JetStreamTest : public test::NatsTest {
 protected:
  static StreamConfig config(bool direct = true) {
    StreamConfig config;
    config.name = "s";
    config.subjects = {"s.>"};
    config.allow_direct = direct;
    config.allow_rollup = true;
    return config;
  }
};

TEST_F(JetStreamTest, AcknowledgesManyPublishesUnderWayEachByItself) {
  const JetStream jetstream(connect());
  ASSERT_OK(jetstream.create_stream(soon(), config()));
  std::vector<PendingAck> pending;
  for (int number = 0; number < 500; ++number) {
    Headers headers;
    if (number % 10 == 9) headers.push_back({expected_last_subject_sequence_header, "7777"});
    auto sent = jetstream.publish_async("s.n", as_bytes(std::to_string(number)), headers);
    ASSERT_OK(sent);
    pending.push_back(std::move(*sent));
  }
  std::uint64_t sequence = 0;
  for (std::size_t number = 0; number < pending.size(); ++number) {
    const auto ack = pending[number].wait(soon());
    if (number % 10 == 9) {
      EXPECT_ERROR(ack, ErrorCode::conflict);
      EXPECT_EQ(api_error_code(ack.error()), 10071);
    } else {
      ASSERT_OK(ack);
      EXPECT_EQ(ack->sequence, ++sequence);
      EXPECT_EQ(ack->stream, "s");
    }
  }
}

// Up to which version a server looks at the message id before it looks at the expected sequence is its own
// affair; 2.9 does, 2.15 does not. Whoever repeats a publish has to understand both answers.
TEST_F(JetStreamTest, StoresARepetitionWithAnExpectedSequenceOnce) {
  const JetStream jetstream(connect());
  ASSERT_OK(jetstream.create_stream(soon(), config()));
  const Headers headers{{message_id_header, "one"}, {expected_last_subject_sequence_header, "0"}};
  const auto first = jetstream.publish(soon(), "s.once", as_bytes("x"), headers);
  ASSERT_OK(first);
  EXPECT_FALSE(first->duplicate);
  const auto again = jetstream.publish(soon(), "s.once", as_bytes("x"), headers);
  if (again) {
    EXPECT_TRUE(again->duplicate);
    EXPECT_EQ(again->sequence, first->sequence);
  } else {
    EXPECT_ERROR(again, ErrorCode::conflict);
  }
  EXPECT_ERROR(jetstream.publish(soon(), "s.once", as_bytes("x"),
                                 {{message_id_header, "two"}, {expected_last_subject_sequence_header, "0"}}),
               ErrorCode::conflict);
  EXPECT_EQ(jetstream.stream_info(soon(), "s")->messages, 1);
}

TEST_F(JetStreamTest, RecognisesARepetitionByItsMessageId) {
  const JetStream jetstream(connect());
  ASSERT_OK(jetstream.create_stream(soon(), config()));
  const auto first = jetstream.publish(soon(), "s.once", as_bytes("x"), {{message_id_header, "one"}});
  ASSERT_OK(first);
  const auto again = jetstream.publish(soon(), "s.once", as_bytes("x"), {{message_id_header, "one"}});
  ASSERT_OK(again);
  EXPECT_TRUE(again->duplicate);
  EXPECT_EQ(again->sequence, first->sequence);
}

TEST_F(JetStreamTest, ReadsByLastSequenceAndNextWithAndWithoutDirectReads) {
  const JetStream jetstream(connect());
  for (const bool direct : {true, false}) {
    ASSERT_OK(jetstream.create_stream(soon(), config(direct)));
    ASSERT_OK(jetstream.publish(soon(), "s.a", as_bytes(std::string_view("\0\x01 binary \xff", 11)),
                                {{"Key", "v: w"}}));
    ASSERT_OK(jetstream.publish(soon(), "s.b", as_bytes("b")));
    ASSERT_OK(jetstream.publish(soon(), "s.a", as_bytes("a2")));
    const auto last = jetstream.last_message(soon(), "s", "s.a");
    ASSERT_OK(last);
    EXPECT_EQ(last->sequence, 3);
    EXPECT_EQ(base::as_text(last->data), "a2");
    for (const bool leader : {true, false}) {
      const auto first = jetstream.message_at(soon(), "s", 1, leader);
      ASSERT_OK(first);
      EXPECT_EQ(first->subject, "s.a");
      EXPECT_EQ(base::as_text(first->data), std::string_view("\0\x01 binary \xff", 11));
      EXPECT_EQ(first->headers, (Headers{{"Key", "v: w"}}));
      EXPECT_GT(first->time, ServerTime(std::chrono::sys_days(std::chrono::year(2024) / 1 / 1)));
      EXPECT_ERROR(jetstream.message_at(soon(), "s", 99, leader), ErrorCode::not_found);
      EXPECT_ERROR(jetstream.last_message(soon(), "s", "s.none", leader), ErrorCode::not_found);
    }
    if (direct) {
      const auto next = jetstream.next_message(soon(), "s", "s.a", 2);
      ASSERT_OK(next);
      EXPECT_EQ(next->sequence, 3);
      EXPECT_ERROR(jetstream.next_message(soon(), "s", "s.a", 4), ErrorCode::not_found);
    }
    ASSERT_OK(jetstream.delete_stream(soon(), "s"));
  }
  EXPECT_ERROR(jetstream.last_message(soon(), "s", "s.a"), ErrorCode::not_found);
}

TEST_F(JetStreamTest, TellsUpdatesAndPurgesStreams) {
  const JetStream jetstream(connect());
  EXPECT_ERROR(jetstream.stream_info(soon(), "s"), ErrorCode::not_found);
  ASSERT_OK(jetstream.create_stream(soon(), config()));
  ASSERT_OK(jetstream.create_stream(soon(), config()));
  StreamConfig other = config();
  other.allow_rollup = false;
  EXPECT_ERROR(jetstream.create_stream(soon(), other), ErrorCode::already_exists);
  for (int number = 0; number < 10; ++number) {
    ASSERT_OK(jetstream.publish(soon(), number % 2 == 0 ? "s.even" : "s.odd", as_bytes("x")));
  }
  auto info = jetstream.stream_info(soon(), "s", "s.e*");
  ASSERT_OK(info);
  EXPECT_TRUE(info->subjects.empty()) << "a star stands for a whole token";
  info = jetstream.stream_info(soon(), "s", ">");
  ASSERT_OK(info);
  EXPECT_EQ(info->messages, 10);
  EXPECT_EQ(info->last_sequence, 10);
  EXPECT_EQ(info->config.subjects, config().subjects);
  EXPECT_NE(info->created, ServerTime{});
  EXPECT_EQ(info->subjects.size(), 2);
  const auto purged = jetstream.purge(soon(), "s", {.filter = "s.odd", .below_sequence = 0, .keep = 1});
  ASSERT_OK(purged);
  EXPECT_EQ(*purged, 4);
  ASSERT_OK(jetstream.delete_message(soon(), "s", 1));
  EXPECT_ERROR(jetstream.delete_message(soon(), "s", 1), ErrorCode::not_found);
  EXPECT_ERROR(jetstream.delete_message(soon(), "s", 1000), ErrorCode::not_found);
  StreamConfig changed = config();
  changed.max_bytes = 1 << 20;
  const auto updated = jetstream.update_stream(soon(), changed);
  ASSERT_OK(updated);
  EXPECT_EQ(updated->config.max_bytes, 1 << 20);
  EXPECT_EQ(updated->messages, 5);
}

TEST_F(JetStreamTest, SaysThatTheStreamIsFull) {
  const JetStream jetstream(connect());
  StreamConfig small = config();
  small.max_bytes = 10'000;
  ASSERT_OK(jetstream.create_stream(soon(), small));
  Result<PublishAck> ack = PublishAck{};
  for (int number = 0; ack && number < 100; ++number) {
    ack = jetstream.publish(soon(), "s.x", base::Bytes(1000));
  }
  EXPECT_ERROR(ack, ErrorCode::resource_exhausted);
}

using NoJetStreamTest = test::NoJetStreamTest;

TEST_F(NoJetStreamTest, IsSaidWithAdvice) {
  const JetStream jetstream(connect());
  const auto info = jetstream.account_info(soon());
  EXPECT_ERROR(info, ErrorCode::unavailable);
  EXPECT_NE(info.error().message().find("JetStream"), std::string::npos);
  EXPECT_ERROR(jetstream.publish(soon(), "s.x", {}), ErrorCode::unavailable);
}

}  // namespace
}  // namespace litecluster::nats
