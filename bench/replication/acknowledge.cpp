// How long a commit takes until JetStream has acknowledged the object that holds it: on an idle database,
// beside one synchronous publish of as many bytes by nats.c alone, taking turns; then at 100 and 1,000
// commits a second.
//
//   bench_acknowledge        LITECLUSTER_BENCH_SECONDS: of each load, default 5
//
// The application is a process of its own and notes when COMMIT returned. The publisher runs in this process,
// over a bucket that notes when each object was acknowledged.
#include <thread>

#include <fmt/format.h>

#include "ltx/verified_object.hpp"
#include "replication/bare_publisher.hpp"
#include "replication/leader_session.hpp"
#include "replication/recording_bucket.hpp"
#include "replication/session_options.hpp"
#include "support/scene.hpp"

namespace litecluster::bench {
namespace {

using namespace std::chrono_literals;

std::uint64_t last_commit_in_object(base::ByteView bytes) {
  auto object = need(ltx::VerifiedObject::verify(bytes, "recorded object"));
  std::uint64_t last = 0;
  while (const auto page = need(object.next_page())) {
    last = std::max(last, last_commit_in(page->bytes).value_or(0));
  }
  return last;
}

// Milliseconds from each commit of `outcome` to the acknowledgement of the object that first held it.
std::vector<double> delays(const Application& application, const Outcome& outcome,
                           const std::vector<Acknowledged>& objects) {
  std::vector<double> found;
  std::uint64_t next = outcome.last - outcome.commits + 1;
  for (const Acknowledged& object : objects) {
    const std::uint64_t last = last_commit_in_object(object.bytes);
    for (; next <= std::min(last, outcome.last); ++next) {
      found.push_back(static_cast<double>(object.at - application.committed_at(next)) / 1e6);
    }
  }
  if (next != outcome.last + 1) fail(fmt::format("commit {} was never acknowledged", next));
  return found;
}

void measure_idle(Scene& scene, const std::filesystem::path& database, RecordingBucket& bucket,
                  const Report& report) {
  constexpr int rounds = 200;
  BarePublisher bare(scene.url());
  std::vector<double> publishes;
  std::vector<double> commits;
  std::vector<double> bytes;
  for (int round = 0; round < rounds; ++round) {
    std::this_thread::sleep_for(15ms);
    bucket.take();
    const Outcome outcome = scene.application().run(database, {.commits = 1});
    wait_until("the commit is acknowledged", [&] { return bucket.size() > 0; }, 200us);
    const auto objects = bucket.take();
    commits.push_back(delays(scene.application(), outcome, objects).front());
    bytes.push_back(static_cast<double>(objects.front().bytes.size()));
    std::this_thread::sleep_for(15ms);
    const base::Bytes data(objects.front().bytes.size(), std::byte{7});
    const std::int64_t begin = now_nanoseconds();
    bare.publish(data);
    publishes.push_back(static_cast<double>(now_nanoseconds() - begin) / 1e6);
  }
  report.heading(fmt::format("idle database, {} commits, objects of {:.0f} bytes", rounds, median(bytes)));
  report.latencies("one synchronous publish of as many bytes, nats.c", publishes);
  report.latencies("commit to acknowledged, idle", commits);
  report.figure("commit to acknowledged, idle, by publish round trips", median(commits) / median(publishes),
                "x", Aim{3});
}

void measure_load(Scene& scene, const std::filesystem::path& database, RecordingBucket& bucket, double rate,
                  const Report& report) {
  const double seconds = setting("LITECLUSTER_BENCH_SECONDS", 5);
  bucket.take();
  const Outcome outcome = scene.application().run(database, {.seconds = seconds, .rate = rate});
  wait_quiet(bucket);
  const auto objects = bucket.take();
  report.heading(fmt::format("{:.0f} commits a second asked, {:.0f} reached, {:.1f} objects a second", rate,
                             static_cast<double>(outcome.commits) / outcome.seconds,
                             static_cast<double>(objects.size()) / outcome.seconds));
  report.latencies(fmt::format("commit to acknowledged, {:.0f}/s", rate),
                   delays(scene.application(), outcome, objects));
}

void run() {
  Scene scene;
  const Report report("acknowledge");
  const auto database = scene.path("app.db");
  scene.application().run(database, {.commits = 1000});
  const auto opened = scene.open_bucket("bench-wal");
  RecordingBucket bucket(*opened.bucket);
  Sqlite sqlite;
  sqlite.path = database;
  const auto session = need(
      replication::LeaderSession::take_over(patience(), replication::leader_session_options(sqlite, "bench"),
                                            replication::database_options(sqlite), bucket));
  wait_quiet(bucket);
  fmt::print("commit to acknowledged by JetStream (nats-server {})\n", scene.server_version());
  measure_idle(scene, database, bucket, report);
  for (const double rate : {100.0, 1000.0}) measure_load(scene, database, bucket, rate, report);
}

}  // namespace
}  // namespace litecluster::bench

int main() {
  litecluster::bench::run();
}
