#include "db/capture_state.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "support/temporary_directory.hpp"

namespace litecluster::db {
namespace {

CapturePoint point(std::uint64_t txid, std::uint32_t pages) {
  return {
      .txid = Txid(txid),
      .epoch = Epoch(1),
      .checksum = Checksum(txid * 1000),
      .page_size = 4096,
      .page_count = pages,
      .inode = 99,
      .born_nanoseconds = 1'234'567,
      .wal = {
          .offset = 32 + txid, .salts = {.first = 1, .second = 2}, .checksum = {.first = 3, .second = 4}}};
}

class CaptureStateTest : public ::testing::Test {
 protected:
  std::unique_ptr<CaptureState> open() {
    auto state = CaptureState::open(directory_ / "state");
    EXPECT_TRUE(state) << state.error().message();
    return std::move(*state);
  }
  test::TemporaryDirectory directory_;
};

TEST_F(CaptureStateTest, KnowsNothingAtFirst) {
  EXPECT_FALSE(open()->known());
}

TEST_F(CaptureStateTest, ComesBackAsItWas) {
  {
    const auto state = open();
    ASSERT_TRUE(state->reset(point(5, 3), {10, 20, 30}, true));
    ASSERT_TRUE(state->record(point(6, 4), std::vector<PageChange>{{PageNo(2), 20, 21}, {PageNo(4), 0, 40}}));
    ASSERT_TRUE(state->acknowledge(Txid(6), Epoch(3)));
    ASSERT_TRUE(state->record(point(7, 2), std::vector<PageChange>{{PageNo(3), 30, 0}, {PageNo(4), 40, 0}}));
  }
  const auto state = open();
  CapturePoint expected = point(7, 2);
  EXPECT_EQ(state->last(), expected);
  EXPECT_EQ(state->acknowledged(), Txid(6));
  EXPECT_EQ(state->checksum_of(PageNo(2)), 21U);
  EXPECT_EQ(state->checksum_of(PageNo(3)), 0U);
}

TEST_F(CaptureStateTest, SyncsANewBaseBeforeTheFirstCaptureBehindIt) {
  const auto state = open();
  ASSERT_TRUE(state->reset(point(5, 3), {10, 20, 30}, true));
  EXPECT_TRUE(state->base_is_unsynced()) << "a fail-over does not wait for it";
  ASSERT_TRUE(state->record(point(6, 3), std::vector<PageChange>{{PageNo(2), 20, 21}}));
  EXPECT_FALSE(state->base_is_unsynced());
}

TEST_F(CaptureStateTest, KnowsNothingWhenAPowerFailureTornItsBase) {
  ASSERT_TRUE(open()->reset(point(5, 3), {10, 20, 30}, true));
  const auto base = directory_ / "state" / "base";
  const auto size = std::filesystem::file_size(base);
  for (const std::uintmax_t left : {size - 1, size / 2, std::uintmax_t{0}}) {
    std::filesystem::resize_file(base, left);
    EXPECT_FALSE(open()->known()) << left;
  }
}

TEST_F(CaptureStateTest, GoesBackToWhatTheLogHas) {
  {
    const auto state = open();
    ASSERT_TRUE(state->reset(point(1, 3), {10, 20, 30}, true));
    ASSERT_TRUE(state->record(point(2, 4), std::vector<PageChange>{{PageNo(2), 20, 21}, {PageNo(4), 0, 40}}));
    ASSERT_TRUE(state->record(
        point(3, 1), std::vector<PageChange>{{PageNo(2), 21, 0}, {PageNo(3), 30, 0}, {PageNo(4), 40, 0}}));
  }
  const auto state = open();
  EXPECT_FALSE(state->rewind(Txid(2), Checksum(1)).value()) << "another history";
  EXPECT_FALSE(state->rewind(Txid(9), std::nullopt).value());
  EXPECT_TRUE(state->rewind(Txid(2), point(2, 4).checksum).value());
  EXPECT_EQ(state->last().txid, Txid(2));
  for (const auto& [page, sum] : std::map<std::uint32_t, std::uint64_t>{{1, 10}, {2, 21}, {3, 30}, {4, 40}}) {
    EXPECT_EQ(state->checksum_of(PageNo(page)), sum);
  }
}

TEST_F(CaptureStateTest, DropsATornRecordWhereverItIsTorn) {
  {
    const auto state = open();
    ASSERT_TRUE(state->reset(point(1, 2), {10, 20}, true));
    ASSERT_TRUE(state->record(point(2, 2), std::vector<PageChange>{{PageNo(2), 20, 21}}));
  }
  std::filesystem::path journal;
  for (const auto& entry : std::filesystem::directory_iterator(directory_ / "state")) {
    if (entry.path().filename().string().starts_with("journal-")) journal = entry.path();
  }
  const auto size = std::filesystem::file_size(journal);
  for (auto cut = size; cut-- > 0;) {
    std::filesystem::resize_file(journal, cut);
    const auto state = open();
    ASSERT_EQ(state->last().txid, Txid(1)) << cut;
    ASSERT_EQ(state->checksum_of(PageNo(2)), 20U);
  }
  const auto state = open();
  ASSERT_TRUE(state->record(point(2, 2), std::vector<PageChange>{{PageNo(1), 10, 11}}));
}

TEST_F(CaptureStateTest, RemembersAsWhichFilesItsCapturesWereOffered) {
  {
    const auto state = open();
    ASSERT_TRUE(state->reset(point(1, 2), {10, 20}, false));
    ASSERT_TRUE(state->note_file(Txid(1), Checksum(101)));
    ASSERT_TRUE(state->record(point(2, 2), std::vector<PageChange>{{PageNo(2), 20, 21}}));
    ASSERT_TRUE(state->record(point(3, 2), std::vector<PageChange>{{PageNo(2), 21, 22}}));
    ASSERT_TRUE(state->note_file(Txid(3), Checksum(103)));
    EXPECT_FALSE(state->note_file(Txid(4), Checksum(104))) << "it was never captured";
  }
  {
    const auto state = open();
    EXPECT_EQ(state->file_of(Txid(1)), Checksum(101));
    EXPECT_EQ(state->file_of(Txid(2)), std::nullopt);
    EXPECT_EQ(state->file_of(Txid(3)), Checksum(103));
    EXPECT_EQ(state->file_of(Txid(9)), std::nullopt);
    ASSERT_TRUE(state->rewind(Txid(2), std::nullopt).value());  // writes base and journal anew
    ASSERT_TRUE(state->record(point(3, 2), std::vector<PageChange>{{PageNo(2), 21, 23}}));
  }
  const auto state = open();
  EXPECT_EQ(state->file_of(Txid(1)), Checksum(101));
  EXPECT_EQ(state->file_of(Txid(3)), std::nullopt) << "that was another capture of this TXID";
}

TEST_F(CaptureStateTest, RecognisesWhatTheLogHasByItsFile) {
  const auto state = open();
  ASSERT_TRUE(state->reset(point(1, 2), {10, 20}, true));
  ASSERT_TRUE(state->record(point(2, 2), std::vector<PageChange>{{PageNo(2), 20, 21}}));
  EXPECT_TRUE(state->recognises(Txid(1), std::nullopt)) << "a merged object tells no file";
  EXPECT_FALSE(state->recognises(Txid(2), std::nullopt));
  EXPECT_FALSE(state->recognises(Txid(2), Checksum(102))) << "it was never offered";
  ASSERT_TRUE(state->note_file(Txid(2), Checksum(102)));
  EXPECT_TRUE(state->recognises(Txid(2), Checksum(102)));
  EXPECT_FALSE(state->recognises(Txid(2), Checksum(103)));
  ASSERT_TRUE(state->acknowledge(Txid(2), Epoch(1)));
  EXPECT_FALSE(state->recognises(Txid(2), Checksum(103))) << "it was written over";
  EXPECT_FALSE(state->recognises(Txid(3), Checksum(102)));
}

TEST_F(CaptureStateTest, RefusesASecondUser) {
  const auto state = open();
  const auto second = CaptureState::open(directory_ / "state");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::busy);
}

TEST_F(CaptureStateTest, RefusesToAcknowledgeWhatWasNeverCaptured) {
  const auto state = open();
  ASSERT_TRUE(state->reset(point(1, 1), {10}, false));
  EXPECT_FALSE(state->acknowledge(Txid(2), Epoch(1)));
  EXPECT_FALSE(state->acknowledged());
}

// A long life with small journals: at each step the state can be opened again and taken back to any TXID from
// the last acknowledged on.
TEST_F(CaptureStateTest, StaysRightOverManyRotations) {
  std::mt19937_64 random(3);
  using Table = std::map<std::uint32_t, std::uint64_t>;
  std::map<std::uint64_t, std::pair<Table, std::uint32_t>> history;
  auto state = open();
  ASSERT_TRUE(state->reset(point(1, 5), {1, 2, 3, 4, 5}, true));
  history[1] = {{{1, 1}, {2, 2}, {3, 3}, {4, 4}, {5, 5}}, 5};
  std::uint64_t acknowledged = 1;
  for (int step = 0; step < 400; ++step) {
    state->set_journal_size_min(600);
    const std::uint64_t txid = state->last().txid.value();
    auto [table, pages] = history[txid];
    const auto count = static_cast<std::uint32_t>(1 + random() % 12);
    std::vector<PageChange> changes;
    for (std::uint32_t page = 1; page <= std::max(count, pages); ++page) {
      const std::uint64_t before = page <= pages ? table[page] : 0;
      const bool cut = page > count;
      if (!cut && page <= pages && random() % 3 != 0) continue;
      const std::uint64_t after = cut ? 0 : random();
      changes.push_back({PageNo(page), before, after});
      if (cut) {
        table.erase(page);
      } else {
        table[page] = after;
      }
    }
    ASSERT_TRUE(state->record(point(txid + 1, count), changes));
    history[txid + 1] = {table, count};
    if (random() % 3 == 0) {
      acknowledged += random() % (txid + 2 - acknowledged);
      ASSERT_TRUE(state->acknowledge(Txid(acknowledged), Epoch(1)));
    }
    if (random() % 7 == 0) {
      state.reset();
      state = open();
      ASSERT_EQ(state->last().txid, Txid(txid + 1));
    }
    if (random() % 11 == 0) {
      const std::uint64_t back = acknowledged + random() % (txid + 2 - acknowledged);
      ASSERT_TRUE(state->rewind(Txid(back), point(back, 0).checksum).value());
    }
    const auto& [expected, size] = history[state->last().txid.value()];
    ASSERT_EQ(state->last().page_count, size);
    for (const auto& [page, sum] : expected) ASSERT_EQ(state->checksum_of(PageNo(page)), sum) << step;
  }
}

}  // namespace
}  // namespace litecluster::db
