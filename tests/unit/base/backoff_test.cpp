#include "base/backoff.hpp"

#include <gtest/gtest.h>

namespace litecluster::base {
namespace {

using std::chrono::milliseconds;

TEST(Backoff, DoublesUpToItsCap) {
  Backoff backoff(milliseconds(100), milliseconds(350));
  // UINT64_MAX modulo (half + 1) is not the maximum in general, so the bounds are what is promised.
  for (const auto step : {milliseconds(100), milliseconds(200), milliseconds(350), milliseconds(350)}) {
    const Duration delay = backoff.next(12345);
    EXPECT_GE(delay, step / 2);
    EXPECT_LE(delay, step);
  }
}

TEST(Backoff, StartsAnewAfterSuccess) {
  Backoff backoff(milliseconds(100), milliseconds(10'000));
  for (int attempt = 0; attempt < 5; ++attempt) static_cast<void>(backoff.next(0));
  backoff.reset();
  EXPECT_LE(backoff.next(7), milliseconds(100));
}

TEST(Backoff, JitterCoversItsWholeRange) {
  Backoff lowest(milliseconds(100), milliseconds(100));
  Backoff highest(milliseconds(100), milliseconds(100));
  EXPECT_EQ(lowest.next(0), milliseconds(50));
  EXPECT_EQ(highest.next(50'000'000), milliseconds(100));
}

}  // namespace
}  // namespace litecluster::base
