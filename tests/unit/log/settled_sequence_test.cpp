#include "log/settled_sequence.hpp"

#include <gtest/gtest.h>

#include "log/retention.hpp"
#include "unit/log/make_object.hpp"

namespace litecluster::log {
namespace {

using namespace std::chrono_literals;

base::BootTime after(base::Duration time) {
  return base::BootTime{} + 1h + time;
}

TEST(SettledSequence, NothingHasSettledAtFirst) {
  SettledSequence settled;
  EXPECT_EQ(settled.at(after(0s)), Revision(0));
  settled.note(after(0s), Revision(100));
  EXPECT_EQ(settled.at(after(59s)), Revision(0));
}

TEST(SettledSequence, WhatWasSeenAGraceAgoHasSettled) {
  SettledSequence settled;
  for (int second = 0; second <= 120; ++second) {
    settled.note(after(std::chrono::seconds(second)), Revision(static_cast<std::uint64_t>(second)));
    const std::uint64_t sequence = settled.at(after(std::chrono::seconds(second))).value();
    if (second < 60) {
      EXPECT_EQ(sequence, 0U);
    } else {
      EXPECT_LE(sequence, static_cast<std::uint64_t>(second - 60));
      EXPECT_GE(sequence + 5, static_cast<std::uint64_t>(second - 60));
    }
  }
}

TEST(SettledSequence, AClockSetForwardDoesNotMakeRawObjectsOld) {
  LogView view;
  for (std::uint64_t txid = 1; txid <= 10; ++txid) ASSERT_TRUE(view.put(test::raw(txid)));
  ASSERT_TRUE(view.put(test::compacted(1, 1, 10)));
  const auto planned = [&](Revision settled) {
    return plan_retention(view, {}, test::at_second(1'000'000), settled)->size();
  };
  EXPECT_EQ(planned(Revision(0)), 0U);
  EXPECT_EQ(planned(view.find(ObjectName::raw(Txid(4)))->sequence), 4U);
  EXPECT_EQ(planned(Revision(1000)), 9U);
}

}  // namespace
}  // namespace litecluster::log
