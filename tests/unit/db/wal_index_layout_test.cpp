#include "db/wal_index_layout.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <vector>

#include "db/sqlite.hpp"
#include "support/temporary_directory.hpp"

namespace litecluster::db {
namespace {

// 32 KiB, aligned as mapped memory is.
class Memory {
 public:
  std::byte* data() { return reinterpret_cast<std::byte*>(words_.data()); }
  void fill(std::uint32_t value) { words_.assign(words_.size(), value); }

 private:
  std::vector<std::uint32_t> words_ = std::vector<std::uint32_t>(wal_index_block_size / 4);
};

WalIndexHeader sample() {
  return {.change_counter = 7,
          .page_size = 4096,
          .frame_max = 12,
          .page_count = 345,
          .frame_checksum = {0x1111, 0x2222},
          .salts = {0xAABBCCDD, 0x01020304}};
}

TEST(WalIndexHeader, SurvivesARoundTripForEveryPageSize) {
  for (std::uint32_t page_size = 512; page_size <= 65536; page_size *= 2) {
    WalIndexHeader header = sample();
    header.page_size = page_size;
    const auto decoded = decode_wal_index_header(encode_wal_index_header(header));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(*decoded, header);
  }
}

TEST(WalIndexHeader, HasItsFieldsWhereSqliteLooksForThem) {
  WalIndexHeader header = sample();
  header.page_size = 65536;
  const auto bytes = encode_wal_index_header(header);
  const auto word = [&](std::size_t offset) {
    std::uint32_t value = 0;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
  };
  EXPECT_EQ(word(0), 3007000U);
  EXPECT_EQ(word(8), 7U);
  EXPECT_EQ(bytes[12], std::byte{1});
  EXPECT_EQ(bytes[13], std::byte{0});
  std::uint16_t coded_page_size = 0;
  std::memcpy(&coded_page_size, bytes.data() + 14, sizeof coded_page_size);
  EXPECT_EQ(coded_page_size, 1U);
  EXPECT_EQ(word(16), 12U);
  EXPECT_EQ(word(20), 345U);
  EXPECT_EQ(word(24), 0x1111U);
  EXPECT_EQ(bytes[32], std::byte{0xAA});
  EXPECT_EQ(bytes[39], std::byte{0x04});
}

TEST(WalIndexHeader, IsRefusedWithAnyBitFlipped) {
  const auto good = encode_wal_index_header(sample());
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    auto bad = good;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(decode_wal_index_header(bad)) << "bit " << bit;
  }
  EXPECT_FALSE(decode_wal_index_header(WalIndexHeaderBytes{}));
  EXPECT_FALSE(decode_wal_index_header(base::ByteView(good).first(47)));
}

TEST(WalIndex, CoversFramesByBlocksOfSqlitesSize) {
  EXPECT_EQ(wal_index_block_of(1), 0U);
  EXPECT_EQ(wal_index_block_of(4062), 0U);
  EXPECT_EQ(wal_index_block_of(4063), 1U);
  EXPECT_EQ(wal_index_block_of(4062 + 4096), 1U);
  EXPECT_EQ(wal_index_block_of(4062 + 4096 + 1), 2U);
  Memory memory;
  for (std::uint32_t number = 0; number < 4; ++number) {
    const WalIndexBlock block(memory.data(), number);
    EXPECT_EQ(wal_index_block_of(block.frame_first()), number);
    EXPECT_EQ(wal_index_block_of(block.frame_last()), number);
    EXPECT_EQ(wal_index_block_of(block.frame_last() + 1), number + 1);
  }
}

// Header and first block, rebuilt from what they say, equal SQLite's own byte by byte.
TEST(WalIndex, EqualsWhatSqliteWrites) {
  const test::TemporaryDirectory directory;
  auto connection = Connection::open(directory / "a.db", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  ASSERT_TRUE(
      connection->execute("PRAGMA journal_mode=WAL; CREATE TABLE t(a);"
                          "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99)"
                          " INSERT INTO t SELECT randomblob(2000) FROM n; DELETE FROM t WHERE a > 2"));
  sqlite3_file* const file = connection->database_file();
  void volatile* mapped = nullptr;
  ASSERT_EQ(file->pMethods->xShmMap(file, 0, wal_index_block_size, 0, &mapped), SQLITE_OK);
  base::Bytes theirs(wal_index_block_size);
  load_shared_words(theirs.data(), static_cast<std::byte*>(const_cast<void*>(mapped)), theirs.size());
  const auto header = decode_wal_index_header(base::ByteView(theirs).first(wal_index_header_size));
  ASSERT_TRUE(header);
  EXPECT_GT(header->frame_max, 50U);
  EXPECT_EQ(header->page_size, 4096U);
  const auto encoded = encode_wal_index_header(*header);
  EXPECT_TRUE(std::ranges::equal(encoded, base::ByteView(theirs).first(wal_index_header_size)));
  Memory ours;
  std::copy_n(theirs.begin(), 136, ours.data());
  const WalIndexBlock source(theirs.data(), 0);
  WalIndexBlock block(ours.data(), 0);
  for (std::uint32_t frame = 1; frame <= header->frame_max; ++frame) {
    ASSERT_TRUE(block.append(frame, source.page_of(frame)));
  }
  EXPECT_TRUE(std::ranges::equal(theirs, base::ByteView(ours.data(), wal_index_block_size)));
}

TEST(WalIndexBlock, FindsTheLastFrameOfAPageUpToTheLimit) {
  Memory memory;
  WalIndexBlock block(memory.data(), 0);
  const std::uint32_t pages[] = {5, 6, 5, 7, 5};
  for (std::uint32_t frame = 1; frame <= 5; ++frame) {
    ASSERT_TRUE(block.append(frame, PageNo(pages[frame - 1])));
  }
  EXPECT_EQ(block.find(PageNo(5), 5), 5U);
  EXPECT_EQ(block.find(PageNo(5), 4), 3U);
  EXPECT_EQ(block.find(PageNo(5), 2), 1U);
  EXPECT_EQ(block.find(PageNo(6), 1), 0U);
  EXPECT_EQ(block.find(PageNo(8), 5), 0U);
  EXPECT_EQ(block.page_of(4), PageNo(7));
}

TEST(WalIndexBlock, FindsThroughCollisions) {
  Memory memory;
  WalIndexBlock block(memory.data(), 1);
  // Pages 8192 apart hash to the same slot.
  std::uint32_t frame = block.frame_first();
  for (std::uint32_t index = 0; index < 50; ++index) {
    ASSERT_TRUE(block.append(frame + index, PageNo(3 + index * 8192)));
  }
  for (std::uint32_t index = 0; index < 50; ++index) {
    EXPECT_EQ(block.find(PageNo(3 + index * 8192), block.frame_last()), frame + index);
  }
}

TEST(WalIndexBlock, StartsCleanOverWhateverTheMemoryHeld) {
  Memory memory;
  memory.fill(0xFFFF'FFFF);
  WalIndexBlock block(memory.data(), 1);
  ASSERT_TRUE(block.append(block.frame_first(), PageNo(9)));
  EXPECT_EQ(block.find(PageNo(9), block.frame_last()), block.frame_first());
  EXPECT_EQ(block.find(PageNo(0xFFFF'FFFF), block.frame_last()), 0U);
}

TEST(WalIndexBlock, LeavesTheHeaderOfTheFirstBlockAlone) {
  Memory memory;
  memory.fill(0x5A5A'5A5A);
  WalIndexBlock block(memory.data(), 0);
  ASSERT_TRUE(block.append(1, PageNo(1)));
  for (std::size_t offset = 0; offset < 136; ++offset) EXPECT_EQ(memory.data()[offset], std::byte{0x5A});
}

TEST(WalIndexBlock, ClearsTheRestsOfAWriterThatDied) {
  Memory memory;
  WalIndexBlock block(memory.data(), 0);
  for (std::uint32_t frame = 1; frame <= 10; ++frame) ASSERT_TRUE(block.append(frame, PageNo(frame)));
  // Frames 11 to 20 were entered, but never committed.
  for (std::uint32_t frame = 11; frame <= 20; ++frame) ASSERT_TRUE(block.append(frame, PageNo(1)));
  ASSERT_TRUE(block.append(11, PageNo(77)));
  EXPECT_EQ(block.find(PageNo(1), 4062), 1U);
  EXPECT_EQ(block.find(PageNo(77), 4062), 11U);
  EXPECT_EQ(block.page_of(12), PageNo(0));
  for (std::uint32_t frame = 1; frame <= 10; ++frame) EXPECT_EQ(block.find(PageNo(frame), 4062), frame);
}

TEST(WalIndexBlock, CanBeFilledToTheLastFrame) {
  for (std::uint32_t number = 0; number < 2; ++number) {
    Memory memory;
    WalIndexBlock block(memory.data(), number);
    std::mt19937 random(number);
    std::map<std::uint32_t, std::uint32_t> last;
    for (std::uint32_t frame = block.frame_first(); frame <= block.frame_last(); ++frame) {
      const auto page = static_cast<std::uint32_t>(random() % 3000 + 1);
      ASSERT_TRUE(block.append(frame, PageNo(page)));
      last[page] = frame;
    }
    for (const auto& [page, frame] : last) ASSERT_EQ(block.find(PageNo(page), block.frame_last()), frame);
  }
}

}  // namespace
}  // namespace litecluster::db
