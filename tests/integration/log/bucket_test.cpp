// What lies in the bucket: Litestream's layout, and the watch over it.
#include <gtest/gtest.h>

#include "integration/log/log_bucket_fixture.hpp"
#include "log/bucket_guard.hpp"
#include "log/log_watcher.hpp"
#include "log/maintenance.hpp"
#include "log/timestamp.hpp"
#include "support/eventually.hpp"

namespace litecluster::log {
namespace {

using namespace std::chrono_literals;
using litecluster::test::ModelDatabase;
using test::author;
using test::soon;

class BucketTest : public test::LogBucketTest {};

TEST_F(BucketTest, HoldsObjectsAsLitestreamExpectsThem) {
  Appender appender(*bucket_, author(7, "node-a"), read_end_by_listing(*bucket_));
  appender.start({});
  ModelDatabase model;
  const auto time = base::system_clock().wall_time();
  const auto bytes = model.commit(time);
  ASSERT_OK(appender.append(soon(), {.payload = bytes, .checksum = model.checksum()}));
  const auto store = nats::open_object_store(soon(), nats::JetStream(connect()), bucket_name);
  ASSERT_OK(store);
  const auto info = (*store)->info(soon(), "ltx/0/0000000000000001-0000000000000001.ltx");
  ASSERT_OK(info);
  EXPECT_EQ(info->header("Litestream-Timestamp"), format_timestamp(time));
  EXPECT_EQ(info->header("Litecluster-Epoch"), "7");
  EXPECT_EQ(info->header("Litecluster-Node"), "node-a");
  EXPECT_EQ(info->header("Litecluster-Checksum"), to_string(model.checksum()));
  EXPECT_EQ(info->size, bytes.size());
  EXPECT_EQ(*(*store)->get(soon(), *info, 1 << 20), bytes);
}

TEST_F(BucketTest, LeavesForeignObjectsAlone) {
  const auto store = nats::open_object_store(soon(), nats::JetStream(connect()), bucket_name);
  ASSERT_OK(store);
  ASSERT_OK((*store)->put(soon(), "notes.txt", base::as_bytes("hello")));
  ASSERT_OK((*store)->put(soon(), "ltx/0/0000000000000001-0000000000000001.ltx", base::as_bytes("x")));
  const auto view = read_log(soon(), *bucket_);
  ASSERT_OK(view);
  EXPECT_EQ(view->size(), 1U);
  const Object* object = view->find(ObjectName::raw(Txid(1)));
  ASSERT_NE(object, nullptr);
  EXPECT_FALSE(object->author);
  // Without Litestream-Timestamp the server's time counts.
  EXPECT_LT(base::system_clock().wall_time() - object->created_at, 1min);
}

TEST_F(BucketTest, IsFollowedByAWatcherThroughAServerRestart) {
  LogWatcher watcher(*bucket_, {});
  ASSERT_OK(watcher.wait_complete(soon()));
  const auto bucket = open_bucket();
  Appender appender(*bucket, author(1), read_end_by_listing(*bucket));
  appender.start({});
  ModelDatabase model;
  const auto append = [&] {
    const auto bytes = model.commit(base::system_clock().wall_time());
    const Context context = soon();
    while (true) {
      auto object = appender.append(context, {.payload = bytes, .checksum = model.checksum()});
      if (object || context.done()) return object;
    }
  };
  ASSERT_OK(append());
  restart_server();
  const auto object = append();
  ASSERT_OK(object);
  ASSERT_OK(watcher.wait_for(soon(), object->sequence));
  EXPECT_EQ(watcher.view().end().txid, Txid(2));
  ASSERT_OK(bucket->remove(soon(), *object));
}

// The watch is believed only after a while, longer than the watcher waits for one event.
TEST_F(BucketTest, IsFollowedByAWatcherThatEndsWithIt) {
  LogWatcher watcher(*bucket_, {});
  ASSERT_OK(watcher.wait_complete(soon()));
  ASSERT_OK(nats::delete_object_store(soon(), nats::JetStream(connect()), bucket_name));
  EXPECT_TRUE(litecluster::test::eventually([&] { return watcher.has_ended(); }));
  EXPECT_EQ(watcher.status().error().code(), ErrorCode::not_found);
}

TEST_F(BucketTest, TellsItsStateToTheGuard) {
  const auto first = bucket_->state(soon());
  ASSERT_OK(first);
  BucketGuard guard(*first);
  ASSERT_OK(bucket_->put(soon(), {.name = ObjectName::raw(Txid(1))}, base::as_bytes("x")));
  EXPECT_EQ(guard.observe(*bucket_->state(soon())), BucketVerdict::fine);
  EXPECT_GT(guard.remembered()->last_sequence, first->last_sequence);
  const auto connection = connect();
  ASSERT_OK(nats::delete_object_store(soon(), nats::JetStream(connection), bucket_name));
  EXPECT_ERROR(bucket_->state(soon()), ErrorCode::not_found);
  const auto again = open_bucket();
  EXPECT_EQ(guard.observe(*again->state(soon())), BucketVerdict::recreated);
}

}  // namespace
}  // namespace litecluster::log
