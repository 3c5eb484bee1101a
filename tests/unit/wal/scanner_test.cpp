#include "wal/scanner.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wal_builder.hpp"

namespace litecluster::wal {
namespace {

using ::testing::ElementsAre;

PageFrame at(std::uint32_t page, std::uint32_t frame) {
  return {.page = PageNo(page), .frame = frame};
}

TEST(WalScan, LatestFrameOfAPageWins) {
  WalBuilder wal(512);
  wal.frame(1, 0).frame(2, 2).frame(2, 0).frame(3, 3);
  const auto result = scan_all(wal.bytes());
  EXPECT_EQ(result.end, ScanEnd::end_of_frames);
  EXPECT_EQ(result.commit, 3U);
  EXPECT_EQ(result.commit_count, 2U);
  EXPECT_EQ(result.frame_count, 4U);
  EXPECT_THAT(result.pages, ElementsAre(at(1, 1), at(2, 3), at(3, 4)));
}

TEST(WalScan, WorksInBothByteOrdersAndAllPageSizes) {
  for (const auto order : {ChecksumOrder::little_endian, ChecksumOrder::big_endian}) {
    for (std::uint32_t size = 512; size <= 65536; size *= 2) {
      WalBuilder wal(size, order);
      for (std::uint32_t page = 1; page <= 9; ++page) wal.frame(page, page % 3 == 0 ? page : 0);
      const auto result = scan_all(wal.bytes());
      EXPECT_EQ(result.frame_count, 9U) << size;
      EXPECT_EQ(result.commit, 9U);
      EXPECT_EQ(result.position.offset, wal.bytes().size());
    }
  }
}

TEST(WalScan, LeavesOutATransactionWithoutItsCommitMark) {
  WalBuilder wal(512);
  wal.frame(1, 1).frame(1, 0).frame(2, 0);
  const auto result = scan_all(wal.bytes());
  EXPECT_EQ(result.frame_count, 1U);
  EXPECT_THAT(result.pages, ElementsAre(at(1, 1)));
  EXPECT_EQ(result.position.offset, frame_offset(2, 512));
}

TEST(WalScan, EndsAtEveryPlaceWhereTheFileMayBeCutOff) {
  WalBuilder wal(512);
  wal.frame(1, 1).frame(2, 0).frame(3, 3);
  for (std::size_t size = 0; size <= wal.bytes().size(); ++size) {
    const auto result = scan_all(base::ByteView(wal.bytes()).first(size));
    const std::uint32_t expected = size == wal.bytes().size() ? 3 : size >= frame_offset(2, 512) ? 1 : 0;
    ASSERT_EQ(result.frame_count, expected) << size;
    ASSERT_EQ(result.end, size < header_size ? ScanEnd::no_header : ScanEnd::end_of_frames) << size;
  }
}

TEST(WalScan, EndsAtAnyFlippedBit) {
  WalBuilder wal(512);
  wal.frame(1, 1).frame(2, 2);
  for (std::size_t offset = frame_offset(2, 512); offset < wal.bytes().size(); offset += 3) {
    base::Bytes damaged = wal.bytes();
    damaged[offset] ^= std::byte{4};
    ASSERT_EQ(scan_all(damaged).frame_count, 1U) << offset;
  }
}

TEST(WalScan, IgnoresFramesOfAnEarlierFillingBehindTheEnd) {
  WalBuilder old(512, ChecksumOrder::little_endian, {.first = 1, .second = 1});
  for (std::uint32_t page = 1; page <= 6; ++page) old.frame(page, page);
  WalBuilder fresh(512, ChecksumOrder::little_endian, {.first = 2, .second = 9});
  fresh.frame(4, 6).frame(5, 6);
  base::Bytes mixed = fresh.bytes();
  mixed.insert(mixed.end(), old.bytes().begin() + static_cast<std::ptrdiff_t>(mixed.size()),
               old.bytes().end());
  const auto result = scan_all(mixed);
  EXPECT_EQ(result.frame_count, 2U);
  EXPECT_THAT(result.pages, ElementsAre(at(4, 1), at(5, 2)));
}

TEST(WalScan, ContinuesFromWhereItEnded) {
  WalBuilder wal(1024);
  wal.frame(1, 1).frame(2, 2);
  const auto first = scan_all(wal.bytes());
  wal.frame(1, 0).frame(3, 3);
  const auto second = scan_all(wal.bytes(), first.position);
  EXPECT_EQ(second.frame_count, 2U);
  EXPECT_THAT(second.pages, ElementsAre(at(1, 3), at(3, 4)));
  const auto third = scan_all(wal.bytes(), second.position);
  EXPECT_EQ(third.frame_count, 0U);
  EXPECT_EQ(third.position, second.position);
}

TEST(WalScan, NoticesThatTheWalWasStartedAnew) {
  WalBuilder old(512);
  old.frame(1, 1);
  const auto position = scan_all(old.bytes()).position;
  WalBuilder fresh(512, ChecksumOrder::little_endian, {.first = 8, .second = 1});
  fresh.frame(1, 1);
  const auto result = scan_all(fresh.bytes(), position);
  EXPECT_EQ(result.end, ScanEnd::restarted);
  EXPECT_EQ(result.frame_count, 0U);
}

TEST(WalScan, SeparatesPagesBeyondAShrunkDatabase) {
  WalBuilder wal(512);
  wal.frame(5, 5).frame(1, 2);
  const auto result = scan_all(wal.bytes());
  EXPECT_THAT(result.pages, ElementsAre(at(1, 2)));
  EXPECT_THAT(result.dropped_pages, ElementsAre(at(5, 1)));
}

TEST(WalScan, StopsAtTheLimitsButNeverInsideATransaction) {
  WalBuilder wal(512);
  wal.frame(1, 1).frame(2, 0).frame(3, 0).frame(4, 4).frame(5, 5);
  const auto bytes = scan_all(wal.bytes(), {}, {.bytes_max = 2 * frame_size(512)});
  EXPECT_EQ(bytes.end, ScanEnd::limit);
  EXPECT_EQ(bytes.frame_count, 4U);
  const auto frames = scan_all(wal.bytes(), {}, {.frame_max = 3});
  EXPECT_EQ(frames.frame_count, 1U);
  EXPECT_EQ(scan_all(wal.bytes(), {}, {.frame_max = 4}).frame_count, 4U);
}

TEST(WalScan, KeepsTheRawFramesWhenAsked) {
  WalBuilder wal(512);
  wal.frame(1, 1, 7).frame(2, 2, 8).frame(3, 0, 9);
  base::Bytes frames;
  const auto result = scan_all(wal.bytes(), {}, {}, &frames);
  EXPECT_EQ(result.frame_count, 2U);
  ASSERT_EQ(frames.size(), 2 * frame_size(512));
  EXPECT_EQ(frames[frame_size(512) + frame_header_size], std::byte{8});
}

}  // namespace
}  // namespace litecluster::wal
