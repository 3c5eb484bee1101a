// What capture costs the application: commits per second with `litecluster replicate` attached beside the
// same without, in turns, for synchronous=NORMAL and FULL.
//
//   bench_application        LITECLUSTER_BENCH_ROUNDS: default 7; LITECLUSTER_BENCH_SECONDS: of a turn,
//   default 1
//
// Three applications: one that does nothing but commit; one that computes for 200 us before each commit, as
// one that does something for its users; one that commits 1,000 times a second, for which the time that it
// waits in COMMIT is compared. Application, replicator and nats-server share the machine's processors, so the
// first shows the worst case on a small machine. The same with `litestream replicate` where it is installed.
#include <array>
#include <thread>

#include <fmt/format.h>

#include "support/scene.hpp"

namespace litecluster::bench {
namespace {

struct Kind {
  std::string_view name;
  Work work;
};

struct Pair {
  std::vector<double> bare;
  std::vector<double> captured;
};

// Two databases with the same content: a replicator is attached to one of them.
class Comparison {
 public:
  Comparison(Scene& scene, log::ObjectBucket& bucket, const Child& replicator, std::string name,
             std::string prefix)
      : scene_(scene),
        bucket_(bucket),
        replicator_(replicator),
        report_("application"),
        name_(std::move(name)),
        bare_(scene.path(prefix + "-bare.db")),
        captured_(scene.path(prefix + "-captured.db")) {}

  void run(const Kind& kind) {
    const auto rounds = static_cast<int>(setting("LITECLUSTER_BENCH_ROUNDS", 7));
    Pair rate;
    Pair p50;
    Pair p99;
    double cpu = 0;
    double server_cpu = 0;
    double commits = 0;
    for (int round = 0; round < rounds; ++round) {
      // Who comes first changes, so that a drift of the machine meets both.
      for (const bool captured : {round % 2 == 0, round % 2 != 0}) {
        const Usage before = replicator_.usage();
        const Usage server_before = scene_.server_usage();
        const Outcome outcome = scene_.application().run(captured ? captured_ : bare_, kind.work);
        (captured ? rate.captured : rate.bare)
            .push_back(static_cast<double>(outcome.commits) / outcome.seconds);
        (captured ? p50.captured : p50.bare).push_back(outcome.commit_p50);
        (captured ? p99.captured : p99.bare).push_back(outcome.commit_p99);
        if (!captured) continue;
        wait_quiet(bucket_);
        cpu += replicator_.usage().cpu_seconds - before.cpu_seconds;
        server_cpu += scene_.server_usage().cpu_seconds - server_before.cpu_seconds;
        commits += static_cast<double>(outcome.commits);
      }
    }
    const std::string what =
        fmt::format("{}, {}, synchronous={}", name_, kind.name, kind.work.full_sync ? "FULL" : "NORMAL");
    const bool ours = name_ == "litecluster";
    const auto aim = ours ? std::optional(Aim{0.97, true}) : std::nullopt;
    report_.heading(what);
    report_.figure(what + ": commits/s without", median(rate.bare), "/s");
    report_.figure(what + ": commits/s with capture", median(rate.captured), "/s");
    report_.figure(what + ": throughput kept", median(rate.captured) / median(rate.bare), "x", aim);
    report_.figure(what + ": wait in commit p50, with/without", median(p50.captured) / median(p50.bare), "x");
    report_.figure(what + ": wait in commit p99 without", median(p99.bare), "us");
    report_.figure(what + ": wait in commit p99 with capture", median(p99.captured), "us");
    report_.figure(what + ": processor time of the replicator", cpu / commits * 1e6, "us/commit");
    report_.figure(what + ": processor time of nats-server", server_cpu / commits * 1e6, "us/commit");
  }

  void run_all() {
    const double seconds = setting("LITECLUSTER_BENCH_SECONDS", 1);
    for (const bool full : {false, true}) {
      const std::array kinds{
          Kind{"flat out", {.full_sync = full, .seconds = seconds}},
          Kind{"200 us of work a commit", {.full_sync = full, .seconds = seconds, .think_microseconds = 200}},
          Kind{"1,000 commits/s", {.full_sync = full, .seconds = seconds, .rate = 1000}}};
      for (const Kind& kind : kinds) run(kind);
    }
  }

 private:
  Scene& scene_;
  log::ObjectBucket& bucket_;
  const Child& replicator_;
  Report report_;
  std::string name_;
  std::filesystem::path bare_;
  std::filesystem::path captured_;
};

void prepare(Scene& scene, const std::string& prefix) {
  for (const char* which : {"-bare.db", "-captured.db"}) {
    scene.application().run(scene.path(prefix + which), {.commits = 200, .rows = 100});
  }
}

void run() {
  Scene scene;
  fmt::print("application throughput with and without capture (nats-server {}, {} processors)\n",
             scene.server_version(), std::thread::hardware_concurrency());
  {
    prepare(scene, "ours");
    const auto opened = scene.open_bucket("ours-wal");
    const Child replicator = scene.litecluster("replicate", scene.path("ours-captured.db"), "ours-wal");
    wait_quiet(*opened.bucket);
    Comparison(scene, *opened.bucket, replicator, "litecluster", "ours").run_all();
  }
  prepare(scene, "theirs");
  const auto opened = scene.open_bucket("theirs");
  const auto replicator = scene.litestream(
      {"replicate", scene.path("theirs-captured.db").string(), scene.litestream_url("theirs")});
  if (!replicator) {
    Report("application").missing("litestream", "it is not installed (scripts/optional-partners)");
    return;
  }
  wait_quiet(*opened.bucket);
  std::this_thread::sleep_for(std::chrono::seconds(2));
  Comparison(scene, *opened.bucket, *replicator, "litestream", "theirs").run_all();
}

}  // namespace
}  // namespace litecluster::bench

int main() {
  litecluster::bench::run();
}
