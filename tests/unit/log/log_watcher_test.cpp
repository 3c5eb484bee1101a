#include "log/log_watcher.hpp"

#include <gtest/gtest.h>

#include <atomic>

#include "unit/log/log_fixture.hpp"

namespace litecluster::log {
namespace {

class LogWatcherTest : public test::LogTest {};

TEST_F(LogWatcherTest, IsCompleteForAnEmptyBucket) {
  const LogWatcher watcher(bucket_, {});
  EXPECT_TRUE(watcher.wait_complete(context_));
  EXPECT_TRUE(watcher.view().empty());
}

TEST_F(LogWatcherTest, SeesWhatIsThereAndWhatComes) {
  const auto leader = make_appender(1);
  leader->start({});
  append_many(*leader, 3);
  std::atomic<int> changes{0};
  const LogWatcher watcher(bucket_, [&changes] { ++changes; });
  ASSERT_TRUE(watcher.wait_complete(context_));
  EXPECT_EQ(watcher.view().end().txid, Txid(3));
  const auto object = append_next(*leader);
  ASSERT_TRUE(watcher.wait_for(context_, object->sequence));
  EXPECT_EQ(watcher.view().end().txid, Txid(4));
  EXPECT_EQ(watcher.with_view([](const LogView& view) { return view.size(); }), 4U);
}

TEST_F(LogWatcherTest, TellsAnAppenderWhereTheLogEnds) {
  const LogWatcher watcher(bucket_, {});
  Appender leader(bucket_, test::author(1), watcher.read_end());
  leader.start({});
  append_many(leader, 2);
  bucket_.advance_sequence(3);
  clock_.advance(std::chrono::hours(1));
  append_many(leader, 1);
  EXPECT_EQ(bucket_.listings(), 0U);
}

TEST_F(LogWatcherTest, WaitsNoLongerThanTheContext) {
  const LogWatcher watcher(bucket_, {});
  const auto waited = watcher.wait_for(context_.with_timeout(std::chrono::milliseconds(20)), Revision(1000));
  EXPECT_EQ(waited.error().code(), ErrorCode::deadline_exceeded);
}

}  // namespace
}  // namespace litecluster::log
