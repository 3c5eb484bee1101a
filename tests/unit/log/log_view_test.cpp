#include "log/log_view.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "unit/log/make_object.hpp"

namespace litecluster::log {
namespace {

using test::compacted;
using test::ObjectMaker;
using test::raw;
using test::view_of;

TEST(LogView, EndsAtTheHighestTxid) {
  EXPECT_EQ(LogView().end().txid, Txid(0));
  const LogView view = view_of(raw(1), raw(2), compacted(1, 1, 2));
  EXPECT_EQ(view.end().txid, Txid(2));
  EXPECT_EQ(view.end().checksum, Checksum(2));
  EXPECT_EQ(view_of(compacted(1, 1, 9), raw(3)).end().txid, Txid(9));
}

TEST(LogView, IgnoresWhatIsOlderThanWhatItKnows) {
  LogView view = view_of(ObjectMaker{.sequence = 10, .size = 1});
  EXPECT_EQ(*view.put(ObjectMaker{.sequence = 9, .size = 2}), LogView::Change::none);
  EXPECT_EQ(*view.put(ObjectMaker{.sequence = 10, .size = 2}), LogView::Change::none);
  EXPECT_EQ(*view.put(ObjectMaker{.sequence = 11, .size = 2}), LogView::Change::replaced);
  EXPECT_EQ(view.remove({0, Txid(1), Txid(1)}, Revision(10)), LogView::Change::none);
  EXPECT_EQ(view.remove({0, Txid(1), Txid(1)}, Revision(12)), LogView::Change::removed);
  EXPECT_TRUE(view.empty());
  EXPECT_EQ(view.end().txid, Txid(0));
}

TEST(LogView, FindsTheEndAgainWhenItIsRemoved) {
  LogView view = view_of(raw(1), raw(2), raw(3));
  view.forget(ObjectName::raw(Txid(3)));
  EXPECT_EQ(view.end().txid, Txid(2));
}

TEST(LogView, FindsTheFirstStateWithAChecksum) {
  LogView view = view_of(raw(1), raw(2), raw(3), compacted(1, 1, 3));
  EXPECT_EQ(view.find_state(Checksum(9)), nullptr);
  ASSERT_NE(view.find_state(Checksum(3)), nullptr);
  EXPECT_EQ(view.find_state(Checksum(3))->name.max, Txid(3));
  log::Object same = raw(4);
  same.checksum = Checksum(2);
  ASSERT_TRUE(view.put(same));
  EXPECT_EQ(view.find_state(Checksum(2))->name.max, Txid(2));
}

TEST(LogView, KnowsAnObjectThatTheLogHadPassed) {
  // Servers lost 3, another leader went on from it, and then its writer stored something else there.
  const log::Object late = raw(3, 2, 60);
  const LogView view = view_of(raw(1), raw(2), raw(4, 2, 40), raw(5, 2, 50), late);
  EXPECT_TRUE(view.out_of_turn(late));
  EXPECT_FALSE(view.out_of_turn(raw(2)));
  EXPECT_FALSE(view.out_of_turn(raw(5, 2, 50)));
  // The same with nothing left but a snapshot.
  EXPECT_TRUE(view_of(compacted(9, 1, 5), raw(3, 2, 60)).out_of_turn(raw(3, 2, 60)));
  EXPECT_FALSE(view_of(raw(3), compacted(1, 1, 3), compacted(9, 1, 3)).out_of_turn(raw(3)));
  // A compaction is stored when its interval closes, often behind the next raw object.
  const log::Object merged = ObjectMaker{.level = 1, .min = 1, .max = 3, .sequence = 70};
  EXPECT_FALSE(view_of(raw(3), raw(4), merged).out_of_turn(merged));
}

TEST(LogView, IgnoresAnOlderEpochBehindANewerOne) {
  // Epoch 2 fenced at 3; epoch 1 still wrote 4.
  const LogView view = view_of(raw(1, 1), raw(2, 1), raw(3, 2), raw(4, 1));
  EXPECT_EQ(view.end().txid, Txid(3));
  EXPECT_EQ(view.find(ObjectName::raw(Txid(4))), nullptr);
  EXPECT_NE(view.find_any(ObjectName::raw(Txid(4))), nullptr);
  EXPECT_EQ(view.stale().size(), 1U);
  EXPECT_EQ(view.highest_epoch(), Epoch(2));
}

TEST(LogView, IgnoresATxidThatASleeperReusedAfterItWasPurged) {
  // TXID 2 was written by epoch 2 and purged after compaction; the leader of epoch 1 wakes up and writes it.
  const LogView view =
      view_of(ObjectMaker{.level = 1, .min = 1, .max = 5, .epoch = 2}, raw(6, 2, 60), raw(2, 1, 100));
  EXPECT_EQ(view.level(0).size(), 1U);
  EXPECT_EQ(view.stale().size(), 1U);
}

// Servers lost TXID 3, and a leader that did not see what had come after it wrote its fence there.
TEST(LogView, KeepsWhatWasThereBeforeAFenceInAHole) {
  const LogView view = view_of(raw(1, 1), raw(2, 1), raw(3, 7, 60), raw(4, 1, 40), raw(5, 2, 50));
  EXPECT_EQ(view.end().txid, Txid(5));
  EXPECT_TRUE(view.stale().empty());
  EXPECT_TRUE(view.is_stale(raw(6, 2, 70)));
}

TEST(LogView, AcceptsObjectsWithoutAnEpochAnywhere) {
  const LogView view = view_of(raw(1, 1), raw(2, 2), raw(3, 0), raw(4, 0), raw(5, 1));
  EXPECT_EQ(view.end().txid, Txid(4));
  EXPECT_EQ(view.stale().size(), 1U);
}

TEST(LogView, RemembersEpochsOfObjectsThatAreGone) {
  LogView view = view_of(raw(1, 1), raw(2, 2), raw(3, 2));
  ASSERT_TRUE(view.replace({raw(3, 2), raw(4, 1)}));
  EXPECT_EQ(view.end().txid, Txid(3));
  view.forget(ObjectName::raw(Txid(3)));
  EXPECT_TRUE(view.is_stale(raw(9, 1)));
}

TEST(LogView, ClassifiesTheSameWhateverTheOrderOfArrival) {
  std::vector<Object> objects{raw(1, 1, 1), raw(2, 1, 2), raw(3, 2, 5),  raw(4, 2, 6),      raw(5, 1, 7),
                              raw(6, 3, 8), raw(7, 2, 9), raw(8, 0, 10), compacted(1, 1, 4)};
  LogView reference;
  ASSERT_TRUE(reference.replace(objects));
  ASSERT_EQ(reference.stale().size(), 2U);
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    std::ranges::shuffle(objects, random);
    LogView view;
    for (const Object& object : objects) ASSERT_TRUE(view.put(object));
    EXPECT_EQ(view.stale(), reference.stale());
    EXPECT_EQ(view.level(0), reference.level(0));
    EXPECT_EQ(view.end().txid, reference.end().txid);
  }
}

// The first of an epoch in the stream is its fence, whatever name a sleeper of that epoch used again later.
TEST(LogView, KnowsTheFenceOfAnEpochByItsPlaceInTheStream) {
  const Object fence = raw(60, 2, 50);
  const Object sleeper = raw(3, 2, 300);
  const Object newer = raw(100, 3, 100);
  const Object late = raw(61, 1, 70);
  const LogView one = view_of(sleeper, fence, newer, late);
  const LogView other = view_of(fence, newer, sleeper, late);
  for (const LogView& view : {one, other}) {
    EXPECT_EQ(view.stale().size(), 2U);
    EXPECT_EQ(view.level(0).size(), 2U);
  }
}

TEST(LogView, NamesTheGapsBetweenDeltas) {
  const LogView view = view_of(raw(1), raw(2), raw(5), compacted(1, 7, 9), raw(8), compacted(9, 1, 12));
  EXPECT_EQ(view.gaps(Txid(0)),
            (std::vector<TxidRange>{{Txid(3), Txid(4)}, {Txid(6), Txid(6)}, {Txid(10), Txid(12)}}));
  EXPECT_EQ(view.gaps(Txid(6)), (std::vector<TxidRange>{{Txid(10), Txid(12)}}));
  EXPECT_TRUE(view.gaps(Txid(12)).empty());
}

TEST(LogView, SaysWhenItIsFull) {
  LogView view(2);
  ASSERT_TRUE(view.put(raw(1)));
  ASSERT_TRUE(view.put(raw(2)));
  EXPECT_EQ(view.put(raw(3)).error().code(), ErrorCode::resource_exhausted);
  EXPECT_EQ(view.size(), 2U);
  EXPECT_TRUE(view.put(raw(2, 1, 99)));
}

}  // namespace
}  // namespace litecluster::log
