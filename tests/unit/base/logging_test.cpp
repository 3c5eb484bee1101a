#include "base/logging.hpp"

#include <gtest/gtest.h>

namespace litecluster::base {
namespace {

class Logging : public testing::Test {
 protected:
  ~Logging() override { configure_logging(LogLevel::info, LogFormat::automatic); }
};

TEST_F(Logging, JsonEscapesWhatFieldsContainAndKeepsNumbersBare) {
  configure_logging(LogLevel::info, LogFormat::json);
  testing::internal::CaptureStderr();
  log_info("leader \"elected\"", {{"node", "a\\b\n"}, {"epoch", 7}, {"ready", true}});
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_NE(
      line.find(R"("level":"info","event":"leader \"elected\"","node":"a\\b\u000a","epoch":7,"ready":true})"),
      std::string::npos)
      << line;
}

TEST_F(Logging, TextQuotesOnlyValuesThatNeedIt) {
  configure_logging(LogLevel::info, LogFormat::text);
  testing::internal::CaptureStderr();
  log_warning("bucket full", {{"bucket", "app-wal"}, {"reason", "no space left"}, {"empty", ""}});
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_NE(line.find("bucket full bucket=app-wal reason=\"no space left\" empty=\"\"\n"), std::string::npos)
      << line;
}

TEST_F(Logging, BelowTheLevelNothingIsWritten) {
  configure_logging(LogLevel::warning, LogFormat::text);
  testing::internal::CaptureStderr();
  log_info("not seen");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace litecluster::base
