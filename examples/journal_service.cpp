// A small HTTP service on SQLite, written as if litecluster did not exist: it opens one file and serves.
//
//   litecluster-example-backend --db PATH --port PORT [--address 127.0.0.1]
//   litecluster-example-backend --db PATH --print     integrity_check, then every entry on a line of its own
//
//   POST /entries          body: text   -> 201 and the new id, after the transaction has committed
//   GET  /entries/ID                    -> 200 and the text, or 404
//   GET  /summary                       -> "count sum_of_ids newest_id"
//   GET  /health                        -> 200 when the database answers
//
// SIGTERM and SIGINT end it cleanly: no request is cut off, and the database is closed.
#include <httplib.h>
#include <sqlite3.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace {

struct DatabaseCloser {
  void operator()(sqlite3* handle) const { sqlite3_close(handle); }
};
struct StatementFinalizer {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Database = std::unique_ptr<sqlite3, DatabaseCloser>;
using Statement = std::unique_ptr<sqlite3_stmt, StatementFinalizer>;

// One connection behind one mutex: plain, and fast enough for an example.
class Journal {
 public:
  bool open(const std::string& path) {
    sqlite3* handle = nullptr;
    const int result = sqlite3_open(path.c_str(), &handle);
    database_.reset(handle);
    if (result != SQLITE_OK) return false;
    // A busy timeout lets us wait out the short moments in which a checkpoint holds writers back.
    sqlite3_busy_timeout(handle, 5000);
    return execute("PRAGMA journal_mode=WAL") && execute("PRAGMA synchronous=NORMAL") &&
           execute("CREATE TABLE IF NOT EXISTS entry(id INTEGER PRIMARY KEY, text BLOB NOT NULL)");
  }

  // The id of the committed row, or 0.
  sqlite3_int64 add(const std::string& text) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const Statement statement = prepare("INSERT INTO entry(text) VALUES(?)");
    if (!statement) return 0;
    sqlite3_bind_blob(statement.get(), 1, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
    if (sqlite3_step(statement.get()) != SQLITE_DONE) return 0;
    return sqlite3_last_insert_rowid(database_.get());
  }

  // For a look at any copy of the database, also while it is in use. Prints what is wrong instead of the
  // entries.
  static bool print(const std::string& path) {
    Journal journal;
    sqlite3* handle = nullptr;
    const int result = sqlite3_open_v2(path.c_str(), &handle, SQLITE_OPEN_READONLY, nullptr);
    journal.database_.reset(handle);
    if (result != SQLITE_OK) return false;
    sqlite3_busy_timeout(handle, 5000);
    const Statement check = journal.prepare("PRAGMA integrity_check");
    if (!check || sqlite3_step(check.get()) != SQLITE_ROW) return false;
    const std::string verdict = reinterpret_cast<const char*>(sqlite3_column_text(check.get(), 0));
    if (verdict != "ok") {
      std::printf("%s\n", verdict.c_str());
      return false;
    }
    const Statement entries = journal.prepare("SELECT text FROM entry ORDER BY id");
    if (!entries) return false;
    int step = sqlite3_step(entries.get());
    for (; step == SQLITE_ROW; step = sqlite3_step(entries.get())) {
      std::printf("%.*s\n", sqlite3_column_bytes(entries.get(), 0),
                  static_cast<const char*>(sqlite3_column_blob(entries.get(), 0)));
    }
    return step == SQLITE_DONE;
  }

  bool find(sqlite3_int64 id, std::string& text) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const Statement statement = prepare("SELECT text FROM entry WHERE id = ?");
    if (!statement) return false;
    sqlite3_bind_int64(statement.get(), 1, id);
    if (sqlite3_step(statement.get()) != SQLITE_ROW) return false;
    const void* bytes = sqlite3_column_blob(statement.get(), 0);
    text.assign(bytes == nullptr ? "" : static_cast<const char*>(bytes),
                static_cast<std::size_t>(sqlite3_column_bytes(statement.get(), 0)));
    return true;
  }

  bool summary(std::string& text) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const Statement statement = prepare("SELECT count(*), ifnull(sum(id), 0), ifnull(max(id), 0) FROM entry");
    if (!statement || sqlite3_step(statement.get()) != SQLITE_ROW) return false;
    text = std::to_string(sqlite3_column_int64(statement.get(), 0)) + " " +
           std::to_string(sqlite3_column_int64(statement.get(), 1)) + " " +
           std::to_string(sqlite3_column_int64(statement.get(), 2)) + "\n";
    return true;
  }

 private:
  bool execute(const char* sql) {
    return sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK;
  }
  Statement prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    sqlite3_prepare_v2(database_.get(), sql, -1, &statement, nullptr);
    return Statement(statement);
  }

  std::mutex mutex_;
  Database database_;
};

void add_routes(httplib::Server& server, Journal& journal) {
  server.Post("/entries", [&](const httplib::Request& request, httplib::Response& response) {
    const sqlite3_int64 id = journal.add(request.body);
    response.status = id > 0 ? 201 : 503;
    response.set_content(std::to_string(id) + "\n", "text/plain");
  });
  server.Get(R"(/entries/(\d+))", [&](const httplib::Request& request, httplib::Response& response) {
    std::string text;
    if (journal.find(std::strtoll(request.matches[1].str().c_str(), nullptr, 10), text)) {
      response.set_content(text, "application/octet-stream");
    } else {
      response.status = 404;
    }
  });
  const auto summary = [&](const httplib::Request&, httplib::Response& response) {
    std::string text;
    if (!journal.summary(text)) response.status = 503;
    response.set_content(text, "text/plain");
  };
  server.Get("/summary", summary);
  server.Get("/health", summary);
}

}  // namespace

int main(int argc, char** argv) {
  std::string path;
  std::string address = "127.0.0.1";
  int port = 0;
  bool print = false;
  for (int index = 1; index < argc; ++index) {
    if (std::strcmp(argv[index], "--print") == 0) print = true;
    if (index + 1 == argc) break;
    if (std::strcmp(argv[index], "--db") == 0) path = argv[++index];
    if (std::strcmp(argv[index], "--port") == 0) port = std::atoi(argv[++index]);
    if (std::strcmp(argv[index], "--address") == 0) address = argv[++index];
  }
  if (path.empty() || (port <= 0 && !print)) {
    std::fprintf(stderr, "usage: %s --db PATH (--port PORT [--address ADDRESS] | --print)\n", argv[0]);
    return 2;
  }
  if (print) return Journal::print(path) ? 0 : 1;

  // Signals are taken by one thread that waits for them, so that no handler runs in the middle of anything.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  Journal journal;
  if (!journal.open(path)) {
    std::fprintf(stderr, "%s: cannot open %s as a database in WAL mode\n", argv[0], path.c_str());
    return 1;
  }
  httplib::Server server;
  server.set_keep_alive_max_count(1'000'000);
  // Head and body are two writes; without this each answer would wait for the client to acknowledge the
  // first.
  server.set_tcp_nodelay(true);
  add_routes(server, journal);
  if (!server.bind_to_port(address.c_str(), port)) {
    std::fprintf(stderr, "%s: cannot listen on %s:%d\n", argv[0], address.c_str(), port);
    return 1;
  }
  std::thread([&server, signals] {
    int received = 0;
    sigwait(&signals, &received);
    server.stop();
  }).detach();
  return server.listen_after_bind() ? 0 : 1;
}
