#include "log/bucket_guard.hpp"

#include <gtest/gtest.h>

#include <string>

namespace litecluster::log {
namespace {

TEST(BucketGuard, AllowsCreationOnlyOfABucketNeverSeen) {
  BucketGuard guard(std::nullopt);
  EXPECT_EQ(guard.observe(std::nullopt), BucketVerdict::absent);
  EXPECT_EQ(guard.status("b").error().code(), ErrorCode::not_found);
  EXPECT_EQ(guard.observe(BucketState{5, 0}), BucketVerdict::fine);
  EXPECT_TRUE(guard.status("b"));
  EXPECT_EQ(guard.observe(std::nullopt), BucketVerdict::vanished);
  EXPECT_EQ(guard.status("b").error().code(), ErrorCode::failed_precondition);
}

TEST(BucketGuard, NoticesABucketMadeAnew) {
  BucketGuard guard(BucketState{5, 10});
  EXPECT_EQ(guard.observe(BucketState{6, 100}), BucketVerdict::recreated);
  EXPECT_EQ(guard.remembered(), (BucketState{5, 10}));
  EXPECT_EQ(guard.status("b").error().code(), ErrorCode::failed_precondition);
  EXPECT_NE(guard.status("b").error().message().find("created again"), std::string::npos);
}

TEST(BucketGuard, NoticesALostEnd) {
  BucketGuard guard(BucketState{5, 10});
  EXPECT_EQ(guard.observe(BucketState{5, 12}), BucketVerdict::fine);
  guard.advance(20);
  EXPECT_EQ(guard.observe(BucketState{5, 19}), BucketVerdict::went_back);
  EXPECT_EQ(guard.status("b").error().code(), ErrorCode::failed_precondition);
  EXPECT_NE(guard.status("b").error().message().find("went back"), std::string::npos);
}

TEST(BucketGuard, StaysAlarmedUntilTheOperatorAccepts) {
  BucketGuard guard(BucketState{5, 10});
  guard.observe(std::nullopt);
  EXPECT_EQ(guard.observe(BucketState{5, 11}), BucketVerdict::vanished);
  guard.accept({7, 1});
  EXPECT_TRUE(guard.status("b"));
  EXPECT_EQ(guard.observe(BucketState{7, 2}), BucketVerdict::fine);
}

TEST(BucketState, ReadsBackWhatItWrites) {
  const BucketState state{1'795'379'006'430'123'456, 18'446'744'073'709'551'615U};
  EXPECT_EQ(parse_bucket_state(to_string(state) + "\n"), state);
  for (const char* text : {"", " ", "1", "1 ", " 1", "1 2 3", "1 -2", "a 1"}) {
    EXPECT_FALSE(parse_bucket_state(text)) << text;
  }
}

}  // namespace
}  // namespace litecluster::log
