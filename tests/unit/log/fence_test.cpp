#include "log/fence.hpp"

#include <gtest/gtest.h>

#include "log/restore.hpp"
#include "unit/log/log_fixture.hpp"

namespace litecluster::log {
namespace {

using test::author;

class FenceTest : public test::LogTest {
 protected:
  /// A driver that plays the replica with the model, which is always at the end of the log.
  FenceDriver driver() {
    return {.apply = [this](const Context&, const LogView&, Txid txid) -> Status {
              applied_.push_back(txid);
              return {};
            },
            .make_file = [this](const Context&, Txid txid) -> Result<NewFile> {
              if (txid == Txid(1))
                return NewFile{.payload = model_.commit(clock_.wall_time()), .checksum = model_.checksum()};
              auto bytes = make_fence_file(txid, model_.page_count(), model_.page(1), clock_.wall_time(),
                                           ltx::PageEncoding::block);
              if (!bytes) return std::unexpected(bytes.error());
              return NewFile{.payload = std::move(*bytes),
                             .pre_apply = model_.checksum(),
                             .checksum = model_.checksum()};
            }};
  }

  std::vector<Txid> applied_;
};

TEST_F(FenceTest, ChangesNothingInTheDatabase) {
  const auto old_leader = make_appender(1, "old");
  old_leader->start({});
  append_many(*old_leader, 3);
  const auto leader = make_appender(2, "new");
  const auto fence = fence_log(context_, bucket_, *leader, driver());
  ASSERT_TRUE(fence) << fence.error().message();
  EXPECT_EQ(fence->name, ObjectName::raw(Txid(4)));
  EXPECT_EQ(applied_, std::vector<Txid>{Txid(3)});
  ASSERT_TRUE(restore_to(RestoreTarget::latest()));
  EXPECT_EQ(restored(), model_.state(Txid(3)));
  EXPECT_EQ(append_next(*old_leader).error().code(), ErrorCode::deposed);
}

TEST_F(FenceTest, AWatchThatIsBehindCostsAListingAndNothingElse) {
  const auto old_leader = make_appender(1, "old");
  old_leader->start({});
  append_many(*old_leader, 3);
  const auto behind = read_log(context_, bucket_);
  ASSERT_TRUE(behind);
  append_many(*old_leader, 2);
  const auto leader = make_appender(2, "new");
  const auto fence = fence_log(context_, bucket_, *leader, driver(), *behind);
  ASSERT_TRUE(fence) << fence.error().message();
  EXPECT_EQ(fence->name, ObjectName::raw(Txid(6)));
  EXPECT_EQ(applied_, (std::vector<Txid>{Txid(3), Txid(5)}));
  const std::size_t listings = bucket_.listings();
  const auto next = make_appender(3, "next");
  ASSERT_TRUE(fence_log(context_, bucket_, *next, driver(), *read_log(context_, bucket_)));
  EXPECT_EQ(bucket_.listings(), listings + 2)
      << "this test's, and the proof's, for which a node has its watch";
  // A newer epoch that the view does not show is found in time.
  EXPECT_EQ(fence_log(context_, bucket_, *make_appender(2, "late"), driver(), *behind).error().code(),
            ErrorCode::deposed);
}

TEST_F(FenceTest, IsNotPlacedBehindAnObjectThatTheListingDoesNotShow) {
  const auto old_leader = make_appender(1, "old");
  old_leader->start({});
  append_many(*old_leader, 2);
  bucket_.hide_newest_from_listings(1);
  const auto leader = make_appender(2, "new");
  EXPECT_EQ(fence_log(context_, bucket_, *leader, driver()).error().code(), ErrorCode::unavailable);
  EXPECT_EQ(applied_, std::vector<Txid>{Txid(1)});
  EXPECT_FALSE(bucket_.contains(ObjectName::raw(Txid(3))));
  bucket_.hide_newest_from_listings(0);
  const auto fence = fence_log(context_, bucket_, *leader, driver());
  ASSERT_TRUE(fence) << fence.error().message();
  EXPECT_EQ(fence->name, ObjectName::raw(Txid(3)));
  EXPECT_EQ(applied_.back(), Txid(2));
}

TEST_F(FenceTest, OfAnEmptyLogIsTheWholeDatabase) {
  const auto leader = make_appender(1);
  ASSERT_TRUE(fence_log(context_, bucket_, *leader, driver()));
  append_many(*leader, 2);
  ASSERT_TRUE(restore_to(RestoreTarget::latest()));
  EXPECT_EQ(restored(), model_.state(Txid(3)));
}

TEST_F(FenceTest, TakesInWhatTheOldLeaderAppendedMeanwhile) {
  const auto old_leader = make_appender(1, "old");
  old_leader->start({});
  append_many(*old_leader, 1);
  int late_appends = 2;
  bucket_.before_put([&](const NewObject& object) {
    if (object.author->epoch != Epoch(2) || late_appends-- <= 0) return;
    ASSERT_TRUE(append_next(*old_leader));
  });
  const auto leader = make_appender(2, "new");
  const auto fence = fence_log(context_, bucket_, *leader, driver());
  ASSERT_TRUE(fence) << fence.error().message();
  EXPECT_EQ(fence->name, ObjectName::raw(Txid(4)));
  EXPECT_EQ(applied_, (std::vector<Txid>{Txid(1), Txid(2), Txid(3)}));
}

TEST_F(FenceTest, TriedAgainAfterALostAcknowledgementStandsOnce) {
  const auto old_leader = make_appender(1, "old");
  old_leader->start({});
  append_many(*old_leader, 1);
  const auto leader = make_appender(2, "new");
  bucket_.lose_acknowledgements(1);
  EXPECT_EQ(fence_log(context_, bucket_, *leader, driver()).error().code(), ErrorCode::unavailable);
  const auto fence = fence_log(context_, bucket_, *leader, driver());
  ASSERT_TRUE(fence) << fence.error().message();
  EXPECT_EQ(fence->name, ObjectName::raw(Txid(2)));
  model_.repeat_state();
  append_many(*leader, 1);
  EXPECT_EQ(leader->end(), Txid(3));
}

TEST_F(FenceTest, ThatArrivesLateIsRecognisedUnderItsName) {
  const auto old_leader = make_appender(1, "old");
  old_leader->start({});
  append_many(*old_leader, 1);
  const auto leader = make_appender(2, "new");
  bucket_.delay_next_put();
  ASSERT_FALSE(fence_log(context_, bucket_, *leader, driver()));
  clock_.advance(std::chrono::seconds(1));  // so that the second attempt has other bytes
  bool arrived = false;
  bucket_.before_put([&](const NewObject&) {
    if (!std::exchange(arrived, true)) bucket_.deliver_late();
  });
  const auto fence = fence_log(context_, bucket_, *leader, driver());
  ASSERT_TRUE(fence) << fence.error().message();
  EXPECT_EQ(fence->name, ObjectName::raw(Txid(2)));
  model_.repeat_state();
  append_many(*leader, 1);
}

// The servers lost TXIDs 2 and 3. Somebody's fence went to 2, which is all that this one did; the old
// leader's next append went behind that.
class FenceBelowAStaleObject : public FenceTest {
 protected:
  void SetUp() override {
    const auto old_leader = make_appender(1, "old");
    old_leader->start({});
    append_many(*old_leader, 2);
    const Txid hole = old_leader->end();
    append_many(*old_leader, 1);
    bucket_.lose_end(2);
    ASSERT_TRUE(bucket_.put(context_,
                            {.name = ObjectName::raw(hole),
                             .created_at = clock_.wall_time(),
                             .author = author(2, "second"),
                             .checksum = model_.checksum()},
                            *make_fence_file(hole, model_.page_count(), model_.page(1), clock_.wall_time(),
                                             ltx::PageEncoding::block)));
    at_three_ = model_;
    EXPECT_EQ(append_next(*old_leader).error().code(), ErrorCode::gap);
    ASSERT_TRUE(bucket_.contains(ObjectName::raw(Txid(4))));
    // It stands at 2. The next goes to 3, which is free.
    const auto fence = fence_log(context_, bucket_, *third_, driver());
    ASSERT_TRUE(fence) << fence.error().message();
    EXPECT_EQ(fence->name, ObjectName::raw(Txid(3)));
  }

  std::unique_ptr<Appender> third_ = make_appender(3, "third");
  litecluster::test::ModelDatabase at_three_;
};

TEST_F(FenceBelowAStaleObject, IsFollowedByTheNextFenceInItsPlace) {
  const auto fourth = make_appender(4, "fourth");
  const auto next = fence_log(context_, bucket_, *fourth, driver());
  ASSERT_TRUE(next) << next.error().message();
  EXPECT_EQ(next->name, ObjectName::raw(Txid(4)));
  EXPECT_EQ(next->author, author(4, "fourth"));
}

TEST_F(FenceBelowAStaleObject, IsFollowedByItsAuthorsNextAppendInItsPlace) {
  const auto next = third_->append(context_, {.payload = at_three_.commit(clock_.wall_time())});
  ASSERT_TRUE(next) << next.error().message();
  EXPECT_EQ(bucket_.info(context_, ObjectName::raw(Txid(4)))->author, author(3, "third"));
}

TEST_F(FenceTest, IsRefusedWhenANewerEpochIsInTheLog) {
  const auto leader = make_appender(5);
  leader->start({});
  append_many(*leader, 1);
  const auto late = make_appender(4, "late");
  EXPECT_EQ(fence_log(context_, bucket_, *late, driver()).error().code(), ErrorCode::deposed);
}

TEST_F(FenceTest, IsWonByTheNewerOfTwoEpochsWhateverTheOrder) {
  const auto old_leader = make_appender(1, "old");
  old_leader->start({});
  append_many(*old_leader, 1);
  const auto second = make_appender(2, "second");
  const auto third = make_appender(3, "third");
  bool raced = false;
  bucket_.before_put([&](const NewObject& object) {
    if (object.author->epoch != Epoch(2) || std::exchange(raced, true)) return;
    ASSERT_TRUE(fence_log(context_, bucket_, *third, driver()));
  });
  EXPECT_EQ(fence_log(context_, bucket_, *second, driver()).error().code(), ErrorCode::deposed);
  EXPECT_EQ(bucket_.info(context_, ObjectName::raw(Txid(2)))->author, author(3, "third"));
}

}  // namespace
}  // namespace litecluster::log
