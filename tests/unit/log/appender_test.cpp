#include "log/appender.hpp"

#include <gtest/gtest.h>

#include "unit/log/log_fixture.hpp"

namespace litecluster::log {
namespace {

using namespace std::chrono_literals;
using test::author;

class AppenderTest : public test::LogTest {};

TEST_F(AppenderTest, WritesWhatReadersNeedToKnow) {
  const auto appender = make_appender(3);
  appender->start({});
  const auto object = append_next(*appender);
  ASSERT_TRUE(object) << object.error().message();
  EXPECT_EQ(object->name, ObjectName::raw(Txid(1)));
  EXPECT_EQ(object->author, author(3));
  EXPECT_EQ(object->checksum, model_.checksum());
  EXPECT_EQ(object->created_at, clock_.wall_time());
  EXPECT_EQ(appender->end(), Txid(1));
}

TEST_F(AppenderTest, RefusesToStartWithoutTheEndOfTheLog) {
  EXPECT_EQ(append_next(*make_appender(1)).error().code(), ErrorCode::failed_precondition);
}

// Servers that lose an object after they acknowledged it never show it.
TEST_F(AppenderTest, DoesNotWaitForEverToSeeItsObject) {
  std::optional<std::chrono::nanoseconds> patience;
  Appender appender(bucket_, author(1), [&](const Context& context, Revision) -> Result<LogEnd> {
    patience = context.remaining(1h);
    return failure(ErrorCode::deadline_exceeded, "wait for the log", "", "");
  });
  appender.start({});
  EXPECT_EQ(append_next(appender).error().code(), ErrorCode::deadline_exceeded);
  ASSERT_TRUE(patience);
  EXPECT_LE(*patience, 10s);
  EXPECT_TRUE(appender.has_unresolved());
}

TEST_F(AppenderTest, RefusesAFileOfAnotherTxid) {
  const auto appender = make_appender(1);
  appender->start({.txid = Txid(5)});
  EXPECT_EQ(append_next(*appender).error().code(), ErrorCode::invalid_argument);
  EXPECT_EQ(appender->append(context_, {}).error().code(), ErrorCode::invalid_argument);
  EXPECT_FALSE(appender->has_unresolved());
}

TEST_F(AppenderTest, RecognisesItsOwnObjectAfterALostAcknowledgement) {
  const auto appender = make_appender(1);
  appender->start({});
  const auto bytes = model_.commit(clock_.wall_time());
  bucket_.lose_acknowledgements(1);
  EXPECT_EQ(appender->append(context_, {.payload = bytes, .checksum = model_.checksum()}).error().code(),
            ErrorCode::unavailable);
  EXPECT_TRUE(appender->has_unresolved());
  const auto again = appender->append(context_, {.payload = bytes, .checksum = model_.checksum()});
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_FALSE(appender->has_unresolved());
  append_many(*appender, 3);
  EXPECT_EQ(appender->end(), Txid(4));
}

TEST_F(AppenderTest, AcceptsNothingElseWhileAnOutcomeIsUnknown) {
  const auto appender = make_appender(1);
  appender->start({});
  auto other_model = model_;
  const auto bytes = model_.commit(clock_.wall_time());
  bucket_.delay_next_put();
  EXPECT_EQ(appender->append(context_, {.payload = bytes}).error().code(), ErrorCode::unavailable);
  const auto other = other_model.commit(clock_.wall_time() + 1s);
  EXPECT_EQ(appender->append(context_, {.payload = other}).error().code(), ErrorCode::failed_precondition);
  // The first bytes surface at last, and are ours.
  bucket_.deliver_late();
  EXPECT_TRUE(appender->append(context_, {.payload = bytes}));
}

TEST_F(AppenderTest, IsDeposedByTheFenceOfANewerEpoch) {
  const auto old_leader = make_appender(1, "old");
  old_leader->start({});
  append_many(*old_leader, 2);
  auto copy = model_;
  const auto new_leader = make_appender(2, "new");
  new_leader->start({.txid = Txid(2)});
  ASSERT_TRUE(new_leader->append(context_, {.payload = copy.commit(clock_.wall_time())}));
  const auto refused = append_next(*old_leader);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::deposed);
  EXPECT_NE(refused.error().message().find("node new in epoch 2"), std::string::npos);
  EXPECT_EQ(append_next(*old_leader).error().code(), ErrorCode::deposed);
}

TEST_F(AppenderTest, IsDeposedByLitestreamItself) {
  const auto appender = make_appender(1);
  appender->start({});
  append_many(*appender, 1);
  auto copy = model_;
  ASSERT_TRUE(bucket_.put(context_, {.name = ObjectName::raw(Txid(2))}, copy.commit(clock_.wall_time())));
  EXPECT_EQ(append_next(*appender).error().code(), ErrorCode::deposed);
}

TEST_F(AppenderTest, IsDeposedByAnotherNodeOfTheSameEpoch) {
  const auto first = make_appender(1, "a");
  first->start({});
  auto copy = model_;
  append_many(*first, 1);
  const auto second = make_appender(1, "b");
  second->start({});
  EXPECT_EQ(second->append(context_, {.payload = copy.commit(clock_.wall_time())}).error().code(),
            ErrorCode::deposed);
}

TEST_F(AppenderTest, ReplacesAStaleObjectBehindItsOwnFence) {
  const auto leader = make_appender(2);
  leader->start({});
  append_many(*leader, 1);
  auto copy = model_;
  // Epoch 1 wrote TXID 2 although epoch 2 had fenced at 1.
  ASSERT_TRUE(bucket_.put(context_, {.name = ObjectName::raw(Txid(2)), .author = author(1)},
                          copy.commit(clock_.wall_time())));
  const auto object = append_next(*leader);
  ASSERT_TRUE(object) << object.error().message();
  EXPECT_EQ(bucket_.info(context_, ObjectName::raw(Txid(2)))->author, author(2));
}

// A leader's first object is acknowledged, and then lost by the servers.
class AppenderWhoseLastObjectIsLost : public AppenderTest {
 protected:
  void SetUp() override {
    former_->start({});
    append_many(*former_, 1);
    of_others_ = model_;
    leader_->start({.txid = Txid(1)});
    append_many(*leader_, 1);
    bucket_.lose_end(1);
  }
  /// The next file of one who does not know of what was lost.
  base::Bytes next_of_others() { return of_others_.commit(clock_.wall_time()); }

  std::unique_ptr<Appender> former_ = make_appender(1, "former");
  std::unique_ptr<Appender> leader_ = make_appender(3, "leader");
  litecluster::test::ModelDatabase of_others_;
};

// Servers lost the record of epoch 3 as well, so that somebody led in epoch 2 afterwards.
TEST_F(AppenderWhoseLastObjectIsLost, RemovesNobodysObject) {
  const auto other = make_appender(2, "other");
  other->start({.txid = Txid(1)});
  for (int count = 0; count < 2; ++count) {
    ASSERT_TRUE(other->append(context_, {.payload = next_of_others()}));
  }
  const auto refused = append_next(*leader_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::gap);
  EXPECT_NE(refused.error().message().find("node other in epoch 2"), std::string::npos)
      << refused.error().message();
  EXPECT_EQ(append_next(*leader_).error().code(), ErrorCode::gap) << "for good";
  EXPECT_EQ(bucket_.info(context_, ObjectName::raw(Txid(3)))->author, author(2, "other"));
}

// Somebody who did not know of it took the place, and the sequences went on.
TEST_F(AppenderWhoseLastObjectIsLost, DoesNotGoOnBehindAnotherInItsPlace) {
  ASSERT_TRUE(former_->append(context_, {.payload = next_of_others()}));
  bucket_.advance_sequence(10);
  const auto refused = append_next(*leader_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::gap) << refused.error().message();
}

// A former leader's late append stands behind the hole.
TEST_F(AppenderWhoseLastObjectIsLost, RemovesNothingBehindTheHole) {
  static_cast<void>(next_of_others());
  ASSERT_TRUE(bucket_.put(context_, {.name = ObjectName::raw(Txid(3)), .author = author(1, "former")},
                          next_of_others()));
  const auto refused = append_next(*leader_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::gap) << refused.error().message();
  EXPECT_TRUE(bucket_.contains(ObjectName::raw(Txid(3))));
}

// Litestream knows no names that are taken.
TEST_F(AppenderTest, IsDeposedByWhoeverWritesOverItsLastObject) {
  const auto appender = make_appender(1);
  appender->start({});
  append_many(*appender, 2);
  ASSERT_TRUE(bucket_.remove(context_, *bucket_.info(context_, ObjectName::raw(Txid(2)))));
  ASSERT_TRUE(bucket_.put(context_, {.name = ObjectName::raw(Txid(2))}, base::as_bytes("Litestream's")));
  EXPECT_EQ(append_next(*appender).error().code(), ErrorCode::deposed);
}

// Servers lost TXID 2, and the view of the leader of epoch 2 does not show what had come after it.
TEST_F(AppenderTest, RemovesNothingThatWasThereBeforeItsFence) {
  const auto former = make_appender(1, "former");
  former->start({});
  append_many(*former, 1);
  auto copy = model_;
  append_many(*former, 2);
  ASSERT_TRUE(bucket_.remove(context_, *bucket_.info(context_, ObjectName::raw(Txid(2)))));
  const Author late = author(2, "late");
  bool blind = true;
  Appender leader(bucket_, late, [&](const Context& context, Revision sequence) -> Result<LogEnd> {
    if (blind) return LogEnd{.txid = Txid(2), .author = late};
    return read_end_by_listing(bucket_)(context, sequence);
  });
  leader.start({.txid = Txid(1)});
  ASSERT_TRUE(leader.append(context_, {.payload = copy.commit(clock_.wall_time())}));
  blind = false;
  const auto refused = leader.append(context_, {.payload = copy.commit(clock_.wall_time())});
  EXPECT_EQ(refused.error().code(), ErrorCode::deposed);
  EXPECT_EQ(bucket_.info(context_, ObjectName::raw(Txid(3)))->author, author(1, "former"));
}

TEST_F(AppenderTest, KeepsTheBytesWhileTheBucketIsFull) {
  const auto appender = make_appender(1);
  appender->start({});
  const auto bytes = model_.commit(clock_.wall_time());
  bucket_.refuse_puts(1, ErrorCode::resource_exhausted);
  EXPECT_EQ(appender->append(context_, {.payload = bytes}).error().code(), ErrorCode::resource_exhausted);
  EXPECT_TRUE(appender->append(context_, {.payload = bytes}));
}

TEST_F(AppenderTest, DoesNotListWhileNobodyElseWrites) {
  const auto appender = make_appender(1);
  appender->start({});
  append_many(*appender, 3);
  clock_.advance(24h);
  append_many(*appender, 3);
  EXPECT_EQ(bucket_.listings(), 1U) << "only the first, before which others may have written";
  // Somebody else published: the end of the log tells what.
  bucket_.advance_sequence(5);
  append_many(*appender, 1);
  EXPECT_EQ(bucket_.listings(), 2U);
  append_many(*appender, 1);
  EXPECT_EQ(bucket_.listings(), 2U);
}

TEST_F(AppenderTest, WaitsForServersThatDoNotShowItsObjectYet) {
  const auto appender = make_appender(1);
  appender->start({});
  append_many(*appender, 2);
  bucket_.advance_sequence(5);  // Others wrote: only the log's end proves the place of the next one.
  bucket_.hide_newest_from_listings(1);
  const auto bytes = model_.commit(clock_.wall_time());
  EXPECT_EQ(appender->append(context_, {.payload = bytes, .checksum = model_.checksum()}).error().code(),
            ErrorCode::unavailable);
  EXPECT_EQ(appender->end(), Txid(2)) << "stored, and not acknowledged to anybody";
  EXPECT_TRUE(appender->has_unresolved());
  bucket_.hide_newest_from_listings(0);
  const auto again = appender->append(context_, {.payload = bytes, .checksum = model_.checksum()});
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(appender->end(), Txid(3));
  append_many(*appender, 1);
}

TEST_F(AppenderTest, RecognisesItsOwnObjectAlsoWhenItsBytesAreInAFile) {
  const auto appender = make_appender(1);
  appender->start({});
  const auto bytes = model_.commit(clock_.wall_time());
  const auto spooled =
      Payload::spooled(directory_.path(), [&](ltx::Sink& sink) { return sink.write(bytes); });
  ASSERT_TRUE(spooled) << spooled.error().message();
  ASSERT_FALSE(spooled->in_memory());
  bucket_.lose_acknowledgements(1);
  EXPECT_EQ(appender->append(context_, {.payload = *spooled, .checksum = model_.checksum()}).error().code(),
            ErrorCode::unavailable);
  const auto again = appender->append(context_, {.payload = *spooled, .checksum = model_.checksum()});
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->digest, base::sha256(bytes));
  append_many(*appender, 1);
  ASSERT_TRUE(restore_to(RestoreTarget::latest()));
  EXPECT_EQ(restored(), model_.state(Txid(2)));
}

TEST_F(AppenderTest, NoticesThatTheBucketHasLostItsEnd) {
  const auto appender = make_appender(1);
  appender->start({});
  append_many(*appender, 5);
  bucket_.lose_end(1);
  const auto next = append_next(*appender);
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().code(), ErrorCode::gap);
  EXPECT_EQ(append_next(*appender).error(), next.error()) << "it is final";
}

TEST_F(AppenderTest, IsNotFooledByANameThatIsFreeAgainAfterALongSleep) {
  const auto sleeper = make_appender(1, "sleeper");
  sleeper->start({});
  append_many(*sleeper, 2);
  auto other = model_;
  const auto leader = make_appender(2, "leader");
  leader->start({.txid = Txid(2)});
  for (int count = 0; count < 3; ++count) {
    ASSERT_TRUE(leader->append(context_, {.payload = other.commit(clock_.wall_time())}));
  }
  // Compacted and purged: 3 and 4 are free again, the newest stays.
  for (const std::uint64_t txid : {1U, 2U, 3U, 4U}) {
    const auto object = bucket_.info(context_, ObjectName::raw(Txid(txid)));
    ASSERT_TRUE(bucket_.remove(context_, *object));
  }
  // For itself no time has passed: it was stopped with its machine.
  const auto fooled = append_next(*sleeper);
  ASSERT_FALSE(fooled);
  EXPECT_EQ(fooled.error().code(), ErrorCode::deposed) << fooled.error().message();
  // What it left behind is ignored by readers.
  const auto view = read_log(context_, bucket_);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->stale().size(), 1U);
  EXPECT_EQ(view->end().txid, Txid(5));
}

}  // namespace
}  // namespace litecluster::log
