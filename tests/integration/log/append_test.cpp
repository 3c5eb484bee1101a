// Appends and fences of several writers on one bucket of a real server.
#include "log/appender.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "integration/log/log_bucket_fixture.hpp"

namespace litecluster::log {
namespace {

using namespace std::chrono_literals;
using litecluster::test::ModelDatabase;
using test::author;
using test::soon;

class AppendTest : public test::LogBucketTest {
 protected:
  /// Commits one transaction of the model and appends it.
  static Result<Object> append_next(Appender& appender, ModelDatabase& model) {
    const auto bytes = model.commit(base::system_clock().wall_time());
    return appender.append(soon(), {.payload = bytes, .checksum = model.checksum()});
  }

  /// TXIDs without a gap, and epochs that never go down.
  static void expect_one_history(const LogView& view) {
    EXPECT_TRUE(view.stale().empty());
    EXPECT_TRUE(view.gaps(Txid(0)).empty());
    Epoch epoch;
    for (const auto& [name, object] : view.level(raw_level)) {
      ASSERT_TRUE(object.author);
      EXPECT_GE(object.author->epoch, epoch);
      epoch = object.author->epoch;
    }
  }
};

TEST_F(AppendTest, GivesEachTxidToOneWriterOnly) {
  constexpr int writers = 4;
  std::vector<Error> errors(writers, Error(ErrorCode::internal, "", "", ""));
  std::atomic<int> acknowledged{0};
  {
    std::vector<std::jthread> threads;
    for (int writer = 0; writer < writers; ++writer) {
      threads.emplace_back([&, writer] {
        const auto bucket = open_bucket();
        Appender appender(*bucket, author(1, "node-" + std::to_string(writer)), read_end_by_listing(*bucket));
        appender.start({});
        ModelDatabase model(static_cast<unsigned>(writer));
        while (true) {
          const auto object = append_next(appender, model);
          if (!object) {
            errors[static_cast<std::size_t>(writer)] = object.error();
            return;
          }
          if (++acknowledged == 50) return;
        }
      });
    }
  }
  const auto view = read_log(soon(), *bucket_);
  ASSERT_OK(view);
  EXPECT_EQ(view->end().txid, Txid(50));
  EXPECT_EQ(std::ranges::count(errors, ErrorCode::deposed, &Error::code), writers - 1);
  EXPECT_TRUE(view->level(raw_level).begin()->second.author == view->end().author);
}

TEST_F(AppendTest, AFenceStopsTheOldLeaderAndLosesNothing) {
  std::atomic<std::uint64_t> acknowledged{0};
  std::optional<Error> end_of_old_leader;
  ModelDatabase model;
  std::jthread old_leader([&] {
    const auto bucket = open_bucket();
    Appender appender(*bucket, author(1, "old"), read_end_by_listing(*bucket));
    appender.start({});
    while (!end_of_old_leader && acknowledged < 20'000) {
      // As fast as it could, nobody who restores all of it for each attempt would ever catch up.
      if (acknowledged > 20) soon().wait_for(std::chrono::milliseconds(acknowledged));
      const auto object = append_next(appender, model);
      if (object) {
        ++acknowledged;
      } else {
        end_of_old_leader = object.error();
      }
    }
  });
  while (acknowledged < 20) std::this_thread::yield();
  // Several nodes believe that they have won, each with an epoch of its own.
  std::atomic<int> fences{0};
  {
    std::vector<std::jthread> candidates;
    for (std::uint64_t epoch = 2; epoch <= 5; ++epoch) {
      candidates.emplace_back([this, epoch, &fences] {
        const auto bucket = open_bucket();
        Appender appender(*bucket, author(epoch, "new"), read_end_by_listing(*bucket));
        const auto fence = fence_log(soon(60s), *bucket, appender,
                                     fence_driver(*bucket, "replica-" + std::to_string(epoch) + ".db"));
        if (fence) {
          ++fences;
        } else {
          EXPECT_EQ(fence.error().code(), ErrorCode::deposed) << fence.error().message();
        }
      });
    }
  }
  old_leader.join();
  ASSERT_TRUE(end_of_old_leader);
  EXPECT_EQ(end_of_old_leader->code(), ErrorCode::deposed) << end_of_old_leader->message();
  const auto view = read_log(soon(), *bucket_);
  ASSERT_OK(view);
  expect_one_history(*view);
  EXPECT_EQ(view->highest_epoch(), Epoch(5));
  const auto of_old = static_cast<std::uint64_t>(std::ranges::count_if(
      view->level(raw_level), [](const auto& entry) { return entry.second.author->epoch == Epoch(1); }));
  // What was acknowledged is there. The last one may be there as well, without a proof that it came in time.
  EXPECT_GE(of_old, acknowledged);
  EXPECT_LE(of_old, acknowledged + 1);
  EXPECT_GE(view->level(raw_level).size(), of_old + static_cast<std::uint64_t>(fences));
  EXPECT_LE(view->level(raw_level).size(), of_old + 4);
  EXPECT_EQ(restored(RestoreTarget::latest()), model.state(Txid(of_old)));
}

TEST_F(AppendTest, SurvivesARestartOfTheServerInTheMiddle) {
  Appender appender(*bucket_, author(1), read_end_by_listing(*bucket_));
  appender.start({});
  ModelDatabase model;
  std::atomic<bool> done{false};
  std::atomic<int> appended{0};
  std::jthread writer([&] {
    const Context context = soon(60s);
    for (int count = 0; count < 300; ++count) {
      const auto bytes = model.commit(base::system_clock().wall_time());
      while (true) {
        const auto object =
            appender.append(context.with_timeout(2s), {.payload = bytes, .checksum = model.checksum()});
        if (object) {
          ++appended;
          break;
        }
        ASSERT_NE(object.error().code(), ErrorCode::deposed) << object.error().message();
        ASSERT_FALSE(context.wait_for(20ms)) << object.error().message();
      }
    }
    done = true;
  });
  while (appended < 50) std::this_thread::yield();
  restart_server();
  writer.join();
  ASSERT_TRUE(done);
  const auto view = read_log(soon(), *bucket_);
  ASSERT_OK(view);
  expect_one_history(*view);
  EXPECT_EQ(view->end().txid, Txid(300));
  EXPECT_EQ(restored(RestoreTarget::latest()), model.state(Txid(300)));
}

TEST_F(AppendTest, IsNotFooledByANameThatWasPurged) {
  Appender sleeper(*bucket_, author(1, "sleeper"), read_end_by_listing(*bucket_));
  sleeper.start({});
  ModelDatabase model;
  ASSERT_OK(append_next(sleeper, model));
  const auto other_bucket = open_bucket();
  Appender leader(*other_bucket, author(2, "leader"), read_end_by_listing(*other_bucket));
  ASSERT_OK(fence_log(soon(), *other_bucket, leader, fence_driver(*other_bucket, "replica.db")));
  ModelDatabase other = model;
  other.repeat_state();
  ASSERT_OK(append_next(leader, other));
  for (const std::uint64_t txid : {1U, 2U}) {
    const auto object = other_bucket->info(soon(), ObjectName::raw(Txid(txid)));
    ASSERT_OK(object);
    ASSERT_OK(other_bucket->remove(soon(), *object));
  }
  EXPECT_ERROR(append_next(sleeper, model), ErrorCode::deposed);
}

}  // namespace
}  // namespace litecluster::log
