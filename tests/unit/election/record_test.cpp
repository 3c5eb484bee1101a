#include "election/record.hpp"

#include <gtest/gtest.h>

namespace litecluster::election {
namespace {

using namespace std::chrono_literals;

LeaderRecord sample() {
  return {.node = "node-1",
          .incarnation = {.family = 0xC0FFEE, .number = 3},
          .epoch = Epoch(7),
          .state = LeaseState::released,
          .lease_ttl = 10s,
          .heartbeat = 3s,
          .sequence = 42,
          .position = {Txid(16), Checksum(5)},
          .successor = "node-2"};
}

TEST(LeaderRecord, SurvivesTheRoundTrip) {
  const auto decoded = decode_record(encode_record(sample()));
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_EQ(*decoded, sample());
}

TEST(LeaderRecord, HasTheDocumentedText) {
  EXPECT_EQ(encode_record(sample()),
            R"({"checksum":"8000000000000005","epoch":7,"heartbeat_ms":3000,)"
            R"("incarnation":"0000000000c0ffee.3","lease_ttl_ms":10000,"node":"node-1","sequence":42,)"
            R"("state":"released","successor":"node-2","txid":"0000000000000010"})");
}

TEST(LeaderRecord, IgnoresFieldsOfALaterVersion) {
  std::string text = encode_record(sample());
  text.insert(1, R"("zone":"eu",)");
  EXPECT_EQ(*decode_record(text), sample());
}

TEST(LeaderRecord, RefusesWhatItCannotHaveWritten) {
  const std::string good = encode_record(sample());
  const auto without = [&](std::string_view part, std::string_view instead) {
    std::string text = good;
    const std::size_t at = text.find(part);
    EXPECT_NE(at, std::string::npos) << part;
    return text.replace(at, part.size(), instead);
  };
  const std::string bad[] = {"",
                             "null",
                             "[]",
                             "{}",
                             good.substr(0, good.size() - 1),
                             without(R"("epoch":7)", R"("epoch":0)"),
                             without(R"("epoch":7)", R"("epoch":-1)"),
                             without(R"("epoch":7)", R"("epoch":18446744073709551615)"),
                             without(R"("epoch":7)", R"("epoch":"7")"),
                             without(R"("lease_ttl_ms":10000)", R"("lease_ttl_ms":0)"),
                             without(R"("lease_ttl_ms":10000)", R"("lease_ttl_ms":86400001)"),
                             without(R"("released")", R"("lost")"),
                             without(R"("node-1")", R"("")"),
                             without(R"(c0ffee.3)", R"(c0ffee)"),
                             without(R"(c0ffee.3)", R"(c0ffee.4294967296)"),
                             without(R"("8000000000000005")", R"("0000000000000005")"),
                             std::string(record_size_max + 1, ' ')};
  for (const std::string& text : bad) {
    const auto decoded = decode_record(text);
    ASSERT_FALSE(decoded) << text;
    EXPECT_EQ(decoded.error().code(), ErrorCode::corrupt);
  }
}

TEST(Incarnation, KnowsTheEarlierOnesOfItsGuardDead) {
  const Incarnation third{.family = 1, .number = 3};
  EXPECT_TRUE(third.knows_dead({.family = 1, .number = 2}));
  EXPECT_FALSE(third.knows_dead(third));
  EXPECT_FALSE(third.knows_dead({.family = 1, .number = 4}));
  EXPECT_FALSE(third.knows_dead({.family = 2, .number = 1}));
  EXPECT_EQ(parse_incarnation(to_string(third)), third);
}

}  // namespace
}  // namespace litecluster::election
