// How long a rebalance takes, from the event until every partition is owned again and the load is even: real
// server, nodes in this process, each with a connection of its own, empty hooks, heartbeat 1 s (lease 3 s).
// The node that "crashes" is simply destroyed without a goodbye.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/logging.hpp"
#include "base/random.hpp"
#include "nats/private_server.hpp"
#include "ring/service.hpp"
#include "support/report.hpp"

namespace lc = litecluster;
using namespace std::chrono_literals;

namespace {

constexpr auto heartbeat = 1s;

template <typename Value>
Value must(lc::Result<Value> result) {
  if (result) return std::move(*result);
  std::fputs((result.error().message() + "\n").c_str(), stderr);
  std::exit(1);
}

lc::Context soon() {
  return lc::Context::background().with_timeout(60s);
}

struct Node {
  std::unique_ptr<lc::membership::Service> members;
  std::unique_ptr<lc::ring::Service> ring;
};

Node start(const std::string& url, int number, std::uint32_t partitions) {
  lc::NatsOptions nats;
  nats.urls = {url};
  const auto connection = must(lc::nats::Connection::connect(soon(), nats));
  const auto bucket = must(lc::nats::KeyValue::open_or_create(
      soon(), lc::nats::JetStream(connection),
      lc::membership::coordination_bucket(fmt::format("bench-{}", partitions))));
  const std::string name = fmt::format("n{}", number);
  Node node;
  node.members = must(lc::membership::Service::create(
      bucket, {.node = name, .mode = lc::Mode::ring, .heartbeat = heartbeat, .partitions = partitions}));
  node.ring = must(lc::ring::Service::create(*node.members, bucket, connection,
                                             {.cluster = "bench",
                                              .node = name,
                                              .partitions = partitions,
                                              .heartbeat = heartbeat,
                                              .executor = [](lc::membership::HookCall call) {
                                                lc::Context context = call.parent;
                                                const lc::Status status =
                                                    call.body ? call.body(context) : lc::Status();
                                                if (call.done) call.done(status);
                                              }}));
  node.members->start();
  return node;
}

bool settled(const std::vector<Node>& nodes, std::uint32_t partitions) {
  std::size_t all = 0;
  for (const Node& node : nodes) {
    const lc::Ring ring = node.ring->ring();
    std::size_t count = 0;
    for (std::uint32_t partition = 0; partition < partitions; ++partition) {
      if (ring.owns(lc::Partition(partition))) ++count;
    }
    if (count < partitions / nodes.size()) return false;
    all += count;
  }
  return all == partitions;
}

template <typename Event>
double milliseconds(std::vector<Node>& nodes, std::uint32_t partitions, const Event& event) {
  const auto begin = std::chrono::steady_clock::now();
  event();
  while (!settled(nodes, partitions)) std::this_thread::sleep_for(200us);
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

void measure(const std::string& url, std::uint32_t partitions) {
  std::vector<Node> nodes;
  static_cast<void>(milliseconds(nodes, 0, [&] {
    for (int number = 0; number < 3; ++number) nodes.push_back(start(url, number, partitions));
  }));
  while (!settled(nodes, partitions)) std::this_thread::sleep_for(1ms);
  std::vector<double> joins;
  std::vector<double> leaves;
  std::vector<double> crashes;
  for (int round = 0; round < 5; ++round) {
    joins.push_back(
        milliseconds(nodes, partitions, [&] { nodes.push_back(start(url, 10 + round, partitions)); }));
    leaves.push_back(milliseconds(nodes, partitions, [&] {
      Node leaving = std::move(nodes.back());
      nodes.pop_back();
      if (!leaving.ring->release_all(soon()) || !leaving.members->leave(soon())) std::exit(1);
    }));
  }
  for (int round = 0; round < 2; ++round) {
    static_cast<void>(
        milliseconds(nodes, partitions, [&] { nodes.push_back(start(url, 20 + round, partitions)); }));
    crashes.push_back(milliseconds(nodes, partitions, [&] { nodes.pop_back(); }));
  }
  const auto median = [](std::vector<double>& values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
  };
  const lc::bench::Report report("rebalance");
  const auto lease = std::chrono::milliseconds(3 * heartbeat).count();
  const std::string what = fmt::format("{} partitions, 3 to 4 nodes", partitions);
  report.figure(what + ": join", median(joins), "ms");
  report.figure(what + ": leave", median(leaves), "ms");
  report.figure(fmt::format("{}: crash, lease {} ms", what, lease), median(crashes), "ms");
}

}  // namespace

int main() {
  lc::base::configure_logging(lc::base::LogLevel::off, lc::base::LogFormat::text);
  const auto directory = std::filesystem::temp_directory_path() / ("bench-ring-" + lc::base::random_hex(8));
  {
    lc::nats::PrivateServerOptions options;
    options.directory = directory;
    const auto server = must(lc::nats::PrivateServer::start(soon(), std::move(options)));
    for (const std::uint32_t partitions : {256U, 4096U}) measure(server.url(), partitions);
  }
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
  return 0;
}
