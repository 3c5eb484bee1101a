#include "daemon/preflight.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace litecluster::daemon {
namespace {

using ::testing::HasSubstr;

TEST(Preflight, VersionsAreComparedByNumber) {
  EXPECT_GT(parse_version("2.12.3"), parse_version("2.9.10"));
  EXPECT_EQ(parse_version("2.9"), parse_version("2.9.0"));
  EXPECT_EQ(parse_version("2.11.0-beta.1"), parse_version("2.11.0"));
  EXPECT_EQ(parse_version("dev"), Version{});
}

TEST(Preflight, OldServersAreRefusedAndThoseThatLoseMessagesPointedOut) {
  EXPECT_EQ(judge_nats_version("2.8.4").level, HealthLevel::critical);
  EXPECT_EQ(judge_nats_version("2.9.10").level, HealthLevel::warning);
  EXPECT_EQ(judge_nats_version("2.12.2").level, HealthLevel::warning);
  EXPECT_EQ(judge_nats_version("2.12.3").level, HealthLevel::passing);
  EXPECT_EQ(judge_nats_version("2.15.0").level, HealthLevel::passing);
}

TEST(Preflight, AChunkHasToFitIntoOneMessage) {
  EXPECT_EQ(judge_max_payload(1 << 20).level, HealthLevel::passing);
  EXPECT_EQ(judge_max_payload(128 * 1024).level, HealthLevel::critical);
}

TEST(Preflight, ABucketThatDropsWhatIsOldestIsRefused) {
  nats::StreamInfo info;
  info.config.name = "OBJ_a-wal";
  info.config.replicas = 3;
  info.config.max_bytes = 1 << 30;
  for (const Finding& finding : judge_bucket("log bucket", info, true)) {
    EXPECT_EQ(finding.level, HealthLevel::passing) << finding.name;
  }
  info.config.discard = "old";
  EXPECT_EQ(judge_bucket("log bucket", info, true).back().level, HealthLevel::critical);
  info.config.max_bytes = -1;
  EXPECT_EQ(judge_bucket("log bucket", info, true).back().level, HealthLevel::warning);
  info.config.discard = "new";
  info.config.max_age = std::chrono::hours(1);
  EXPECT_EQ(judge_bucket("log bucket", info, true).back().level, HealthLevel::critical);
}

TEST(Preflight, TooFewCopiesAreAWarningThatSaysWhatToDo) {
  nats::StreamInfo info;
  info.config.name = "OBJ_a-wal";
  info.config.max_bytes = 1 << 30;
  const auto clustered = judge_bucket("log bucket", info, true).front();
  EXPECT_EQ(clustered.level, HealthLevel::warning);
  EXPECT_THAT(clustered.advice, HasSubstr("nats stream edit OBJ_a-wal --replicas 3"));
  EXPECT_EQ(judge_bucket("log bucket", info, false).front().level, HealthLevel::warning);
}

TEST(Preflight, TheWalResetRaceOfSqliteIsPointedOut) {
  EXPECT_EQ(judge_sqlite_version("3.6.23").level, HealthLevel::passing);
  EXPECT_EQ(judge_sqlite_version("3.40.1").level, HealthLevel::warning);
  EXPECT_EQ(judge_sqlite_version("3.51.2").level, HealthLevel::warning);
  EXPECT_EQ(judge_sqlite_version("3.51.3").level, HealthLevel::passing);
}

TEST(Preflight, AUnitThatSystemdStartsAgainByItselfIsPointedOut) {
  EXPECT_EQ(judge_unit("shop.service", "no").level, HealthLevel::passing);
  EXPECT_EQ(judge_unit("shop.service", "on-failure").level, HealthLevel::warning);
  EXPECT_THAT(judge_unit("shop.service", "always").advice, HasSubstr("Restart=no"));
  EXPECT_EQ(judge_unit("shop.service", "").level, HealthLevel::warning);
}

TEST(Preflight, DiskClockFilesLeaseAndSyncAreJudged) {
  constexpr std::uint64_t gibibyte = std::uint64_t{1} << 30U;
  EXPECT_EQ(judge_disk(10 * gibibyte, 20 * gibibyte).level, HealthLevel::passing);
  EXPECT_EQ(judge_disk(gibibyte / 2, 20 * gibibyte).level, HealthLevel::warning);
  EXPECT_EQ(judge_disk(gibibyte / 32, gibibyte).level, HealthLevel::critical);
  EXPECT_EQ(judge_clock(true).level, HealthLevel::passing);
  EXPECT_EQ(judge_clock(false).level, HealthLevel::warning);
  EXPECT_EQ(judge_open_files(256).level, HealthLevel::warning);
  EXPECT_EQ(judge_open_files(1024).level, HealthLevel::passing);
  EXPECT_EQ(judge_lease(std::chrono::seconds(1)).level, HealthLevel::warning);
  EXPECT_EQ(judge_lease(std::chrono::seconds(10)).level, HealthLevel::passing);
  EXPECT_EQ(judge_sync("always").level, HealthLevel::passing);
  EXPECT_EQ(judge_sync("120 s").level, HealthLevel::warning);
  EXPECT_THAT(judge_sync(std::nullopt).detail, HasSubstr("cannot be seen"));
}

}  // namespace
}  // namespace litecluster::daemon
