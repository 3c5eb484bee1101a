#include "daemon/scalar.hpp"

#include <gtest/gtest.h>

namespace litecluster::daemon {
namespace {

using namespace std::chrono_literals;

TEST(ParseDuration, TakesEachUnitAndSums) {
  EXPECT_EQ(parse_duration("250ms"), 250ms);
  EXPECT_EQ(parse_duration("10s"), 10s);
  EXPECT_EQ(parse_duration("5m"), 5min);
  EXPECT_EQ(parse_duration("1h30m"), 90min);
  EXPECT_EQ(parse_duration("7d"), 168h);
  EXPECT_EQ(parse_duration("0"), 0ms);
}

TEST(ParseDuration, RefusesWhatIsNotOne) {
  for (const char* bad :
       {"", "10", "s", "-1s", "1.5s", "10 s", "10x", "1s ", "99999999999999999999s", "9999999999d"}) {
    EXPECT_FALSE(parse_duration(bad).has_value()) << bad;
  }
}

TEST(ParseSize, TakesBinaryAndDecimalUnits) {
  EXPECT_EQ(parse_size("4096"), 4096U);
  EXPECT_EQ(parse_size("64KiB"), 65536U);
  EXPECT_EQ(parse_size("2GiB"), std::uint64_t{2} << 30U);
  EXPECT_EQ(parse_size("10MB"), 10'000'000U);
}

TEST(ParseSize, RefusesWhatIsNotOne) {
  for (const char* bad : {"", "-1", "1.5GiB", "GiB", "1 GiB", "1XB", "99999999TiB"}) {
    EXPECT_FALSE(parse_size(bad).has_value()) << bad;
  }
}

TEST(ParseNumber, KeepsWithinItsLimit) {
  EXPECT_EQ(parse_number("4096", 4096), 4096U);
  EXPECT_FALSE(parse_number("4097", 4096).has_value());
  EXPECT_FALSE(parse_number("", 4096).has_value());
  EXPECT_FALSE(parse_number("1x", 4096).has_value());
}

}  // namespace
}  // namespace litecluster::daemon
