#include "daemon/status_text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace litecluster::daemon {
namespace {

using testing::HasSubstr;
using testing::Not;

NodeStatus some_status() {
  NodeStatus status;
  status.cluster = "my\"app";
  status.node = "n1";
  status.stage = "active";
  status.role = Role::active;
  status.leader = "n1";
  status.epoch = Epoch(7);
  status.position = Position{Txid(0x1e), Checksum(5)};
  status.health = {.level = HealthLevel::warning, .checks = {{"disk", {HealthLevel::warning, "3 % free"}}}};
  status.diverged = {"/data/app.db.diverged-6"};
  return status;
}

TEST(StatusJson, CarriesEverythingAndNullForWhatIsUnknown) {
  Member member;
  member.id.node = "n1";
  member.labels["zone"] = "a";
  const auto object = nlohmann::json::parse(status_json(some_status(), {member}, 42));
  EXPECT_EQ(object["ok"], true);
  EXPECT_EQ(object["cluster"], "my\"app");
  EXPECT_EQ(object["position"]["txid"], "000000000000001e");
  EXPECT_TRUE(object["lag"]["txids"].is_null());
  EXPECT_EQ(object["health"]["checks"][0]["reason"], "3 % free");
  EXPECT_EQ(object["members"][0]["labels"]["zone"], "a");
  EXPECT_EQ(object["pid"], 42);
}

TEST(StatusJson, SurvivesNamesThatAreNotUtf8) {
  NodeStatus status = some_status();
  status.leader = "\xff\xfe";
  EXPECT_TRUE(nlohmann::json::accept(status_json(status, {}, 1)));
}

TEST(Metrics, LeaveOutWhatIsUnknown) {
  NodeStatus status = some_status();
  EXPECT_THAT(metrics_text(status, {}), Not(HasSubstr("litecluster_lag")));
  status.lag = {.txids = 3, .time = std::chrono::milliseconds(1500)};
  const std::string text = metrics_text(status, {});
  EXPECT_THAT(text, HasSubstr("litecluster_lag_txids{cluster=\"my\\\"app\",node=\"n1\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("litecluster_lag_seconds{cluster=\"my\\\"app\",node=\"n1\"} 1.5\n"));
  EXPECT_THAT(text,
              HasSubstr("litecluster_health_check{cluster=\"my\\\"app\",node=\"n1\",check=\"disk\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE litecluster_leader gauge\n"));
}

TEST(ErrorJson, NamesCodeAndMessage) {
  const auto object = nlohmann::json::parse(error_json(Error(ErrorCode::not_leader, "sync", "", "n2 leads")));
  EXPECT_EQ(object["ok"], false);
  EXPECT_EQ(object["code"], "not_leader");
}

}  // namespace
}  // namespace litecluster::daemon
