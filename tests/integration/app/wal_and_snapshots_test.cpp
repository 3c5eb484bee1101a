// What a program is told of its replicated database: App::wal() and App::snapshots(), with real servers and
// files.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>

#include "db/sqlite.hpp"
#include "integration/app/running_app.hpp"
#include "support/eventually.hpp"

namespace litecluster {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::RunningApp;
using test::soon;

class DatabaseApp : public test::NatsTest {
 protected:
  [[nodiscard]] std::filesystem::path database(const std::string& node) const {
    return directory_ / (node + ".db");
  }

  [[nodiscard]] AppOptions database_options(const std::string& node) const {
    AppOptions options = test::node_options(this->options(), node, Mode::active_passive);
    options.sqlite = Sqlite{.path = database(node)};
    return options;
  }

  static void write(const std::filesystem::path& database, const std::string& text) {
    auto connection = db::Connection::open(database);
    ASSERT_OK(connection);
    connection->set_busy_timeout(10s);
    ASSERT_OK(connection->execute("CREATE TABLE IF NOT EXISTS entry(text); INSERT INTO entry VALUES('" +
                                  text + "')"));
  }

  static std::string texts(const std::filesystem::path& database) {
    auto connection = db::Connection::open(database);
    if (!connection) return connection.error().message();
    const auto text = connection->query_text("SELECT group_concat(text, ' ') FROM entry");
    return text ? text->value_or("") : text.error().message();
  }
};

TEST_F(DatabaseApp, EverySnapshotAndEveryTxidCanBeRestoredFromTheLeader) {
  RunningApp leader(database_options("a"));
  leader.start();
  ASSERT_TRUE(eventually([&] { return leader.app().is_leader(); }));
  const Wal wal = leader.app().wal();
  const Snapshots snapshots = leader.app().snapshots();
  write(database("a"), "one");
  ASSERT_OK(wal.sync(soon()));
  const auto first_position = wal.position();
  ASSERT_OK(first_position);
  EXPECT_GT(first_position->txid, Txid(0));
  EXPECT_EQ(wal.lag().txids, 0U);

  const auto first = snapshots.create(soon());
  ASSERT_OK(first);
  EXPECT_EQ(first->txid, first_position->txid);
  EXPECT_EQ(first->id, to_string(first->txid));
  EXPECT_GT(first->size_bytes, 0U);
  const auto again = snapshots.create(soon());
  ASSERT_OK(again);
  EXPECT_EQ(again->id, first->id) << "there is one of this position already";

  write(database("a"), "two");
  ASSERT_OK(wal.sync(soon()));
  const Txid between = wal.position()->txid;
  EXPECT_GT(between, first->txid);
  write(database("a"), "three");
  ASSERT_OK(wal.sync(soon()));
  const auto last = snapshots.create(soon());
  ASSERT_OK(last);

  const auto listed = snapshots.list(soon());
  ASSERT_OK(listed);
  ASSERT_GE(listed->size(), 2U);
  EXPECT_EQ(listed->front().id, last->id) << "the newest comes first";
  EXPECT_TRUE(std::ranges::is_sorted(*listed, std::greater(), &Snapshot::txid));
  const auto latest = snapshots.latest(soon());
  ASSERT_OK(latest);
  EXPECT_EQ(latest->id, last->id);

  ASSERT_OK(snapshots.restore(soon(), first->id, directory_ / "first.db"));
  EXPECT_EQ(texts(directory_ / "first.db"), "one");
  ASSERT_OK(snapshots.restore(soon(), to_string(between), directory_ / "between.db"));
  EXPECT_EQ(texts(directory_ / "between.db"), "one two");
  ASSERT_OK(snapshots.restore(soon(), latest->id, directory_ / "last.db"));
  EXPECT_EQ(texts(directory_ / "last.db"), "one two three");

  EXPECT_ERROR(snapshots.restore(soon(), first->id, directory_ / "last.db"), ErrorCode::already_exists);
  EXPECT_EQ(texts(directory_ / "last.db"), "one two three") << "what is there is left alone";
  EXPECT_ERROR(snapshots.restore(soon(), "yesterday", directory_ / "none.db"), ErrorCode::invalid_argument);
  EXPECT_FALSE(snapshots.restore(soon(), to_string(Txid(last->txid.value() + 1000)), directory_ / "none.db"));
  EXPECT_FALSE(std::filesystem::exists(directory_ / "none.db"));
  EXPECT_OK(leader.stop());
}

TEST_F(DatabaseApp, AStandbyTellsWhatItHasAppliedAndLeavesWritingToTheLeader) {
  RunningApp leader(database_options("a"));
  leader.start();
  ASSERT_TRUE(eventually([&] { return leader.app().is_leader(); }));
  RunningApp standby(database_options("b"));
  standby.start();
  write(database("a"), "one");
  ASSERT_OK(leader.app().wal().sync(soon()));
  const auto written = leader.app().wal().position();
  ASSERT_OK(written);
  ASSERT_TRUE(eventually([&] { return standby.app().wal().position() == written; }));
  EXPECT_TRUE(eventually([&] { return standby.app().wal().lag().txids == 0; }));
  EXPECT_EQ(texts(database("b").string() + "-replica"), "one");

  EXPECT_ERROR(standby.app().wal().sync(soon()), ErrorCode::not_leader);
  EXPECT_ERROR(standby.app().snapshots().create(soon()), ErrorCode::not_leader);
  const auto made = leader.app().snapshots().create(soon());
  ASSERT_OK(made);
  const auto seen = standby.app().snapshots().latest(soon());
  ASSERT_OK(seen);
  EXPECT_EQ(seen->id, made->id);
  ASSERT_OK(standby.app().snapshots().restore(soon(), seen->id, directory_ / "copy.db"));
  EXPECT_EQ(texts(directory_ / "copy.db"), "one");
  EXPECT_OK(standby.stop());
  EXPECT_OK(leader.stop());
}

TEST_F(DatabaseApp, SaysThatThereIsNoDatabaseBeforeTheRunWithoutOneAndWhenTheAppIsGone) {
  std::optional<Wal> wal;
  std::optional<Snapshots> snapshots;
  const auto nothing_works = [&](const char* when) {
    SCOPED_TRACE(when);
    EXPECT_ERROR(wal->position(), ErrorCode::failed_precondition);
    EXPECT_ERROR(wal->sync(soon()), ErrorCode::failed_precondition);
    EXPECT_EQ(wal->lag(), Lag{});
    EXPECT_ERROR(snapshots->create(soon()), ErrorCode::failed_precondition);
    EXPECT_ERROR(snapshots->list(soon()), ErrorCode::failed_precondition);
    EXPECT_ERROR(snapshots->latest(soon()), ErrorCode::failed_precondition);
    EXPECT_ERROR(snapshots->restore(soon(), to_string(Txid(1)), directory_ / "none.db"),
                 ErrorCode::failed_precondition);
  };
  {
    auto waiting = App::create(database_options("a"));
    ASSERT_OK(waiting);
    wal = waiting->wal();
    snapshots = waiting->snapshots();
    nothing_works("before the run");
  }
  nothing_works("the App is gone");
  RunningApp pool(test::node_options(options(), "p", Mode::pool));
  pool.start();
  ASSERT_TRUE(eventually([&] { return pool.app().status().stage == "working"; }));
  wal = pool.app().wal();
  snapshots = pool.app().snapshots();
  nothing_works("in a pool");
  EXPECT_OK(pool.stop());
}

}  // namespace
}  // namespace litecluster
