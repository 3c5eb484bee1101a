// What is used while nothing happens: processor time, memory, messages, and requests that list a bucket, of
// `litecluster replicate`, `litecluster follow` and of two nodes of `litecluster run`, one after the other.
//
//   bench_idle               LITECLUSTER_BENCH_SECONDS: of each, default 60
#include <httplib.h>

#include <algorithm>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "support/scene.hpp"

namespace litecluster::bench {
namespace {

constexpr Aim cpu_aim{0.2};
constexpr Aim memory_aim{20};

std::uint16_t monitor_port() {
  static const std::uint16_t port = need(nats::find_free_port());
  return port;
}

nlohmann::json ask(const std::string& path) {
  httplib::Client client("127.0.0.1", monitor_port());
  const auto answer = client.Get(path);
  if (!answer || answer->status != 200) fail("the server's monitoring does not answer");
  return nlohmann::json::parse(answer->body);
}

struct Traffic {
  std::int64_t to_server = 0;
  std::int64_t from_server = 0;
  std::int64_t api_requests = 0;
  std::int64_t stored = 0;
};

Traffic traffic() {
  const auto server = ask("/varz");
  const auto jetstream = ask("/jsz");
  return {server["in_msgs"], server["out_msgs"], jetstream["api"].value("total", std::int64_t{0}),
          jetstream["messages"]};
}

// Pages that the processes of a node share, of files and from the fork, are counted once: those of the
// largest process, and of the others what is theirs alone.
Usage sum(const std::vector<pid_t>& processes) {
  Usage all;
  double shared = 0;
  for (const pid_t process : processes) {
    const Usage one = usage_of(process);
    all.cpu_seconds += one.cpu_seconds;
    all.sleeps += one.sleeps;
    all.private_mebibytes += one.private_mebibytes;
    all.anonymous_mebibytes += one.anonymous_mebibytes;
    shared = std::max(shared, one.resident_mebibytes - one.private_mebibytes);
  }
  all.resident_mebibytes = all.private_mebibytes + shared;
  return all;
}

void measure(const std::string& what, const std::vector<pid_t>& processes, bool judged,
             const Report& report) {
  std::this_thread::sleep_for(std::chrono::seconds(5));
  const double seconds = setting("LITECLUSTER_BENCH_SECONDS", 60);
  const Traffic before = traffic();
  const Usage used_before = sum(processes);
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  const Usage used = sum(processes);
  const Traffic after = traffic();
  report.heading(fmt::format("{}, {} process(es), {:.0f} s", what, processes.size(), seconds));
  report.figure(what + ": processor", (used.cpu_seconds - used_before.cpu_seconds) / seconds * 100, "%",
                judged ? std::optional(cpu_aim) : std::nullopt);
  report.figure(what + ": wake-ups", static_cast<double>(used.sleeps - used_before.sleeps) / seconds, "/s");
  report.figure(what + ": resident, files included", used.resident_mebibytes, "MiB",
                judged ? std::optional(memory_aim) : std::nullopt);
  report.figure(what + ": resident, of its own", used.anonymous_mebibytes, "MiB");
  const double minute = 60 / seconds;
  report.figure(what + ": messages sent", static_cast<double>(after.to_server - before.to_server) * minute,
                "/min");
  report.figure(what + ": messages received",
                static_cast<double>(after.from_server - before.from_server) * minute, "/min");
  report.figure(what + ": messages stored", static_cast<double>(after.stored - before.stored) * minute,
                "/min");
  report.figure(what + ": requests to list or look up",
                static_cast<double>(after.api_requests - before.api_requests) * minute, "/min");
}

std::vector<pid_t> without_backend(const Child& node) {
  std::vector<pid_t> family = node.family();
  std::erase_if(family, [](pid_t process) {
    return std::filesystem::read_symlink(fmt::format("/proc/{}/exe", process)).filename() != "litecluster";
  });
  return family;
}

Child start_node(const Scene& scene, const std::string& name) {
  std::filesystem::create_directories(scene.path(name));
  return Child({litecluster_program().string(), "run", "--cluster", "idle", "--node", name, "--nats",
                scene.url(), "--db", (scene.path(name) / "app.db").string(), "--data-directory",
                scene.path(name).string(), "--", "sleep", "100000"},
               scene.path(name + ".log"));
}

void run() {
  Scene scene(fmt::format("http: \"127.0.0.1:{}\"", monitor_port()));
  const Report report("idle");
  fmt::print("idle (nats-server {})\n", scene.server_version());
  const auto database = scene.path("app.db");
  scene.application().run(database, {.commits = 1000});
  {
    const Child replicator = scene.litecluster("replicate", database, "bench-wal");
    wait_until("it has published", [] { return traffic().stored >= 2; }, std::chrono::milliseconds(100));
    scene.application().run(database, {.commits = 500, .rate = 500});
    measure("litecluster replicate", {replicator.process_id()}, true, report);
  }
  {
    const Child follower = scene.litecluster("follow", scene.path("copy.db"), "bench-wal");
    measure("litecluster follow", {follower.process_id()}, true, report);
  }
  {
    const Child leader = start_node(scene, "n1");
    std::this_thread::sleep_for(std::chrono::seconds(3));
    const Child standby = start_node(scene, "n2");
    std::this_thread::sleep_for(std::chrono::seconds(3));
    measure("litecluster run, leader (messages of both nodes)", without_backend(leader), true, report);
    measure("litecluster run, standby (messages of both nodes)", without_backend(standby), true, report);
  }
  const auto bucket = scene.open_bucket("theirs");
  const auto litestream = scene.litestream({"replicate", database.string(), scene.litestream_url("theirs")});
  if (!litestream)
    return report.missing("litestream replicate", "it is not installed (scripts/optional-partners)");
  measure("litestream replicate", {litestream->process_id()}, false, report);
}

}  // namespace
}  // namespace litecluster::bench

int main() {
  litecluster::bench::run();
}
