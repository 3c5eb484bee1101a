#include "replication/session_options.hpp"

#include <gtest/gtest.h>

namespace litecluster::replication {
namespace {

TEST(LeaderSessionOptions, KeepEverythingLargeBesideTheDatabase) {
  Sqlite sqlite;
  sqlite.path = "/data/app.db";
  const auto options = leader_session_options(sqlite, "node-1");
  EXPECT_EQ(options.publisher.outbox.directory, "/data/.app.db-litecluster/spool");
  EXPECT_EQ(options.maintainer.spool_directory, options.publisher.outbox.directory);
}

}  // namespace
}  // namespace litecluster::replication
