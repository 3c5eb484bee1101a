#include "db/sqlite.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "support/temporary_directory.hpp"

namespace litecluster::db {
namespace {

constexpr int create = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;

TEST(Connection, RunsStatementsAndReadsValues) {
  const test::TemporaryDirectory directory;
  auto connection = Connection::open(directory / "a.db", create);
  ASSERT_TRUE(connection) << connection.error().message();
  ASSERT_TRUE(connection->execute("CREATE TABLE t(x, y); INSERT INTO t VALUES(1, 'one'), (2, 'two')"));
  EXPECT_EQ(connection->query_integer("SELECT count(*) FROM t").value(), 2);
  EXPECT_EQ(connection->query_text("SELECT y FROM t WHERE x = 2").value(), "two");
  EXPECT_EQ(connection->query_integer("SELECT x FROM t WHERE x = 3").value(), std::nullopt);
}

TEST(Connection, SaysWhatFailedWhereAndWhy) {
  const test::TemporaryDirectory directory;
  const auto missing = Connection::open(directory / "missing.db");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message().find("missing.db"), std::string::npos);
  auto connection = Connection::open(directory / "a.db", create);
  ASSERT_TRUE(connection);
  const auto failed = connection->execute("SELECT * FROM nowhere");
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message().find("no such table: nowhere"), std::string::npos);
}

TEST(Connection, ReportsALockedDatabaseAsBusy) {
  const test::TemporaryDirectory directory;
  auto first = Connection::open(directory / "a.db", create);
  auto second = Connection::open(directory / "a.db", create);
  ASSERT_TRUE(first->execute("CREATE TABLE t(x); BEGIN IMMEDIATE"));
  EXPECT_TRUE(first->in_transaction());
  const auto refused = second->execute("BEGIN IMMEDIATE");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::busy);
}

TEST(Statement, BindsAndReturnsEveryKindOfValue) {
  const test::TemporaryDirectory directory;
  auto connection = Connection::open(directory / "a.db", create);
  auto statement = connection->prepare("SELECT ?1, ?2, ?3");
  ASSERT_TRUE(statement);
  const std::vector bytes{std::byte{0}, std::byte{255}};
  ASSERT_TRUE(statement->bind(1, std::int64_t{-7}));
  ASSERT_TRUE(statement->bind(2, std::string_view("text")));
  ASSERT_TRUE(statement->bind(3, base::ByteView(bytes)));
  ASSERT_TRUE(statement->step().value());
  EXPECT_EQ(statement->integer(0), -7);
  EXPECT_EQ(statement->text(1), "text");
  EXPECT_EQ(std::vector(statement->blob(2).begin(), statement->blob(2).end()), bytes);
  EXPECT_FALSE(statement->step().value());
}

TEST(ReadFileHandle, ReadsTheFileOfTheConnection) {
  const test::TemporaryDirectory directory;
  auto connection = Connection::open(directory / "a.db", create);
  ASSERT_TRUE(connection->execute("PRAGMA page_size = 1024; PRAGMA journal_mode = wal; CREATE TABLE t(x)"));
  std::vector<std::byte> header(16);
  ASSERT_EQ(read_file_handle(connection->database_file(), header, 0, "a.db").value(), 16U);
  EXPECT_EQ(base::as_text(header).substr(0, 15), "SQLite format 3");
  EXPECT_EQ(file_handle_size(connection->journal_file(), "a.db-wal").value(), 32U + 2 * (24 + 1024));
  EXPECT_EQ(read_file_handle(connection->journal_file(), header, 2120, "a.db-wal").value(), 8U);
}

}  // namespace
}  // namespace litecluster::db
