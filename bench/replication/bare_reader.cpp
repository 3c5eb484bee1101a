#include "replication/bare_reader.hpp"

#include <fcntl.h>
#include <nats/nats.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <string_view>

#include "support/report.hpp"

namespace litecluster::bench {
namespace {

void check(natsStatus status) {
  if (status != NATS_OK) fail(natsStatus_GetText(status));
}

}  // namespace

void read_bare(const std::string& url, const std::string& bucket, std::span<const log::Object> objects,
               const std::filesystem::path& output) {
  std::set<std::string, std::less<>> wanted;
  std::uint64_t bytes_left = 0;
  std::uint64_t first = UINT64_MAX;
  for (const log::Object& object : objects) {
    wanted.insert(object.nuid);
    bytes_left += object.size;
    first = std::min(first, object.sequence.value() - object.chunks);
  }
  natsConnection* connection = nullptr;
  jsCtx* jetstream = nullptr;
  check(natsConnection_ConnectTo(&connection, url.c_str()));
  check(natsConnection_JetStream(&jetstream, connection, nullptr));
  const std::string stream = "OBJ_" + bucket;
  const std::string subject = "$O." + bucket + ".C.>";
  jsSubOptions options;
  check(jsSubOptions_Init(&options));
  options.Stream = stream.c_str();
  options.Ordered = true;
  options.Config.DeliverPolicy = js_DeliverByStartSequence;
  options.Config.OptStartSeq = first;
  natsSubscription* subscription = nullptr;
  check(js_SubscribeSync(&subscription, jetstream, subject.c_str(), nullptr, &options, nullptr));
  check(natsSubscription_SetPendingLimits(subscription, -1, -1));
  const int file = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) fail("cannot write " + output.string());
  while (bytes_left > 0) {
    natsMsg* message = nullptr;
    check(natsSubscription_NextMsg(&message, subscription, 20'000));
    const std::string_view name = natsMsg_GetSubject(message);
    if (wanted.contains(name.substr(name.rfind('.') + 1))) {
      const auto size = static_cast<std::size_t>(natsMsg_GetDataLength(message));
      if (::write(file, natsMsg_GetData(message), size) != static_cast<ssize_t>(size)) fail("cannot write");
      bytes_left -= size;
    }
    natsMsg_Destroy(message);
  }
  if (::fsync(file) != 0) fail("cannot fsync");
  ::close(file);
  natsSubscription_Destroy(subscription);
  jsCtx_Destroy(jetstream);
  natsConnection_Destroy(connection);
}

}  // namespace litecluster::bench
