// WALs as SQLite writes them.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <memory>
#include <string>

#include "base/file.hpp"
#include "support/temporary_directory.hpp"
#include "wal_builder.hpp"

namespace litecluster::wal {
namespace {

class RealWal : public ::testing::TestWithParam<int> {
 protected:
  RealWal() {
    EXPECT_EQ(::sqlite3_open((directory_ / "a.db").c_str(), &database_), SQLITE_OK);
    run("PRAGMA page_size = " + std::to_string(GetParam()) + "; PRAGMA journal_mode = WAL; " +
        "PRAGMA wal_autocheckpoint = 0; CREATE TABLE t(x)");
  }
  ~RealWal() override { ::sqlite3_close(database_); }
  void run(const std::string& sql) {
    ASSERT_EQ(::sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
  }
  base::Bytes bytes() { return *base::read_file(directory_ / "a.db-wal", 1U << 28U); }

  test::TemporaryDirectory directory_;
  sqlite3* database_ = nullptr;
};

TEST_P(RealWal, IsReadToItsLastFrame) {
  for (int row = 0; row < 20; ++row) run("INSERT INTO t VALUES(randomblob(900))");
  const auto wal = bytes();
  const auto result = scan_all(wal);
  EXPECT_EQ(result.header.page_size, static_cast<std::uint32_t>(GetParam()));
  EXPECT_EQ(result.position.offset, wal.size());
  EXPECT_EQ(result.commit_count, 21U);
  EXPECT_EQ(result.pages.front().page, PageNo(1));
}

TEST_P(RealWal, IsReadAfterItWasStartedAnew) {
  for (int row = 0; row < 20; ++row) run("INSERT INTO t VALUES(randomblob(900))");
  const auto before = scan_all(bytes());
  run("PRAGMA wal_checkpoint(RESTART); UPDATE t SET x = 1 WHERE rowid = 1");
  const auto wal = bytes();
  EXPECT_EQ(scan_all(wal, before.position).end, ScanEnd::restarted);
  const auto result = scan_all(wal);
  EXPECT_EQ(result.commit_count, 1U);
  EXPECT_LT(result.position.offset, wal.size()) << "old frames lie behind";
}

INSTANTIATE_TEST_SUITE_P(PageSizes, RealWal, ::testing::Values(512, 4096, 65536));

}  // namespace
}  // namespace litecluster::wal
