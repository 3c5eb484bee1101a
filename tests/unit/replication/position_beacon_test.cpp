#include "replication/position_beacon.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace litecluster::replication {
namespace {

TEST(PositionMessage, SaysWhatIsKnownAndNullForWhatIsNot) {
  StandbyReport report;
  report.position = {Txid(42), Checksum(7), Epoch(3)};
  auto json = nlohmann::json::parse(position_message("n1", report));
  EXPECT_EQ(json["node"], "n1");
  EXPECT_EQ(json["txid"], "000000000000002a");
  EXPECT_EQ(json["epoch"], 3);
  EXPECT_TRUE(json["lag_txids"].is_null());
  EXPECT_TRUE(json["lag_ms"].is_null());
  EXPECT_TRUE(json["problem"].is_null());
  report.lag = {.txids = 0, .time = std::chrono::milliseconds(1500)};
  report.problem = Error(ErrorCode::gap, "follow", "log", "a hole \xFF");
  json = nlohmann::json::parse(position_message("n1", report));
  EXPECT_EQ(json["lag_txids"], 0);
  EXPECT_EQ(json["lag_ms"], 1500);
  EXPECT_EQ(json["problem"].get<std::string>().substr(0, 18), "follow log: a hole");
}

TEST(PositionMessage, GoesToASubjectOfClusterAndNode) {
  EXPECT_EQ(position_subject("app", "n1"), "app.position.n1");
  for (const char* node : {"", "a.b", "a b", "*", ">"}) {
    EXPECT_FALSE(PositionBeacon::start(nullptr, "app", node)) << node;
  }
}

}  // namespace
}  // namespace litecluster::replication
