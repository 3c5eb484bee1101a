// A program that leads by itself: litecluster as a library, without the daemon.
//
//   litecluster-example-library CLUSTER NODE NATS_URL DATABASE
//
// Start it on several machines. One of them sells tickets: it inserts a row, waits until the row is in the
// log on NATS, and only then prints "sold N". When it goes, another one continues with the next number; no
// number that was printed is ever sold twice or missing. Everybody prints who leads. SIGTERM and SIGINT hand
// over and end it.
#include <sqlite3.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include <litecluster/litecluster.hpp>

namespace lc = litecluster;
using namespace std::chrono_literals;

namespace {

lc::Status execute(sqlite3* database, const std::string& sql) {
  if (sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return std::unexpected(lc::Error(lc::ErrorCode::io, "execute", sql, sqlite3_errmsg(database)));
}

void say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

// Sells while this node leads.
class TicketOffice {
 public:
  explicit TicketOffice(std::string path) : path_(std::move(path)) {}
  ~TicketOffice() { close(); }
  TicketOffice(const TicketOffice&) = delete;
  TicketOffice& operator=(const TicketOffice&) = delete;

  // Called in on_active: the database at `path_` is ours until on_passive.
  lc::Status open(const lc::App& app, const lc::Context& context) {
    if (sqlite3_open(path_.c_str(), &database_) != SQLITE_OK) {
      return std::unexpected(lc::Error(lc::ErrorCode::io, "open", path_, sqlite3_errmsg(database_)));
    }
    sqlite3_busy_timeout(database_, 5000);
    for (const char* sql : {"PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL"}) {
      if (auto done = execute(database_, sql); !done) return done;
    }
    // There is one leader anyhow; the lock also keeps out whoever migrates by hand from another machine.
    auto migrated = app.lock("migrations").with(context, [&](lc::Context&) {
      return execute(database_, "CREATE TABLE IF NOT EXISTS ticket(number INTEGER PRIMARY KEY)");
    });
    if (!migrated) return migrated;
    const auto told = app.kv().put("office/open-at", app.leader(), context);
    if (!told) return std::unexpected(told.error());
    term_ = lc::Context::background().with_cancel();
    seller_ = std::thread([this, &app] { sell(app, term_); });
    return {};
  }

  // Called in on_passive: nothing may touch the database afterwards.
  void close() {
    term_.cancel();
    if (seller_.joinable()) seller_.join();
    sqlite3_close(std::exchange(database_, nullptr));
  }

 private:
  void sell(const lc::App& app, const lc::Context& term) {
    while (!term.wait_for(5ms)) {
      if (!execute(database_, "INSERT INTO ticket DEFAULT VALUES")) continue;
      const auto number = sqlite3_last_insert_rowid(database_);
      // A customer only hears of a ticket that survives this machine.
      if (app.wal().sync(term)) say("sold " + std::to_string(number));
    }
  }

  const std::string path_;
  sqlite3* database_ = nullptr;
  lc::Context term_ = lc::Context::background();
  std::thread seller_;
};

// The first signal ends the run in order.
lc::Context until_signal() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const lc::Context context = lc::Context::background();
  std::thread([signals, context] {
    int received = 0;
    sigwait(&signals, &received);
    context.cancel();
  }).detach();
  return context;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: %s CLUSTER NODE NATS_URL DATABASE\n", argv[0]);
    return 2;
  }
  const lc::Context context = until_signal();
  auto app = lc::App::create({.cluster = argv[1],
                              .node = argv[2],
                              .nats = {.urls = {argv[3]}},
                              .sqlite = lc::Sqlite{.path = argv[4]},
                              .lease_ttl = 2s,
                              .heartbeat = 500ms});
  if (!app) {
    std::fprintf(stderr, "%s\n", app.error().message().c_str());
    return 2;
  }
  TicketOffice office(argv[4]);
  app->on_active([&](lc::Context& active) {
    say("active in epoch " + std::to_string(app->epoch().value()));
    return office.open(*app, active);
  });
  app->on_passive([&](lc::Context&) -> lc::Status {
    office.close();
    say("passive");
    return {};
  });
  app->on_leader_change([](lc::Context&, const std::string& leader) -> lc::Status {
    say("leader " + (leader.empty() ? "nobody" : leader));
    return {};
  });
  if (const auto done = app->run(context); !done) {
    std::fprintf(stderr, "%s\n", done.error().message().c_str());
    return 1;
  }
  return 0;
}
