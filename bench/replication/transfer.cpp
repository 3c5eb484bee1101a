// Bytes per second: how fast commits of large transactions get into the log beside bare publishes of 128 KiB,
// and how fast a database comes back beside reading the same objects raw and writing them to a file.
//
//   bench_transfer           LITECLUSTER_BENCH_MEBIBYTES: of each transfer, default 192
//
// Half of what pages hold compresses. What counts is bytes on the wire. Two ways to replicate:
// a backlog that was written while the publisher was stopped, with no application in its way; and a live one,
// where application, publisher and nats-server share the processors and bare publishes have theirs alone.
#include <signal.h>

#include <algorithm>
#include <array>
#include <thread>

#include <fmt/format.h>

#include "log/log_watcher.hpp"
#include "log/restore.hpp"
#include "log/restore_plan.hpp"
#include "replication/bare_publisher.hpp"
#include "replication/bare_reader.hpp"
#include "support/scene.hpp"

namespace litecluster::bench {
namespace {

constexpr double mebibyte = 1 << 20;
// One transaction: about 1 MiB.
constexpr std::uint32_t rows = 256;
constexpr std::uint32_t payload = 4000;

double rate_of(double bytes, std::int64_t nanoseconds) {
  return bytes / mebibyte / (static_cast<double>(nanoseconds) / 1e9);
}

// When the newest object of the log was seen.
class Arrivals {
 public:
  explicit Arrivals(log::ObjectBucket& bucket)
      : watcher_(bucket, [this] { last_.store(now_nanoseconds()); }) {}
  [[nodiscard]] std::int64_t last() const { return last_.load(); }
  // Bytes of raw objects behind this TXID.
  [[nodiscard]] double bytes_behind(Txid txid) const {
    double bytes = 0;
    const log::LogView view = watcher_.view();
    for (const auto& [name, object] : view.level(log::raw_level)) {
      if (name.min > txid) bytes += static_cast<double>(object.size);
    }
    return bytes;
  }
  [[nodiscard]] Txid end() const {
    return watcher_.with_view([](const log::LogView& view) { return view.end().txid; });
  }

 private:
  std::atomic<std::int64_t> last_{0};
  log::LogWatcher watcher_;
};

double bare_rate(BarePublisher& bare, double mebibytes) {
  const base::Bytes chunk(std::size_t{128} << 10U, std::byte{7});
  const int count = static_cast<int>(mebibytes * 8);
  const std::int64_t begin = now_nanoseconds();
  bare.publish_many(chunk, count);
  return rate_of(static_cast<double>(chunk.size()) * count, now_nanoseconds() - begin);
}

void measure_replication(Scene& scene, const Child& replicator, const std::filesystem::path& database,
                         log::ObjectBucket& bucket, const Report& report) {
  const double mebibytes = setting("LITECLUSTER_BENCH_MEBIBYTES", 192);
  const Work work{.commits = static_cast<std::uint64_t>(mebibytes), .payload = payload, .rows = rows};
  BarePublisher bare(scene.url());
  Arrivals arrivals(bucket);
  std::vector<double> bares;
  std::vector<double> backlog;
  std::vector<double> live;
  std::vector<double> writes;
  for (int round = 0; round < 3; ++round) {
    bares.push_back(bare_rate(bare, mebibytes));
    wait_quiet(bucket);
    Txid before = arrivals.end();
    replicator.signal(SIGSTOP);
    const Outcome written = scene.application().run(database, work);
    writes.push_back(mebibytes / written.seconds);
    std::int64_t begin = now_nanoseconds();
    replicator.signal(SIGCONT);
    wait_until("the backlog begins to arrive", [&] { return arrivals.end() > before; });
    wait_quiet(bucket);
    backlog.push_back(rate_of(arrivals.bytes_behind(before), arrivals.last() - begin));
    before = arrivals.end();
    begin = now_nanoseconds();
    scene.application().run(database, work);
    wait_quiet(bucket);
    live.push_back(rate_of(arrivals.bytes_behind(before), arrivals.last() - begin));
  }
  report.heading("replication, bytes per second");
  report.figure("bare publishes of 128 KiB, nats.c", median(bares), "MiB/s");
  report.figure("the application's own writing, nobody else running", median(writes), "MiB/s");
  report.figure("a backlog, replicated", median(backlog), "MiB/s");
  report.figure("a backlog, replicated, by bare publishes", median(backlog) / median(bares), "x",
                Aim{0.9, true});
  report.figure("while the application writes as fast as it can", median(live), "MiB/s");
  report.figure("while the application writes, by bare publishes", median(live) / median(bares), "x");
}

double seconds_of(const std::function<void()>& work) {
  const std::int64_t begin = now_nanoseconds();
  work();
  return static_cast<double>(now_nanoseconds() - begin) / 1e9;
}

void measure_restore(const Scene& scene, log::ObjectBucket& bucket, const std::string& name,
                     const std::string& what, const Report& report) {
  const auto view = need(log::read_log(patience(), bucket));
  const auto plan = need(log::plan_restore(view, log::RestoreTarget::latest()));
  std::vector<double> bare;
  std::vector<double> ours;
  std::vector<double> theirs;
  for (int round = 0; round < 5; ++round) {
    bare.push_back(seconds_of([&] { read_bare(scene.url(), name, plan.objects, scene.path("bare.bytes")); }));
    ours.push_back(seconds_of([&] {
      static_cast<void>(need(log::restore(
          patience(), bucket,
          {.output = scene.path("ours.db"), .overwrite = true, .on_progress = {}, .check = {}})));
    }));
    if (round >= 3) continue;
    theirs.push_back(seconds_of([&] {
      auto restore = scene.litestream(
          {"restore", "-force", "-o", scene.path("theirs.db").string(), scene.litestream_url(name)});
      if (restore && restore->wait() != 0) theirs.clear();
    }));
    if (!litestream_program()) theirs.clear();
  }
  const double size = static_cast<double>(plan.size()) / mebibyte;
  report.heading(fmt::format("restore of {}: {} objects, {:.0f} MiB", what, plan.objects.size(), size));
  report.figure(what + ": raw, nats.c and write", size / median(bare), "MiB/s");
  report.figure(what + ": restored", size / median(ours), "MiB/s");
  report.figure(what + ": restore by raw, time", median(ours) / median(bare), "x", Aim{1.3});
  if (theirs.empty()) {
    report.missing(what + ": litestream restore by raw, time",
                   litestream_program() ? "litestream could not restore it" : "litestream is not installed");
  } else {
    report.figure(what + ": litestream restore by raw, time", median(theirs) / median(bare), "x");
  }
}

void run() {
  Scene scene;
  const Report report("transfer");
  fmt::print("bytes per second (nats-server {})\n", scene.server_version());
  const auto database = scene.path("app.db");
  const auto mebibytes = static_cast<std::uint64_t>(setting("LITECLUSTER_BENCH_MEBIBYTES", 192));
  // No compaction: what is measured is the log itself.
  const std::vector<std::string> calm{"--sqlite-compaction-levels", "1=1h"};
  // A database each: it belongs to the log into which it was published first.
  const auto other = scene.path("other.db");
  for (const auto& path : {database, other}) {
    scene.application().run(path, {.commits = mebibytes, .payload = payload, .rows = rows});
  }
  {
    const auto opened = scene.open_bucket("whole");
    const Child replicator = scene.litecluster("replicate", database, "whole", calm);
    wait_quiet(*opened.bucket);
    measure_restore(scene, *opened.bucket, "whole", "one snapshot", report);
  }
  const auto opened = scene.open_bucket("many");
  {
    const Child replicator = scene.litecluster("replicate", other, "many", calm);
    wait_quiet(*opened.bucket);
    measure_replication(scene, replicator, other, *opened.bucket, report);
    for (int burst = 0; burst < 200; ++burst) scene.application().run(other, {.commits = 5, .rate = 400});
    wait_quiet(*opened.bucket);
  }
  measure_restore(scene, *opened.bucket, "many", "a snapshot and many objects", report);
}

}  // namespace
}  // namespace litecluster::bench

int main() {
  litecluster::bench::run();
}
