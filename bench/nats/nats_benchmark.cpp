// The object store beside bare nats.c, on a private nats-server, in one run.
//
//   bench_nats [ROUNDS [BLOCKS]]      default 4000 round trips of each kind, 20 blocks of 32 MiB
//
// What is compared takes turns, and whoever comes first changes each time, so that other load on the machine
// meets both alike. The figures are medians of the round trips, and of the blocks for throughput.
#include <fmt/format.h>
#include <nats/nats.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "nats/object_store.hpp"
#include "nats/private_server.hpp"
#include "support/report.hpp"

namespace {

using namespace litecluster;        // NOLINT: a program of one file
using namespace litecluster::nats;  // NOLINT
using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const std::string& what) {
  fmt::print(stderr, "bench_nats: {}\n", what);
  std::_Exit(1);
}
void check(natsStatus status) {
  if (status != NATS_OK) fail(natsStatus_GetText(status));
}
template <typename T>
T need(Result<T> result) {
  if (!result) fail(result.error().message());
  return std::move(*result);
}
void need(const Status& status) {
  if (!status) fail(status.error().message());
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}
double time_of(const std::function<void()>& work) {
  const auto began = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - began).count();
}

struct Bare {
  natsConnection* connection = nullptr;
  jsCtx* jetstream = nullptr;

  explicit Bare(const std::string& url) {
    check(natsConnection_ConnectTo(&connection, url.c_str()));
    jsOptions options;
    check(jsOptions_Init(&options));
    check(natsConnection_JetStream(&jetstream, connection, &options));
  }
  Bare(const Bare&) = delete;
  Bare& operator=(const Bare&) = delete;
  ~Bare() {
    jsCtx_Destroy(jetstream);
    natsConnection_Destroy(connection);
  }
  void publish(const std::string& subject, const base::Bytes& data) {
    jsPubAck* ack = nullptr;
    check(js_Publish(&ack, jetstream, subject.c_str(), data.data(), static_cast<int>(data.size()), nullptr,
                     nullptr));
    jsPubAck_Destroy(ack);
  }
  /// What a small put sends: a message that nobody answers, and one behind it.
  void publish_behind_another(const std::string& subject, const base::Bytes& data) {
    check(natsConnection_Publish(connection, subject.c_str(), data.data(), static_cast<int>(data.size())));
    publish(subject, data);
  }
  /// The same messages as those of a small put, byte for byte as long: new subjects, ids, conditions.
  void publish_object(int number, const base::Bytes& data) {
    const std::string nuid = fmt::format("bare{:018}", number);
    const std::string chunk_subject = "$O.bench.C." + nuid;
    const std::string metadata_subject = fmt::format("$O.bench.M.bare{:08}", number);
    const std::string metadata(310, 'm');
    natsMsg* chunk = nullptr;
    check(natsMsg_Create(&chunk, chunk_subject.c_str(), nullptr, reinterpret_cast<const char*>(data.data()),
                         static_cast<int>(data.size())));
    check(natsMsgHeader_Set(chunk, "Nats-Msg-Id", (nuid + "-0").c_str()));
    check(natsMsgHeader_Set(chunk, "Nats-Expected-Last-Subject-Sequence", "0"));
    check(natsConnection_PublishMsg(connection, chunk));
    natsMsg_Destroy(chunk);
    natsMsg* message = nullptr;
    check(natsMsg_Create(&message, metadata_subject.c_str(), nullptr, metadata.data(),
                         static_cast<int>(metadata.size())));
    check(natsMsgHeader_Set(message, "Nats-Msg-Id", fmt::format("{:032}", number).c_str()));
    check(natsMsgHeader_Set(message, "Nats-Expected-Last-Subject-Sequence", "0"));
    check(natsMsgHeader_Set(message, "Nats-Expected-Last-Msg-Id", (nuid + "-0").c_str()));
    jsPubAck* ack = nullptr;
    check(js_PublishMsg(&ack, jetstream, message, nullptr, nullptr));
    jsPubAck_Destroy(ack);
    natsMsg_Destroy(message);
  }
  void publish_all(const std::string& subject, const base::Bytes& chunk, int count) {
    for (int index = 0; index < count; ++index) {
      check(
          js_PublishAsync(jetstream, subject.c_str(), chunk.data(), static_cast<int>(chunk.size()), nullptr));
      if (index % 64 == 63) check(js_PublishAsyncComplete(jetstream, nullptr));
    }
    check(js_PublishAsyncComplete(jetstream, nullptr));
  }
  void fetch_all(const std::string& stream, const std::string& subject, int count) {
    jsSubOptions options;
    check(jsSubOptions_Init(&options));
    options.Stream = stream.c_str();
    options.Ordered = true;
    natsSubscription* subscription = nullptr;
    check(js_SubscribeSync(&subscription, jetstream, subject.c_str(), nullptr, &options, nullptr));
    check(natsSubscription_SetPendingLimits(subscription, -1, -1));
    for (int index = 0; index < count; ++index) {
      natsMsg* message = nullptr;
      check(natsSubscription_NextMsg(&message, subscription, 10'000));
      natsMsg_Destroy(message);
    }
    natsSubscription_Destroy(subscription);
  }
};

struct Pair {
  std::vector<double> bare;
  std::vector<double> ours;
};

void bench_small(Bare& bare, const JetStream& jetstream, ObjectStore& store, int rounds) {
  const base::Bytes data(1000, std::byte{7});
  Pair publish;
  std::vector<double> two;
  std::vector<double> same;
  std::vector<double> put;
  std::vector<double> get;
  PutOptions create;
  create.create_only = true;
  const Context context = Context::background();
  ObjectInfo info;
  int count = 0;
  int bare_count = 0;
  const std::function<void()> kinds[] = {
      [&] { publish.bare.push_back(time_of([&] { bare.publish("plain.bare", data); })); },
      [&] { publish.ours.push_back(time_of([&] { need(jetstream.publish(context, "plain.ours", data)); })); },
      [&] { two.push_back(time_of([&] { bare.publish_behind_another("plain.bare", data); })); },
      [&] { same.push_back(time_of([&] { bare.publish_object(bare_count++, data); })); },
      [&] {
        const std::string name = fmt::format("small-{}", count++);
        put.push_back(time_of([&] { info = need(store.put(context, name, data, create)); }));
        get.push_back(time_of([&] { need(store.get(context, info, data.size())); }));
      }};
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t index = 0; index < std::size(kinds); ++index) {
      kinds[(index + static_cast<std::size_t>(round)) % std::size(kinds)]();
    }
  }
  const double reference = median(publish.bare);
  const bench::Report report("nats");
  const auto tell = [&](const std::string& name, const std::vector<double>& times,
                        std::optional<bench::Aim> aim) {
    report.figure(name, median(times) * 1e6, "us");
    report.figure(name + ", by one publish", median(times) / reference, "x", aim);
  };
  report.figure("one synchronous publish of 1000 bytes, nats.c", reference * 1e6, "us");
  tell("the same, litecluster", publish.ours, std::nullopt);
  tell("two messages and one answer, nats.c", two, std::nullopt);
  tell("the messages of a create-only put, nats.c", same, std::nullopt);
  tell("create-only put of 1000 bytes", put, bench::Aim{1.3});
  tell("get of 1000 bytes", get, std::nullopt);
}

void bench_large(Bare& bare, const JetStream& jetstream, ObjectStore& store, int blocks) {
  constexpr int chunks = 256;
  const base::Bytes chunk(default_chunk_size, std::byte{7});
  const base::Bytes object(chunks * default_chunk_size, std::byte{7});
  const double megabytes = static_cast<double>(object.size()) / (1U << 20U);
  const Context context = Context::background();
  Pair put;
  Pair get;
  const auto in_turn = [](bool swapped, const std::function<void()>& first,
                          const std::function<void()>& second) {
    (swapped ? second : first)();
    (swapped ? first : second)();
  };
  for (int block = 0; block < blocks; ++block) {
    const std::string subject = fmt::format("plain.large-{}", block);
    const std::string name = fmt::format("large-{}", block);
    ObjectInfo info;
    in_turn(
        block % 2 != 0,
        [&] { put.bare.push_back(megabytes / time_of([&] { bare.publish_all(subject, chunk, chunks); })); },
        [&] {
          put.ours.push_back(megabytes / time_of([&] { info = need(store.put(context, name, object)); }));
        });
    in_turn(
        block % 2 != 0,
        [&] { get.bare.push_back(megabytes / time_of([&] { bare.fetch_all("plain", subject, chunks); })); },
        [&] {
          get.ours.push_back(megabytes / time_of([&] {
                               need(store.get(context, info, [](base::ByteView) -> Status { return {}; }));
                             }));
        });
    need(store.remove(context, info));
    need(jetstream.purge(context, "plain", {.filter = subject}));
  }
  const bench::Report report("nats");
  report.figure("publishes of 128 KiB, nats.c", median(put.bare), "MiB/s");
  report.figure("put of 32 MiB", median(put.ours), "MiB/s");
  report.figure("put of 32 MiB, by publishes of 128 KiB", median(put.ours) / median(put.bare), "x",
                bench::Aim{0.9, true});
  report.figure("fetches of 128 KiB, nats.c, ordered consumer", median(get.bare), "MiB/s");
  report.figure("get of 32 MiB, digest checked", median(get.ours), "MiB/s");
  report.figure("get of 32 MiB, by fetches of 128 KiB", median(get.ours) / median(get.bare), "x",
                bench::Aim{0.9, true});
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 4000;
  const int blocks = argc > 2 ? std::max(1, std::atoi(argv[2])) : 20;
  const auto directory = std::filesystem::temp_directory_path() / fmt::format("bench-nats-{}", ::getpid());
  {
    PrivateServerOptions server_options;
    server_options.directory = directory;
    const auto server = need(PrivateServer::start(Context::background(), server_options));
    NatsOptions options;
    options.urls = {server.url()};
    const JetStream jetstream(need(Connection::connect(Context::background(), options)));
    StreamConfig plain;
    plain.name = "plain";
    plain.subjects = {"plain.>"};
    need(jetstream.create_stream(Context::background(), plain));
    const auto store = need(create_object_store(Context::background(), jetstream, "bench"));
    fmt::print("nats-server {}\n", server.version());
    Bare bare(server.url());
    bench_small(bare, jetstream, *store, rounds);
    bench_large(bare, jetstream, *store, blocks);
  }
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
  return 0;
}
