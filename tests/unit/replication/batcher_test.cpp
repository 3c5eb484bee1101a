#include "replication/batcher.hpp"

#include <gtest/gtest.h>

namespace litecluster::replication {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class BatcherTest : public testing::Test {
 protected:
  // A batcher that has captured and shipped one transaction at `now`.
  Batcher after_one_transaction() {
    Batcher batcher(limits, now);
    batcher.captured(now, true);
    batcher.append_started();
    batcher.append_finished();
    return batcher;
  }

  BatchLimits limits;
  base::BootTime now{seconds(1000)};
};

TEST_F(BatcherTest, CapturesAtStartBecauseTheWalMayHoldCommits) {
  EXPECT_TRUE(Batcher(limits, now).capture_due(now));
}

TEST_F(BatcherTest, TheFirstCommitAfterIdleGoesOutAtOnce) {
  Batcher batcher = after_one_transaction();
  now += limits.min_sync_interval;
  EXPECT_FALSE(batcher.capture_due(now));
  batcher.changed(4096);
  EXPECT_TRUE(batcher.capture_due(now));
}

TEST_F(BatcherTest, UnderLoadCapturesKeepTheirDistance) {
  Batcher batcher = after_one_transaction();
  for (int early = 0; early < limits.burst; ++early) {
    batcher.changed(4096);
    EXPECT_TRUE(batcher.capture_due(now)) << early;
    batcher.captured(now, true);
    batcher.append_started();
    batcher.append_finished();
  }
  batcher.changed(4096);
  EXPECT_FALSE(batcher.capture_due(now + limits.min_sync_interval - milliseconds(1)));
  EXPECT_EQ(batcher.wake_at(), now + limits.min_sync_interval);
  EXPECT_TRUE(batcher.capture_due(now + limits.min_sync_interval));
}

TEST_F(BatcherTest, ALongLoadMakesNoMoreThanOneObjectAnInterval) {
  Batcher batcher = after_one_transaction();
  int captures = 0;
  for (const auto end = now + seconds(10); now < end; now += milliseconds(1)) {
    batcher.changed(4096);
    if (!batcher.capture_due(now)) continue;
    ++captures;
    batcher.captured(now, true);
    batcher.append_started();
    batcher.append_finished();
  }
  EXPECT_LE(captures, seconds(10) / limits.min_sync_interval + limits.burst);
  EXPECT_GE(captures, seconds(10) / limits.min_sync_interval);
}

TEST_F(BatcherTest, CommitsAtJustThatRateGoOutAtOnceThoughNotQuiteEven) {
  Batcher batcher = after_one_transaction();
  for (int commit = 1; commit <= 1000; ++commit) {
    const auto jitter = milliseconds(commit % 3 - 1) * 3;
    const base::BootTime at = now + commit * limits.min_sync_interval + jitter;
    batcher.changed(4096);
    ASSERT_TRUE(batcher.capture_due(at)) << commit;
    batcher.captured(at, true);
    batcher.append_started();
    batcher.append_finished();
  }
}

TEST_F(BatcherTest, AWaiterInSyncDoesNotWaitForTheInterval) {
  Batcher batcher = after_one_transaction();
  batcher.sync_requested();
  EXPECT_TRUE(batcher.capture_due(now));
}

TEST_F(BatcherTest, CommitsGatherWhileAnAppendIsInFlight) {
  Batcher batcher(limits, now);
  batcher.captured(now, true);
  EXPECT_TRUE(batcher.append_due());
  batcher.append_started();
  batcher.changed(4096);
  now += seconds(5);
  EXPECT_FALSE(batcher.capture_due(now));
  batcher.append_finished();
  EXPECT_TRUE(batcher.capture_due(now));
}

TEST_F(BatcherTest, ALotOfWalIsCapturedAheadButOnlyOnce) {
  Batcher batcher(limits, now);
  batcher.captured(now, true);
  batcher.append_started();
  batcher.changed(limits.eager_bytes);
  EXPECT_TRUE(batcher.capture_due(now));
  batcher.captured(now, true);
  batcher.changed(limits.eager_bytes);
  EXPECT_FALSE(batcher.capture_due(now + seconds(1)));
  EXPECT_FALSE(batcher.append_due());
  batcher.append_finished();
  EXPECT_TRUE(batcher.append_due());
}

TEST_F(BatcherTest, AFailedAppendIsTriedAgainBeforeAnythingNewIsCaptured) {
  Batcher batcher(limits, now);
  batcher.captured(now, true);
  batcher.append_started();
  batcher.append_failed();
  batcher.changed(limits.eager_bytes);
  EXPECT_TRUE(batcher.append_due());
  EXPECT_FALSE(batcher.capture_due(now + seconds(1)));
}

TEST_F(BatcherTest, WhatWasCapturedAheadWaitsBehindAnAppendThatCameBack) {
  Batcher batcher(limits, now);
  batcher.captured(now, true);
  batcher.append_started();
  batcher.changed(limits.eager_bytes);
  batcher.captured(now, true);
  batcher.append_failed();
  batcher.append_started();
  batcher.append_finished();
  EXPECT_TRUE(batcher.append_due());
  batcher.append_started();
  batcher.append_finished();
  EXPECT_FALSE(batcher.append_due());
}

TEST_F(BatcherTest, WithoutNotificationItStillLooksNowAndThen) {
  Batcher batcher = after_one_transaction();
  EXPECT_TRUE(batcher.idle());
  EXPECT_EQ(batcher.wake_at(), now + limits.poll_interval);
  EXPECT_TRUE(batcher.capture_due(now + limits.poll_interval));
  batcher.captured(now + limits.poll_interval, false);
  EXPECT_TRUE(batcher.idle());
  EXPECT_FALSE(batcher.capture_due(now + limits.poll_interval + milliseconds(1)));
}

TEST_F(BatcherTest, AnEmptyCaptureDoesNotDelayTheNextCommit) {
  Batcher batcher = after_one_transaction();
  now += seconds(2);
  batcher.changed(0);
  batcher.captured(now, false);
  batcher.changed(4096);
  EXPECT_TRUE(batcher.capture_due(now));
}

}  // namespace
}  // namespace litecluster::replication
