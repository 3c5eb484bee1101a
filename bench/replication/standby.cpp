// How long a commit takes until a reader of a standby sees it: `litecluster replicate` on the application's
// database, `litecluster follow` on a copy, and an ordinary SQLite connection that selects the newest row of
// the copy every 100 us (so that much of each figure is the reader's own). At 1, 100 and 1,000 commits a
// second, flat out, and under bulk load; then how fast a standby that was away catches up. The same for
// `litestream replicate` and `litestream restore -f` where it is installed.
//
//   bench_standby            LITECLUSTER_BENCH_SECONDS: of each load, default 8
#include <sys/prctl.h>

#include <thread>

#include <fmt/format.h>

#include "base/mutex.hpp"
#include "db/sqlite.hpp"
#include "log/log_view.hpp"
#include "log/restore.hpp"
#include "support/scene.hpp"

namespace litecluster::bench {
namespace {

using namespace std::chrono_literals;

// Reads the copy all the time and remembers when each commit became visible.
class Reader {
 public:
  // `fresh`: opens the copy anew for each look, because it is changed behind SQLite's back.
  Reader(const Application& application, std::filesystem::path copy, bool fresh)
      : application_(application),
        copy_(std::move(copy)),
        fresh_(fresh),
        thread_([this](const std::stop_token& stop) { run(stop); }) {}

  // Delays of the commits since the last call, up to this one, which the application has ended with. 0 for
  // one that was seen before COMMIT had returned to the application.
  std::vector<double> take(std::uint64_t last, std::uint32_t rows = 1) {
    wait_until(fmt::format("the standby shows commit {}", last), [&] { return seen_.load() >= last; });
    std::vector<Seen> seen;
    {
      const base::MutexLock lock(mutex_);
      seen = std::exchange(commits_, {});
    }
    std::vector<double> delays;
    for (const auto& [number, at] : seen) {
      // Of a commit of many rows, the last one counts.
      if ((last - number) % rows != 0) continue;
      delays.push_back(std::max(0.0, static_cast<double>(at - application_.committed_at(number)) / 1e6));
    }
    return delays;
  }
  [[nodiscard]] std::uint64_t seen() const { return seen_.load(); }

 private:
  void run(const std::stop_token& stop) {
    ::prctl(PR_SET_TIMERSLACK, 1);
    while (!stop.stop_requested()) {
      auto connection = db::Connection::open(copy_, SQLITE_OPEN_READONLY);
      auto newest = connection ? connection->prepare("SELECT max(id) FROM entry")
                               : Result<db::Statement>(std::unexpected(connection.error()));
      while (newest && !stop.stop_requested()) {
        const auto row = newest->step();
        if (!row) break;
        note(static_cast<std::uint64_t>(newest->integer(0)));
        newest->reset();
        std::this_thread::sleep_for(100us);
        if (fresh_) break;
      }
      if (!newest || fresh_) std::this_thread::sleep_for(1ms);
    }
  }

  struct Seen {
    std::uint64_t number;
    std::int64_t at;
  };

  void note(std::uint64_t last) {
    const std::int64_t now = now_nanoseconds();
    const base::MutexLock lock(mutex_);
    if (started_) {
      for (std::uint64_t number = seen_ + 1; number <= last; ++number) {
        commits_.push_back({number, now});
      }
    }
    started_ = true;
    seen_ = std::max(seen_.load(), last);
  }

  const Application& application_;
  std::filesystem::path copy_;
  bool fresh_;
  bool started_ = false;
  std::atomic<std::uint64_t> seen_{0};
  base::Mutex mutex_;
  std::vector<Seen> commits_;
  std::jthread thread_;
};

struct Load {
  std::string_view name;
  Work work;
  std::optional<double> p50{};
  std::optional<double> p99{};
};

std::vector<Load> loads() {
  const double seconds = setting("LITECLUSTER_BENCH_SECONDS", 8);
  return {{"1/s", {.seconds = 2 * seconds, .rate = 1}},
          {"100/s", {.seconds = seconds, .rate = 100}, 2, 10},
          {"1,000/s", {.seconds = seconds, .rate = 1000}},
          {"flat out", {.seconds = seconds / 2}},
          {"bulk, 1 MiB transactions", {.seconds = seconds / 2, .payload = 4000, .rows = 256}}};
}

void measure(Scene& scene, const std::filesystem::path& database, Reader& reader, const std::string& who,
             bool ours, const Report& report) {
  reader.take(scene.application().run(database, {.commits = 1}).last);
  for (const Load& load : loads()) {
    const Outcome outcome = scene.application().run(database, load.work);
    const auto delays = reader.take(outcome.last, load.work.rows);
    report.heading(fmt::format("{}, {}: {:.0f} commits a second reached", who, load.name,
                               static_cast<double>(outcome.commits) / outcome.seconds));
    report.latencies(fmt::format("{}: commit to visible, {}", who, load.name), delays,
                     ours ? load.p50 : std::nullopt, ours ? load.p99 : std::nullopt);
  }
}

void measure_catch_up(Scene& scene, const std::filesystem::path& database, log::ObjectBucket& bucket,
                      const Report& report) {
  const double seconds = setting("LITECLUSTER_BENCH_SECONDS", 8);
  const auto copy = scene.path("late.db");
  Txid before;
  {
    const Child follower = scene.litecluster("follow", copy, "bench-wal");
    Reader reader(scene.application(), copy, false);
    reader.take(scene.application().run(database, {.commits = 1}).last);
    before = need(log::read_log(patience(), bucket)).end().txid;
  }
  const Outcome outcome = scene.application().run(database, {.seconds = seconds, .rate = 1000});
  wait_quiet(bucket);
  const auto view = need(log::read_log(patience(), bucket));
  double bytes = 0;
  for (const auto& [name, object] : view.level(log::raw_level)) {
    if (name.min > before) bytes += static_cast<double>(object.size);
  }
  const auto txids = static_cast<double>(view.end().txid.value() - before.value());
  const std::int64_t begin = now_nanoseconds();
  const Child follower = scene.litecluster("follow", copy, "bench-wal");
  Reader reader(scene.application(), copy, false);
  reader.take(outcome.last);
  const double took = static_cast<double>(now_nanoseconds() - begin) / 1e9;
  report.heading(fmt::format("catching up with {:.0f} TXIDs of {:.1f} MiB, the start of the program included",
                             txids, bytes / (1 << 20)));
  report.figure("catching up", txids / took, "TXIDs/s");
  report.figure("catching up, bytes", bytes / took / (1 << 20), "MiB/s");
}

void measure_ours(Scene& scene, const Report& report) {
  const auto database = scene.path("app.db");
  scene.application().run(database, {.commits = 1000});
  const auto opened = scene.open_bucket("bench-wal");
  // One object per commit at 1,000 a second, for the catch-up.
  const auto publisher = [&](const char* interval) {
    return scene.litecluster("replicate", database, "bench-wal", {"--sqlite-min-sync-interval", interval});
  };
  {
    const Child replicator = publisher("10ms");
    wait_quiet(*opened.bucket);
    const Child follower = scene.litecluster("follow", scene.path("copy.db"), "bench-wal");
    Reader reader(scene.application(), scene.path("copy.db"), false);
    measure(scene, database, reader, "litecluster", true, report);
  }
  const Child replicator = publisher("1ms");
  wait_quiet(*opened.bucket);
  measure_catch_up(scene, database, *opened.bucket, report);
}

void measure_litestream(Scene& scene, const Report& report) {
  const auto database = scene.path("theirs.db");
  scene.application().run(database, {.commits = 1000});
  const auto opened = scene.open_bucket("theirs");
  const auto replicator = scene.litestream({"replicate", database.string(), scene.litestream_url("theirs")});
  if (!replicator)
    return report.missing("litestream: commit to visible", "it is not installed (scripts/optional-partners)");
  wait_quiet(*opened.bucket);
  const auto copy = scene.path("theirs-copy.db");
  const auto follower =
      scene.litestream({"restore", "-f", "-o", copy.string(), scene.litestream_url("theirs")});
  Reader reader(scene.application(), copy, true);
  wait_until("litestream has restored", [&] { return reader.seen() > 0; });
  measure(scene, database, reader, "litestream", false, report);
}

void run() {
  Scene scene;
  const Report report("standby");
  fmt::print("commit to visible on a standby (nats-server {})\n", scene.server_version());
  measure_ours(scene, report);
  measure_litestream(scene, report);
}

}  // namespace
}  // namespace litecluster::bench

int main() {
  litecluster::bench::run();
}
