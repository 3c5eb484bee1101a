#include "locks/lock_record.hpp"

#include <gtest/gtest.h>

namespace litecluster::locks {
namespace {

using namespace std::chrono_literals;

TEST(LockRecord, SurvivesTheWayThroughText) {
  const LockRecord record{.held = true,
                          .token = FencingToken(7),
                          .node = "node \"1\"",
                          .hold = "abc#1",
                          .lease = 10s,
                          .renewals = 3};
  EXPECT_EQ(parse_lock_record(encode(record)), record);
}

TEST(LockRecord, NodeNamesThatAreNotUtf8DoNotBreakTheEncoding) {
  EXPECT_TRUE(parse_lock_record(
                  encode({.held = true, .token = FencingToken(1), .node = "\xff", .hold = "a", .lease = 1s}))
                  .has_value());
}

TEST(LockRecord, AnythingElseIsCorrupt) {
  const std::string good =
      encode({.held = true, .token = FencingToken(7), .node = "n", .hold = "h", .lease = 10s, .renewals = 3});
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  const std::string bad[] = {"",
                             "[]",
                             "{}",
                             "node-1",
                             good.substr(0, good.size() - 1),
                             with("\"version\":1", "\"version\":2"),
                             with("\"held\"", "\"HELD\""),
                             with("\"token\":7", "\"token\":0"),
                             with("\"token\":7", "\"token\":-7"),
                             with("\"token\":7", "\"token\":18446744073709551615"),
                             with("\"token\":7", "\"token\":\"7\""),
                             with("10000", "0"),
                             with("10000", "99999999999"),
                             with("\"hold\"", "\"gold\"")};
  for (const std::string& text : bad) {
    const auto parsed = parse_lock_record(text);
    ASSERT_FALSE(parsed.has_value()) << text;
    EXPECT_EQ(parsed.error().code(), ErrorCode::corrupt);
  }
}

}  // namespace
}  // namespace litecluster::locks
