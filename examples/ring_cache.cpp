// A cache that is spread over the nodes of a ring.
//
//   ring_cache node NAME [--nats URL] [--cluster NAME] [--heartbeat MS]   one node, until SIGTERM
//   ring_cache client    [--nats URL] [--cluster NAME]                     reads "put KEY VALUE" and "get
//   KEY"
//
// The values live in the key-value bucket; each node keeps those of the partitions that it owns in memory. As
// a partition never has two owners, what is in memory is never older than what is in the bucket. on_release
// forgets, since somebody else writes from then on; nothing has to be done in on_own, memory fills by itself.
#include <signal.h>

#include <charconv>
#include <iostream>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <litecluster/litecluster.hpp>

namespace lc = litecluster;

namespace {

constexpr std::uint32_t partitions = 64;

struct Arguments {
  std::string node;
  std::string nats = "nats://127.0.0.1:4222";
  std::string cluster = "ring-cache";
  std::chrono::milliseconds heartbeat{1000};
};

class Cache {
 public:
  Cache(lc::Ring ring, lc::Kv kv) : ring_(std::move(ring)), kv_(std::move(kv)), shards_(partitions) {}

  // Runs in several threads at a time; never after on_release has been called for the key's partition.
  lc::Result<std::string> handle(const lc::Context& context, std::string_view key, std::string_view request) {
    Shard& shard = shards_[ring_.partition(key).value()];
    // Held while the bucket is read or written: of two requests for one key the later one has the last word.
    const std::scoped_lock lock(shard.mutex);
    if (request.starts_with("put ")) {
      const std::string_view value = request.substr(4);
      shard.values.erase(std::string(key));  // not known to be in the bucket until it says so
      if (const auto stored = kv_.put(key, value, context); !stored) return std::unexpected(stored.error());
      shard.values[std::string(key)] = value;
      return "ok";
    }
    if (const auto found = shard.values.find(key); found != shard.values.end()) return found->second;
    auto entry = kv_.get(key, {.from_leader = true}, context);
    if (!entry) return std::unexpected(entry.error());
    return shard.values[std::string(key)] = std::move(entry->value);
  }

  void forget(std::span<const lc::Partition> released) {
    for (const lc::Partition partition : released) {
      Shard& shard = shards_[partition.value()];
      const std::scoped_lock lock(shard.mutex);
      shard.values.clear();
    }
  }

 private:
  struct Shard {
    std::mutex mutex;
    std::map<std::string, std::string, std::less<>> values;
  };
  lc::Ring ring_;
  lc::Kv kv_;
  std::vector<Shard> shards_;
};

lc::Context until_signal() {
  static const lc::Context context = lc::Context::background().with_cancel();
  // A signal handler may not do much: a thread waits for the signal instead.
  static sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([] {
    int number = 0;
    ::sigwait(&signals, &number);
    context.cancel();
  }).detach();
  return context;
}

lc::Status run_node(const Arguments& arguments) {
  const lc::Context context = until_signal();
  auto app = lc::App::create({.cluster = arguments.cluster,
                              .node = arguments.node,
                              .nats = {.urls = {arguments.nats}},
                              .mode = lc::Mode::ring,
                              .ring = {.partitions = partitions},
                              .heartbeat = arguments.heartbeat});
  if (!app) return std::unexpected(app.error());
  Cache cache(app->ring(), app->kv());
  app->ring().serve([&](const lc::Context& request_context, std::string_view key, std::string_view request) {
    return cache.handle(request_context, key, request);
  });
  app->on_own([](lc::Context&, std::span<const lc::Partition> owned) -> lc::Status {
    std::cout << "own " << owned.size() << std::endl;
    return {};
  });
  app->on_release([&](lc::Context&, std::span<const lc::Partition> released) -> lc::Status {
    cache.forget(released);
    std::cout << "release " << released.size() << std::endl;
    return {};
  });
  return app->run(context);
}

// One line in, one line out: "ok", "value …", "none" or "error …".
lc::Status run_client(const Arguments& arguments) {
  const auto client =
      lc::RingClient::connect({.cluster = arguments.cluster, .nats = {.urls = {arguments.nats}}},
                              lc::Context::background().with_timeout(std::chrono::seconds(60)));
  if (!client) return std::unexpected(client.error());
  const lc::Ring ring = client->ring();
  std::string line;
  while (std::getline(std::cin, line)) {
    const std::size_t verb_end = line.find(' ');
    const std::size_t key_end = line.find(' ', verb_end + 1);
    const std::string verb = line.substr(0, verb_end);
    if (verb_end == std::string::npos || (verb == "put" && key_end == std::string::npos)) {
      std::cout << "error usage: put KEY VALUE | get KEY" << std::endl;
      continue;
    }
    const std::string key = line.substr(verb_end + 1, key_end - verb_end - 1);
    const std::string request = verb == "put" ? "put " + line.substr(key_end + 1) : "get";
    // To put the same value twice does no harm.
    const auto answer = ring.request(lc::Context::background().with_timeout(std::chrono::seconds(30)), key,
                                     request, {.idempotent = true});
    if (!answer && answer.error().code() == lc::ErrorCode::not_found) {
      std::cout << "none" << std::endl;
    } else if (!answer) {
      std::cout << "error " << answer.error().message() << std::endl;
    } else {
      std::cout << (verb == "put" ? *answer : "value " + *answer) << std::endl;
    }
  }
  return {};
}

std::optional<Arguments> parse(int count, char** words) {
  Arguments arguments;
  const bool node = count > 1 && std::string_view(words[1]) == "node";
  if (count < 2 || (!node && std::string_view(words[1]) != "client")) return std::nullopt;
  int index = 2;
  if (node) {
    if (count < 3) return std::nullopt;
    arguments.node = words[index++];
  }
  for (; index + 1 < count; index += 2) {
    const std::string_view flag = words[index];
    const std::string_view value = words[index + 1];
    if (flag == "--nats") {
      arguments.nats = value;
    } else if (flag == "--cluster") {
      arguments.cluster = value;
    } else if (flag == "--heartbeat") {
      int number = 0;
      if (std::from_chars(value.data(), value.data() + value.size(), number).ec != std::errc())
        return std::nullopt;
      arguments.heartbeat = std::chrono::milliseconds(number);
    } else {
      return std::nullopt;
    }
  }
  return index == count ? std::optional(arguments) : std::nullopt;
}

}  // namespace

int main(int count, char** words) {
  const auto arguments = parse(count, words);
  if (!arguments) {
    std::cerr << "usage: ring_cache node NAME [--nats URL] [--cluster NAME] [--heartbeat MS]\n"
                 "       ring_cache client [--nats URL] [--cluster NAME]\n";
    return 2;
  }
  const lc::Status done = arguments->node.empty() ? run_client(*arguments) : run_node(*arguments);
  if (done) return 0;
  std::cerr << "ring_cache: " << done.error().message() << "\n";
  return 1;
}
