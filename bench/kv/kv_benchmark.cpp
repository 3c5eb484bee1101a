// Round trips of the key-value bucket beside the same calls made with bare nats.c, in one run on one server:
// blocks of both alternate, so that both see the same machine. Prints one line per call and size, with the
// ratio of the medians. Aim: at most 1.1.
//
//   bench_kv [ROUNDS]       default 200 blocks of 50 calls
#include <nats/nats.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/random.hpp"
#include "kv/kv_impl.hpp"
#include "nats/private_server.hpp"
#include "support/report.hpp"

namespace {

using namespace std::chrono_literals;
using litecluster::Context;
using Clock = std::chrono::steady_clock;

[[noreturn]] void give_up(const std::string& why) {
  fmt::print(stderr, "bench_kv: {}\n", why);
  std::exit(1);
}

void check(natsStatus status) {
  if (status != NATS_OK) give_up(natsStatus_GetText(status));
}

template <typename Value>
Value require(litecluster::Result<Value> result) {
  if (!result) give_up(result.error().message());
  return std::move(*result);
}

/// The same bucket through the C client alone.
class BareBucket {
 public:
  BareBucket(const std::string& url, const char* bucket) {
    check(natsConnection_ConnectTo(&connection_, url.c_str()));
    check(natsConnection_JetStream(&jetstream_, connection_, nullptr));
    check(js_KeyValue(&bucket_, jetstream_, bucket));
  }
  BareBucket(const BareBucket&) = delete;
  BareBucket& operator=(const BareBucket&) = delete;
  ~BareBucket() {
    kvStore_Destroy(bucket_);
    jsCtx_Destroy(jetstream_);
    natsConnection_Destroy(connection_);
  }

  void put(const std::string& key, const std::string& value) {
    check(kvStore_Put(nullptr, bucket_, key.c_str(), value.data(), static_cast<int>(value.size())));
  }
  void get(const std::string& key) {
    kvEntry* entry = nullptr;
    check(kvStore_Get(&entry, bucket_, key.c_str()));
    kvEntry_Destroy(entry);
  }

 private:
  natsConnection* connection_ = nullptr;
  jsCtx* jetstream_ = nullptr;
  kvStore* bucket_ = nullptr;
};

using Call = std::function<void(const std::string& key)>;

double median_us(std::vector<Clock::duration>& times) {
  std::ranges::sort(times);
  return std::chrono::duration<double, std::micro>(times[times.size() / 2]).count();
}

void compare(const std::string& name, int blocks, const Call& bare, const Call& ours) {
  std::vector<Clock::duration> bare_times;
  std::vector<Clock::duration> our_times;
  const auto measure = [](const Call& call, std::vector<Clock::duration>& times) {
    for (int index = 0; index < 50; ++index) {
      const std::string key = fmt::format("key.{}", index);
      const auto begin = Clock::now();
      call(key);
      times.push_back(Clock::now() - begin);
    }
  };
  std::vector<Clock::duration> warm_up;
  measure(bare, warm_up);
  measure(ours, warm_up);
  for (int block = 0; block < blocks; ++block) {
    // Whoever comes first changes each time.
    if (block % 2 == 0) measure(bare, bare_times);
    measure(ours, our_times);
    if (block % 2 != 0) measure(bare, bare_times);
  }
  const double bare_us = median_us(bare_times);
  const double our_us = median_us(our_times);
  const litecluster::bench::Report report("kv");
  report.figure(name + ", nats.c", bare_us, "us");
  report.figure(name + ", litecluster", our_us, "us");
  report.figure(name + ", litecluster by nats.c", our_us / bare_us, "x", litecluster::bench::Aim{1.1});
}

}  // namespace

int main(int argc, char** argv) {
  const int blocks = argc > 1 ? std::max(2, std::atoi(argv[1])) : 200;
  const auto directory =
      std::filesystem::temp_directory_path() / ("bench-kv-" + litecluster::base::random_hex(8));
  litecluster::nats::PrivateServerOptions server_options;
  server_options.directory = directory;
  {
    const auto server =
        require(litecluster::nats::PrivateServer::start(Context::background(), server_options));
    litecluster::NatsOptions options;
    options.urls = {server.url()};
    const auto connection = require(litecluster::nats::Connection::connect(Context::background(), options));
    const auto kv = litecluster::kv::make_kv(require(litecluster::nats::KeyValue::open_or_create(
        Context::background(), litecluster::nats::JetStream(connection), {.bucket = "bench"})));
    BareBucket bare(server.url(), "bench");
    for (const std::size_t size : {std::size_t{100}, std::size_t{10'000}}) {
      const std::string value(size, 'x');
      compare(
          fmt::format("KV put of {} bytes", size), blocks,
          [&](const std::string& key) { bare.put(key, value); },
          [&](const std::string& key) { (void)require(kv.put(key, value)); });
      compare(
          fmt::format("KV get of {} bytes", size), blocks, [&](const std::string& key) { bare.get(key); },
          [&](const std::string& key) { (void)require(kv.get(key)); });
    }
  }
  std::filesystem::remove_all(directory);
}
