#include "replication/bad_objects.hpp"

#include <gtest/gtest.h>

namespace litecluster::replication {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr base::BootTime start{std::chrono::hours(1)};

UnusableObject bad(std::uint64_t txid, std::uint64_t sequence = 1, bool for_good = false) {
  log::Object object;
  object.name = log::ObjectName::raw(Txid(txid));
  object.sequence = Revision(sequence);
  return {.object = object,
          .reason = Error(ErrorCode::corrupt, "verify", std::to_string(txid), "bad"),
          .for_good = for_good};
}

TEST(BadObjectsTest, AreToldUntilTheReplicaHasPassedThem) {
  BadObjects objects;
  EXPECT_FALSE(objects.problem());
  objects.add(bad(7), start);
  objects.add(bad(9), start);
  ASSERT_TRUE(objects.problem());
  EXPECT_EQ(objects.problem()->subject(), "7");
  EXPECT_EQ(objects.end(), Txid(9));
  objects.passed(Txid(8));
  EXPECT_EQ(objects.problem()->subject(), "9");
  objects.passed(Txid(9));
  EXPECT_TRUE(objects.empty());
  EXPECT_EQ(objects.end(), Txid(0));
}

TEST(BadObjectsTest, AreTriedAgainLessAndLessOften) {
  BadObjects objects;
  base::BootTime now = start;
  base::Duration waited{0};
  for (int round = 0; round < 8; ++round) {
    objects.add(bad(7), now);
    EXPECT_EQ(objects.passed_over().size(), 1U);
    EXPECT_TRUE(objects.take_due(now).empty());
    const base::BootTime before = now;
    while (objects.take_due(now).empty()) now += milliseconds(100);
    EXPECT_GE(now - before, std::min<base::Duration>(waited, BadObjects::retry_initial));
    EXPECT_LE(now - before, BadObjects::retry_cap);
    waited = now - before;
    EXPECT_TRUE(objects.try_again(log::ObjectName::raw(Txid(7))));
    EXPECT_TRUE(objects.passed_over().empty()) << "on trial";
  }
  EXPECT_EQ(waited, BadObjects::retry_cap);
}

TEST(BadObjectsTest, ThatAreBadForGoodAreLookedAtAndNotFetchedAgain) {
  BadObjects objects;
  objects.add(bad(7, 1, true), start);
  EXPECT_EQ(objects.take_due(start + seconds(2)).size(), 1U);
  EXPECT_FALSE(objects.try_again(log::ObjectName::raw(Txid(7))));
  EXPECT_EQ(objects.passed_over().size(), 1U);
  objects.forget(log::ObjectName::raw(Txid(7)));
  EXPECT_TRUE(objects.empty());
}

TEST(BadObjectsTest, AnotherObjectOfTheSameNameBeginsAnew) {
  BadObjects objects;
  objects.add(bad(7, 1), start);
  objects.add(bad(7, 1), start);
  EXPECT_TRUE(objects.take_due(start + milliseconds(1500)).empty()) << "the second time it takes longer";
  objects.add(bad(7, 5), start);
  EXPECT_EQ(objects.take_due(start + milliseconds(1500)).size(), 1U);
}

TEST(BadObjectsTest, AreRememberedUpToALimit) {
  BadObjects objects;
  for (std::uint64_t txid = 1; txid <= 2 * BadObjects::entries_max; ++txid) objects.add(bad(txid), start);
  EXPECT_EQ(objects.passed_over().size(), BadObjects::entries_max);
}

}  // namespace
}  // namespace litecluster::replication
