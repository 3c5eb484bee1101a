// Programs that the capture tests run as processes of their own.
//
//   writer DB SEED COMMITS AUTOCHECKPOINT: random transactions on table t, and on the ledger of it if there
//   is one;
//     ends after COMMITS, or when killed
//   checkpointer DB MODE MICROSECONDS: PASSIVE, FULL, RESTART or TRUNCATE, again and again
//   reader DB MICROSECONDS: read transactions of that length
//   agent DB LOG ROUNDS FRAMES: captures into files LOG/<txid>.ltx until it is idle ROUNDS times
#include <signal.h>
#include <sqlite3.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <thread>

#include <fmt/format.h>

#include "base/fault_point.hpp"
#include "base/file.hpp"
#include "base/logging.hpp"
#include "capture_agent_log.hpp"
#include "db/database.hpp"
#include "db/sqlite.hpp"

namespace litecluster::db {
namespace {

[[noreturn]] void give_up(const std::string& reason) {
  fmt::print(stderr, "{}\n", reason);
  std::exit(3);
}

void run(Connection& connection, const std::string& sql) {
  if (auto done = connection.execute(sql); !done) give_up(done.error().message());
}

Connection open(const std::string& path) {
  auto connection = Connection::open(path);
  if (!connection) give_up(connection.error().message());
  connection->set_busy_timeout(std::chrono::seconds(60));
  return std::move(*connection);
}

std::string blob(std::mt19937& random, unsigned size_max) {
  return fmt::format("hex(randomblob({}))", 1 + random() % size_max);
}

// Says in the same transaction what table t holds now.
constexpr std::string_view ledger =
    "UPDATE ledger SET commits = commits + 1, bytes = (SELECT coalesce(sum(length(x)), 0) FROM t);";

int write(const std::string& path, unsigned seed, int commits, const std::string& autocheckpoint) {
  Connection connection = open(path);
  run(connection, "PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = " + autocheckpoint);
  const auto found = connection.query_integer("SELECT count(*) FROM sqlite_schema WHERE name = 'ledger'");
  if (!found) give_up(found.error().message());
  const bool keeps_ledger = found->value_or(0) == 1;
  std::mt19937 random(seed);
  for (int commit = 0; commit < commits; ++commit) {
    std::string sql = "BEGIN IMMEDIATE;";
    const unsigned statements = 1 + random() % 4;
    for (unsigned statement = 0; statement < statements; ++statement) {
      switch (random() % 4) {
        case 0:
        case 1:
          sql += fmt::format("INSERT INTO t(x) VALUES({}),({});", blob(random, 900), blob(random, 300));
          break;
        case 2:
          sql += fmt::format("UPDATE t SET x = {} WHERE id % 97 = {};", blob(random, 200), random() % 97);
          break;
        default: sql += fmt::format("DELETE FROM t WHERE id % 61 = {};", random() % 61); break;
      }
    }
    if (keeps_ledger) sql += ledger;
    sql += random() % 20 == 0 ? "ROLLBACK;" : "COMMIT;";
    run(connection, sql);
    if (random() % 400 == 0) run(connection, "VACUUM");
  }
  return 0;
}

int checkpoint(const std::string& path, const std::string& mode, int pause_microseconds) {
  Connection connection = open(path);
  connection.set_busy_timeout(std::chrono::milliseconds(5));
  run(connection, "PRAGMA synchronous = OFF");
  for (;;) {
    static_cast<void>(connection.query_integer("PRAGMA wal_checkpoint(" + mode + ")"));
    std::this_thread::sleep_for(std::chrono::microseconds(pause_microseconds));
  }
}

int read(const std::string& path, int microseconds) {
  Connection connection = open(path);
  for (;;) {
    run(connection, "BEGIN; SELECT count(*) FROM t");
    std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
    run(connection, "SELECT sum(length(x)) FROM t; COMMIT");
  }
}

// SQLite's own file system, except that letting go of mapped pages stops the process when asked to. A
// checkpoint does that right after it read a wal-index header that is new to it.
bool stop_at_unfetch = false;
sqlite3_io_methods stalling_methods;
sqlite3_vfs stalling_vfs;
sqlite3_vfs* usual_vfs = nullptr;
int (*usual_unfetch)(sqlite3_file*, sqlite3_int64, void*) = nullptr;

int stalling_unfetch(sqlite3_file* file, sqlite3_int64 offset, void* page) {
  if (stop_at_unfetch) {
    stop_at_unfetch = false;
    ::raise(SIGSTOP);
  }
  return usual_unfetch(file, offset, page);
}

int stalling_open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* flags_out) {
  const int result = usual_vfs->xOpen(usual_vfs, name, file, flags, flags_out);
  if (result == SQLITE_OK && (flags & SQLITE_OPEN_MAIN_DB) != 0 && file->pMethods->iVersion >= 3) {
    stalling_methods = *file->pMethods;
    usual_unfetch = stalling_methods.xUnfetch;
    stalling_methods.xUnfetch = stalling_unfetch;
    file->pMethods = &stalling_methods;
  }
  return result;
}

int checkpoint_and_stall(const std::string& path) {
  usual_vfs = ::sqlite3_vfs_find(nullptr);
  stalling_vfs = *usual_vfs;
  stalling_vfs.zName = "stalling";
  stalling_vfs.xOpen = stalling_open;
  ::sqlite3_vfs_register(&stalling_vfs, 1);
  Connection connection = open(path);
  run(connection, "SELECT count(*) FROM t");
  ::raise(SIGSTOP);
  stop_at_unfetch = true;
  int frames = 0;
  int copied = 0;
  ::sqlite3_wal_checkpoint_v2(connection.handle(), "main", SQLITE_CHECKPOINT_PASSIVE, &frames, &copied);
  return stop_at_unfetch ? 4 : 0;
}

void publish(Database& database, const CapturedTransaction& captured, const AgentLog& log) {
  LITECLUSTER_FAULT_POINT("agent.before_publish");
  if (auto stored = log.append(database, captured); !stored) give_up(stored.error().message());
  LITECLUSTER_FAULT_POINT("agent.published");
  if (auto done = database.acknowledge(captured.txid(), Epoch(1)); !done) give_up(done.error().message());
}

int agent(const std::string& path, const std::string& directory, int rounds, unsigned frames) {
  base::configure_logging(base::LogLevel::error, base::LogFormat::text);
  const AgentLog log(directory);
  DatabaseOptions options{.path = path};
  options.poll_interval = std::chrono::milliseconds(50);
  options.checkpoint.frames = frames;
  options.checkpoint.frames_urgent = 2 * frames;
  auto attached = Database::attach(options, log.end());
  if (!attached) give_up(attached.error().message());
  Database& database = **attached;
  const Context context = Context::background();
  for (int idle = 0; idle < rounds;) {
    auto captured = database.capture();
    if (!captured) give_up(captured.error().message());
    if (*captured) {
      publish(database, **captured, log);
      idle = 0;
    } else {
      ++idle;
      if (auto waited = database.wait_for_change(context); !waited) give_up(waited.error().message());
    }
    const CheckpointStep step = database.checkpoint_due(base::BootClock::now());
    if (step == CheckpointStep::none) continue;
    auto report = database.checkpoint(step);
    if (!report) give_up(report.error().message());
    for (const CapturedTransaction& one : report->captured) publish(database, one, log);
  }
  return 0;
}

}  // namespace
}  // namespace litecluster::db

int main(int count, char** arguments) {
  using namespace litecluster::db;
  const std::vector<std::string> words(arguments, arguments + count);
  if (count == 6 && words[1] == "writer") {
    return write(words[2], static_cast<unsigned>(std::stoul(words[3])), std::stoi(words[4]), words[5]);
  }
  if (count == 5 && words[1] == "checkpointer") return checkpoint(words[2], words[3], std::stoi(words[4]));
  if (count == 3 && words[1] == "stalled-checkpointer") return checkpoint_and_stall(words[2]);
  if (count == 4 && words[1] == "reader") return read(words[2], std::stoi(words[3]));
  if (count == 6 && words[1] == "agent") {
    return agent(words[2], words[3], std::stoi(words[4]), static_cast<unsigned>(std::stoul(words[5])));
  }
  return 2;
}
