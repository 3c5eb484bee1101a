#include "replication/bare_publisher.hpp"

#include "support/report.hpp"

namespace litecluster::bench {
namespace {

constexpr const char* stream = "bare";
constexpr int in_flight_max = 64;

void check(natsStatus status) {
  if (status != NATS_OK) fail(natsStatus_GetText(status));
}

}  // namespace

BarePublisher::BarePublisher(const std::string& url) {
  check(natsConnection_ConnectTo(&connection_, url.c_str()));
  jsOptions options;
  check(jsOptions_Init(&options));
  options.PublishAsync.MaxPending = in_flight_max;
  options.PublishAsync.StallWait = 10'000;
  check(natsConnection_JetStream(&jetstream_, connection_, &options));
  jsStreamConfig config;
  check(jsStreamConfig_Init(&config));
  const char* subjects[] = {stream};
  config.Name = stream;
  config.Subjects = subjects;
  config.SubjectsLen = 1;
  config.Storage = js_FileStorage;
  check(js_AddStream(nullptr, jetstream_, &config, nullptr, nullptr));
}

BarePublisher::~BarePublisher() {
  jsCtx_Destroy(jetstream_);
  natsConnection_Destroy(connection_);
}

void BarePublisher::publish(base::ByteView data) {
  jsPubAck* ack = nullptr;
  check(js_Publish(&ack, jetstream_, stream, data.data(), static_cast<int>(data.size()), nullptr, nullptr));
  jsPubAck_Destroy(ack);
}

void BarePublisher::publish_many(base::ByteView data, int count) {
  for (int index = 0; index < count; ++index) {
    check(js_PublishAsync(jetstream_, stream, data.data(), static_cast<int>(data.size()), nullptr));
  }
  check(js_PublishAsyncComplete(jetstream_, nullptr));
}

}  // namespace litecluster::bench
