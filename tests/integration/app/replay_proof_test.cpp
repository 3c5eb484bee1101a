// What the objects behind a state bring for sure, whichever way a standby takes through them.
#include "app/replay_proof.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "log/restore.hpp"
#include "support/fake_object_bucket.hpp"
#include "unit/ltx/ltx_support.hpp"

namespace litecluster::app {
namespace {

class ReplayProof : public ::testing::Test {
 protected:
  // Four pages; TXID 2 brings page 2, 3 page 3, 4 page 1 alone.
  ReplayProof() {
    put(0, 1, 1, {1, 2, 3, 4});
    put(0, 2, 2, {1, 2});
    put(0, 3, 3, {1, 3});
    put(0, 4, 4, {1});
  }

  void put(int level, std::uint64_t min, std::uint64_t max, const std::vector<std::uint32_t>& numbers) {
    ltx::test::Pages pages;
    for (const std::uint32_t number : numbers) pages[number] = ltx::test::filled(512, 'a');
    const auto stored =
        bucket_.put(Context::background(), log::NewObject{.name = {level, Txid(min), Txid(max)}},
                    ltx::test::encode(ltx::test::make_header(min, max, 4), pages));
    ASSERT_TRUE(stored) << stored.error().message();
  }

  [[nodiscard]] bool replaces(std::uint64_t from, std::uint64_t to, std::vector<std::uint32_t> numbers) {
    std::vector<PageNo> pages;
    for (const std::uint32_t number : numbers) pages.emplace_back(number);
    const auto view = log::read_log(Context::background(), bucket_);
    const auto replaced = replay_replaces(Context::background(), bucket_, *view, Txid(from), Txid(to), pages);
    EXPECT_TRUE(replaced) << replaced.error().message();
    return replaced && *replaced;
  }

  test::FakeObjectBucket bucket_;
};

TEST_F(ReplayProof, HoldsForPagesThatTheObjectsBehindBring) {
  EXPECT_TRUE(replaces(1, 4, {1, 2, 3}));
  EXPECT_TRUE(replaces(2, 4, {1, 3}));
  EXPECT_FALSE(replaces(2, 4, {2}));
  EXPECT_FALSE(replaces(3, 4, {1, 3}));
  EXPECT_TRUE(replaces(1, 4, {2, 9})) << "what lies behind the end is cut off";
}

TEST_F(ReplayProof, DoesNotCountWhatAnObjectHoldsFromBefore) {
  put(1, 2, 4, {1, 2, 3});
  EXPECT_FALSE(replaces(3, 4, {3})) << "a standby may take TXID 4 alone";
  EXPECT_TRUE(replaces(1, 4, {3}));
}

TEST_F(ReplayProof, DoesNotHoldWhenAnObjectIsGone) {
  const auto view = log::read_log(Context::background(), bucket_);
  ASSERT_TRUE(bucket_.remove(Context::background(), *view->find(log::ObjectName::raw(Txid(3)))));
  const auto replaced =
      replay_replaces(Context::background(), bucket_, *view, Txid(2), Txid(4), std::vector{PageNo(3)});
  ASSERT_TRUE(replaced) << replaced.error().message();
  EXPECT_FALSE(*replaced);
}

TEST_F(ReplayProof, NeedsNothingWhereNothingDiffers) {
  EXPECT_TRUE(replaces(4, 4, {}));
  EXPECT_FALSE(replaces(4, 4, {1}));
}

}  // namespace
}  // namespace litecluster::app
