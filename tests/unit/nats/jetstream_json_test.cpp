#include "nats/jetstream_json.hpp"

#include <gtest/gtest.h>

#include "nats/server_probe.hpp"

namespace litecluster::nats {
namespace {

using std::chrono::nanoseconds;

TEST(JetStreamJson, ParsesTimesOfAnyPrecisionAndOffset) {
  const auto base = ServerTime(std::chrono::sys_days(std::chrono::year(2026) / 11 / 22)) +
                    std::chrono::hours(20) + std::chrono::minutes(23) + std::chrono::seconds(26);
  EXPECT_EQ(parse_time("2026-11-22T20:23:26Z"), base);
  EXPECT_EQ(parse_time("2026-11-22T20:23:26.43Z"), base + nanoseconds(430'000'000));
  EXPECT_EQ(parse_time("2026-11-22T20:23:26.123456789Z"), base + nanoseconds(123'456'789));
  EXPECT_EQ(parse_time("2026-11-22T20:23:26.1234567899Z"), base + nanoseconds(123'456'789));
  EXPECT_EQ(parse_time("2026-11-22T22:23:26+02:00"), base);
  EXPECT_EQ(parse_time("2026-11-22T18:53:26-01:30"), base);
  EXPECT_EQ(parse_time("0001-01-01T00:00:00Z"), ServerTime{}) << "Go's zero time";
}

TEST(JetStreamJson, RefusesWhatIsNoTime) {
  for (const char* bad : {"", "x", "2026-11-22", "2026-13-22T20:23:26Z", "2026-02-30T20:23:26Z",
                          "2026-11-22T24:23:26Z", "2026-11-22T20:23:26", "2026-11-22T20:23:26.Z",
                          "2026-11-22T20:23:26Zx", "2026-11-22T20:23:26+2:00", "2026-11-22 20:23:26Z"}) {
    EXPECT_EQ(parse_time(bad), std::nullopt) << bad;
  }
}

TEST(JetStreamJson, WritesTimesThatItReads) {
  for (const char* text :
       {"2026-11-22T20:23:26Z", "2026-11-22T20:23:26.43Z", "1970-01-01T00:00:00.000000001Z"}) {
    EXPECT_EQ(format_time(*parse_time(text)), text);
  }
}

TEST(JetStreamJson, ReadsAcknowledgements) {
  const auto ack =
      parse_publish_answer(R"({"stream":"S","seq":7,"duplicate":true,"domain":"d"})", "publish", "s");
  ASSERT_TRUE(ack.has_value());
  EXPECT_EQ(ack->stream, "S");
  EXPECT_EQ(ack->sequence, 7);
  EXPECT_TRUE(ack->duplicate);
  EXPECT_EQ(parse_publish_answer("{}", "publish", "s").error().code(), ErrorCode::corrupt);
  EXPECT_EQ(parse_publish_answer("+OK", "publish", "s").error().code(), ErrorCode::corrupt);
  const auto refused = parse_publish_answer(
      R"({"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"},"stream":"S","seq":0})",
      "publish", "s");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), ErrorCode::conflict);
}

TEST(JetStreamJson, TurnsApiErrorsIntoErrorsWithTheirNumber) {
  const auto error = find_api_error(
      R"({"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"}})", "publish", "s");
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->code(), ErrorCode::conflict);
  EXPECT_EQ(api_error_code(*error), 10071);
  EXPECT_EQ(api_error_code(error->within("put", "x")), 10071);
  EXPECT_EQ(find_api_error(R"({"stream":"S","seq":7})", "publish", "s"), std::nullopt);
  EXPECT_EQ(find_api_error("not json", "publish", "s")->code(), ErrorCode::corrupt);
}

TEST(JetStreamJson, ReadsStreamInformationAndLeavesUnknownSettingsAlone) {
  constexpr std::string_view json =
      R"({"config":{"name":"S","subjects":["a","b.>"],"retention":"limits","max_bytes":5,"max_age":3000,
          "compression":"s2","num_replicas":3,"discard":"new","allow_direct":true},
          "created":"2026-11-22T20:23:26Z","state":{"messages":1,"bytes":2,"first_seq":3,"last_seq":4,
          "subjects":{"a":1}},"total":1,"cluster":{"name":"C","leader":"L"}})";
  const auto info = parse_stream_info(json);
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->config.subjects, (std::vector<std::string>{"a", "b.>"}));
  EXPECT_EQ(info->config.max_bytes, 5);
  EXPECT_EQ(info->config.max_age, nanoseconds(3000));
  EXPECT_EQ(info->config.replicas, 3);
  EXPECT_TRUE(info->config.allow_direct);
  EXPECT_EQ(info->last_sequence, 4);
  EXPECT_EQ(info->leader, "L");
  StreamConfig config = info->config;
  config.max_bytes = 6;
  const auto merged = merge_stream_config(json, config);
  ASSERT_TRUE(merged.has_value());
  EXPECT_NE(merged->find("\"compression\":\"s2\""), std::string::npos);
  EXPECT_NE(merged->find("\"max_bytes\":6"), std::string::npos);
  const auto page = parse_subject_page(json);
  ASSERT_TRUE(page.has_value());
  EXPECT_EQ(page->subjects.size(), 1);
  EXPECT_FALSE(parse_stream_info(R"({"config":[],"state":{}})").has_value());
}

TEST(JetStreamJson, ReadsStoredMessages) {
  const auto message = parse_stored_message(
      R"({"message":{"subject":"s","seq":9,"time":"2026-11-22T20:23:26Z","data":"AP8+/w==",
          "hdrs":"TkFUUy8xLjANCktleTogdjogdw0KRW1wdHk6DQoNCg=="}})");
  ASSERT_TRUE(message.has_value());
  EXPECT_EQ(message->sequence, 9);
  EXPECT_EQ(message->data.size(), 4);
  EXPECT_EQ(message->headers, (Headers{{"Key", "v: w"}, {"Empty", ""}}));
  EXPECT_EQ(message->header("Key"), "v: w");
  EXPECT_EQ(message->header("key"), std::nullopt);
  EXPECT_FALSE(parse_stored_message(R"({"message":{"subject":"s","data":"!"}})").has_value());
}

TEST(JetStreamJson, ReadsServerInformation) {
  const auto info = parse_server_info(
      R"(INFO {"server_id":"I","server_name":"N","version":"2.9.10","headers":true,"max_payload":1048576,
         "jetstream":true,"cluster":"C"})");
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->version, "2.9.10");
  EXPECT_EQ(info->max_payload, 1048576);
  EXPECT_TRUE(info->jetstream);
  EXPECT_FALSE(parse_server_info("HTTP/1.1 400 Bad Request").has_value());
  EXPECT_FALSE(parse_server_info("INFO {").has_value());
  EXPECT_FALSE(parse_server_info(R"(INFO {"version":7})").has_value());
  EXPECT_FALSE(parse_server_info(R"(INFO {"max_payload":1e128})").has_value()) << "no integer holds it";
  EXPECT_FALSE(parse_server_info(R"(INFO {"max_payload":-1})").has_value());
}

TEST(ConsumerInfo, TellsARecentServerByTheTimeOfItsAnswer) {
  const auto old = parse_consumer_info(R"({"name":"c","num_pending":3,"delivered":{"consumer_seq":2}})");
  ASSERT_TRUE(old);
  EXPECT_EQ(old->pending, 5);
  EXPECT_FALSE(old->is_recent);
  const auto recent = parse_consumer_info(R"({"name":"c","num_pending":3,"ts":"2026-01-01T00:00:00Z"})");
  ASSERT_TRUE(recent);
  EXPECT_TRUE(recent->is_recent);
}

}  // namespace
}  // namespace litecluster::nats
