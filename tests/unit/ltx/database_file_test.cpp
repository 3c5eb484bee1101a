#include "ltx/database_file.hpp"

#include <gtest/gtest.h>

#include "support/temporary_directory.hpp"
#include "unit/ltx/ltx_support.hpp"

namespace litecluster::ltx {
namespace {

using namespace ltx::test;  // NOLINT: the helpers of these tests

class DatabaseFileTest : public testing::Test {
 protected:
  void write(const std::string& name, ByteView bytes) {
    ASSERT_TRUE(base::write_file_durably(directory_ / name, bytes));
  }
  Error error() {
    const auto file = DatabaseFile::open(directory_ / "db");
    EXPECT_FALSE(file);
    return file ? Error(ErrorCode::internal, "", "", "") : file.error();
  }

  litecluster::test::TemporaryDirectory directory_;
};

TEST_F(DatabaseFileTest, IsEncodedPageByPage) {
  write("db", sample("s1.db"));
  const auto database = DatabaseFile::open(directory_ / "db");
  ASSERT_TRUE(database) << database.error().message();
  EXPECT_EQ(database->page_size(), 4096U);
  EXPECT_EQ(database->page_count(), 30U);
  for (const bool checksums : {false, true}) {
    Bytes bytes;
    BytesSink sink(bytes);
    const auto info = encode_database(*database, sink, {.checksums = checksums});
    ASSERT_TRUE(info) << info.error().message();
    EXPECT_EQ(info->header.wal_offset, 32);
    const auto decoded = decode(bytes);
    ASSERT_TRUE(decoded) << decoded.error().message();
    Bytes joined;
    for (const auto& [number, page] : decoded->pages) base::append_bytes(joined, page);
    EXPECT_EQ(joined, sample("s1.db"));
    EXPECT_EQ(*database_checksum(*database), checksum_of(decoded->pages));
    EXPECT_EQ(decoded->info.trailer.post_apply.has_value(), checksums);
  }
}

TEST_F(DatabaseFileTest, IsNotEncodedWithChecksumsFromTheMiddleOfHistory) {
  write("db", sample("s1.db"));
  const auto database = DatabaseFile::open(directory_ / "db");
  Bytes bytes;
  BytesSink sink(bytes);
  const auto info =
      encode_database(*database, sink, {.min_txid = Txid(5), .max_txid = Txid(5), .checksums = true});
  EXPECT_EQ(info.error().code(), ErrorCode::invalid_argument);
}

TEST_F(DatabaseFileTest, IsRefusedWithAWalThatHasContent) {
  write("db", sample("s1.db"));
  write("db-wal", {});
  EXPECT_TRUE(DatabaseFile::open(directory_ / "db"));
  write("db-wal", filled(1, 'x'));
  EXPECT_EQ(error().code(), ErrorCode::failed_precondition);
  EXPECT_NE(error().message().find("-wal"), std::string::npos);
}

TEST_F(DatabaseFileTest, IsRefusedWithAnUnfinishedJournalOnly) {
  write("db", sample("s1.db"));
  write("db-journal", Bytes(512));
  EXPECT_TRUE(DatabaseFile::open(directory_ / "db"));
  write("db-journal", from_hex("d9d505f920a163d7 00000000"));
  EXPECT_EQ(error().code(), ErrorCode::failed_precondition);
}

TEST_F(DatabaseFileTest, IsRefusedWhenItIsNoDatabase) {
  EXPECT_EQ(error().code(), ErrorCode::not_found);
  write("db", {});
  EXPECT_EQ(error().code(), ErrorCode::failed_precondition);
  write("db", filled(4096, 'x'));
  EXPECT_EQ(error().code(), ErrorCode::corrupt);
  Bytes database = sample("s1.db");
  write("db", ByteView(database).first(50));
  EXPECT_EQ(error().code(), ErrorCode::corrupt);
  write("db", ByteView(database).first(database.size() - 1));
  EXPECT_NE(error().message().find("not a whole number of pages"), std::string::npos);
  write("db", ByteView(database).first(4096 * 29));
  EXPECT_NE(error().message().find("its header says 30 pages, the file has 29"), std::string::npos);
  database[16] = std::byte{3};
  write("db", database);
  EXPECT_NE(error().message().find("invalid page size"), std::string::npos);
}

TEST_F(DatabaseFileTest, TrustsTheSizeInItsHeaderOnlyWhenItIsCurrent) {
  Bytes database = sample("s1.db");
  database.resize(database.size() + 4096);
  write("db", database);
  EXPECT_EQ(DatabaseFile::open(directory_ / "db")->page_count(), 30U);
  database[92] ^= std::byte{1};  // "version-valid-for" is not the change counter any more
  write("db", database);
  EXPECT_EQ(DatabaseFile::open(directory_ / "db")->page_count(), 31U);
}

}  // namespace
}  // namespace litecluster::ltx
