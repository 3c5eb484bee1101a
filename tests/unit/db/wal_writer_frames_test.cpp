#include "db/wal_writer_frames.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/file.hpp"
#include "db/sqlite.hpp"
#include "support/temporary_directory.hpp"

namespace litecluster::db {
namespace {

std::uint32_t number_at(base::ByteView bytes, std::size_t offset) {
  return base::load_big_endian<std::uint32_t>(bytes.data() + offset);
}

TEST(WalFileHeader, HasItsFieldsInPlace) {
  const auto encoded = encode_wal_file_header({.checksum_order = wal::ChecksumOrder::little_endian,
                                               .page_size = 65536,
                                               .checkpoint_number = 3,
                                               .salts = {10, 20}});
  EXPECT_EQ(number_at(encoded.bytes, 0), 0x377F0682U);
  EXPECT_EQ(number_at(encoded.bytes, 4), 3007000U);
  EXPECT_EQ(number_at(encoded.bytes, 8), 65536U);
  EXPECT_EQ(number_at(encoded.bytes, 12), 3U);
  EXPECT_EQ(number_at(encoded.bytes, 16), 10U);
  EXPECT_EQ(number_at(encoded.bytes, 20), 20U);
  EXPECT_EQ(number_at(encoded.bytes, 24), encoded.checksum.first);
  EXPECT_EQ(number_at(encoded.bytes, 28), encoded.checksum.second);
  WalFileHeader header;
  header.checksum_order = wal::ChecksumOrder::big_endian;
  const auto big = encode_wal_file_header(header);
  EXPECT_EQ(number_at(big.bytes, 0), 0x377F0683U);
}

// What SQLite wrote can be rebuilt from its pages, byte by byte.
TEST(WalFrames, EqualThoseThatSqliteWrites) {
  const test::TemporaryDirectory directory;
  for (const std::uint32_t page_size : {512U, 4096U, 65536U}) {
    const auto path = directory / std::to_string(page_size);
    auto connection = Connection::open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    ASSERT_TRUE(connection);
    ASSERT_TRUE(connection->execute("PRAGMA page_size=" + std::to_string(page_size) +
                                    "; PRAGMA journal_mode=WAL; CREATE TABLE t(a);"
                                    "INSERT INTO t VALUES (randomblob(3000)); INSERT INTO t VALUES (2)"));
    const auto size = *file_handle_size(connection->journal_file(), path);
    base::Bytes wal(size);
    ASSERT_TRUE(read_file_handle(connection->journal_file(), wal, 0, path));
    const bool big = number_at(wal, 0) == 0x377F0683U;
    const auto order = big ? wal::ChecksumOrder::big_endian : wal::ChecksumOrder::little_endian;
    EXPECT_EQ(order, native_checksum_order());
    const WalSalts salts{number_at(wal, 16), number_at(wal, 20)};
    const auto header = encode_wal_file_header({.checksum_order = order,
                                                .page_size = page_size,
                                                .checkpoint_number = number_at(wal, 12),
                                                .salts = salts});
    base::Bytes rebuilt(header.bytes.begin(), header.bytes.end());
    WalFrameBuilder builder(order, salts, header.checksum);
    std::uint32_t frame = 1;
    for (; wal_frame_offset(frame + 1, page_size) <= size; ++frame) {
      const auto offset = wal_frame_offset(frame, page_size);
      builder.append(rebuilt, PageNo(number_at(wal, offset)),
                     base::ByteView(wal).subspan(offset + wal_frame_header_size, page_size),
                     number_at(wal, offset + 4));
    }
    EXPECT_GE(frame, 4U);
    EXPECT_EQ(rebuilt, wal);
  }
}

}  // namespace
}  // namespace litecluster::db
