#include "replication/lag_meter.hpp"

#include <gtest/gtest.h>

namespace litecluster::replication {
namespace {

using std::chrono::seconds;

class LagMeterTest : public testing::Test {
 protected:
  LagMeter meter{seconds(30)};
  base::BootTime now{seconds(1000)};
};

TEST_F(LagMeterTest, IsUnknownUntilTheLogWasRead) {
  EXPECT_EQ(meter.lag(now), Lag{});
  meter.applied(Txid(5), now);
  EXPECT_EQ(meter.lag(now), Lag{});
  meter.log_reaches(Txid(5), now);
  EXPECT_EQ(meter.lag(now), (Lag{0, seconds(0)}));
}

TEST_F(LagMeterTest, CountsTheAgeOfTheOldestObjectThatIsMissing) {
  meter.applied(Txid(5), now);
  meter.log_reaches(Txid(6), now);
  meter.log_reaches(Txid(9), now + seconds(10));
  EXPECT_EQ(meter.lag(now + seconds(12)), (Lag{4, seconds(12)}));
  meter.applied(Txid(6), now + seconds(12));
  EXPECT_EQ(meter.lag(now + seconds(12)), (Lag{3, seconds(2)}));
  meter.applied(Txid(9), now + seconds(13));
  EXPECT_EQ(meter.lag(now + seconds(13)), (Lag{0, seconds(0)}));
}

TEST_F(LagMeterTest, IsUnknownWhileNatsIsAway) {
  meter.log_reaches(Txid(6), now);
  meter.connection_lost();
  EXPECT_EQ(meter.lag(now), Lag{});
  meter.log_reaches(Txid(6), now);
  EXPECT_EQ(meter.lag(now).txids, 6U);
}

TEST_F(LagMeterTest, StallsOnlyWhileSomethingIsMissing) {
  meter.applied(Txid(5), now);
  meter.log_reaches(Txid(5), now);
  EXPECT_FALSE(meter.stalled(now + seconds(1000)));
  now += seconds(1000);
  meter.log_reaches(Txid(6), now);
  EXPECT_FALSE(meter.stalled(now + seconds(29)));
  EXPECT_TRUE(meter.stalled(now + seconds(30)));
  meter.applied(Txid(6), now + seconds(31));
  EXPECT_FALSE(meter.stalled(now + seconds(100)));
}

TEST_F(LagMeterTest, ManyObjectsCostBoundedMemoryAndNoTruth) {
  meter.applied(Txid(0), now);
  for (std::uint64_t txid = 1; txid <= 100'000; ++txid) meter.log_reaches(Txid(txid), now + seconds(txid));
  EXPECT_EQ(meter.lag(now + seconds(100'000)), (Lag{100'000, seconds(99'999)}));
  meter.applied(Txid(100'000), now + seconds(100'001));
  EXPECT_EQ(meter.lag(now + seconds(100'001)), (Lag{0, seconds(0)}));
}

}  // namespace
}  // namespace litecluster::replication
