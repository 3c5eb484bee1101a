#include "log/timestamp.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <random>

namespace litecluster::log {
namespace {

using std::chrono::milliseconds;

base::WallTime at(std::int64_t ms) {
  return base::WallTime(milliseconds(ms));
}

TEST(Timestamp, TrimsTheFractionAsGoDoes) {
  EXPECT_EQ(format_timestamp(at(0)), "1970-01-01T00:00:00Z");
  EXPECT_EQ(format_timestamp(at(1'795'379'006'430)), "2026-11-22T20:23:26.43Z");
  EXPECT_EQ(format_timestamp(at(1'795'379'006'400)), "2026-11-22T20:23:26.4Z");
  EXPECT_EQ(format_timestamp(at(1'795'379'006'007)), "2026-11-22T20:23:26.007Z");
  EXPECT_EQ(format_timestamp(at(-1)), "1969-12-31T23:59:59.999Z");
}

TEST(Timestamp, ReadsBackEveryMillisecond) {
  std::mt19937_64 random(1);
  std::uniform_int_distribution<std::int64_t> any(-62'135'596'800'000, 253'402'300'799'999);
  for (int round = 0; round < 10'000; ++round) {
    const auto time = at(any(random));
    EXPECT_EQ(parse_timestamp(format_timestamp(time)), time) << format_timestamp(time);
  }
}

TEST(Timestamp, AcceptsOffsetsAndNanoseconds) {
  EXPECT_EQ(parse_timestamp("2026-11-22T21:23:26.43+01:00"), at(1'795'379'006'430));
  EXPECT_EQ(parse_timestamp("2026-11-22T14:53:26.430999999-05:30"), at(1'795'379'006'430));
  EXPECT_EQ(parse_timestamp("0001-01-01T00:00:00Z"), at(-62'135'596'800'000));
}

TEST(Timestamp, RefusesWhatIsNoTime) {
  for (const char* text :
       {"", "2026", "2026-11-22", "2026-11-22T20:23:26", "2026-11-22 20:23:26Z", "2026-13-22T20:23:26Z",
        "2026-02-29T20:23:26Z", "2026-11-22T24:00:00Z", "2026-11-22T20:60:00Z", "2026-11-22T20:23:60Z",
        "2026-11-22T20:23:26.Z", "2026-11-22T20:23:26Zx", "2026-11-22T20:23:26+24:00",
        "2026-11-22T20:23:26+0100", "-026-11-22T20:23:26Z", "2026-1-22T20:23:26Z"}) {
    EXPECT_FALSE(parse_timestamp(text)) << text;
  }
}

}  // namespace
}  // namespace litecluster::log
