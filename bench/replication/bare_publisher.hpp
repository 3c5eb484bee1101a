// JetStream by nats.c alone, as the limit that replication is compared with.
#pragma once

#include <nats/nats.h>

#include <string>

#include "base/bytes.hpp"

namespace litecluster::bench {

/// A stream "bare" with file storage, and a connection that publishes to it.
class BarePublisher {
 public:
  explicit BarePublisher(const std::string& url);
  BarePublisher(const BarePublisher&) = delete;
  BarePublisher& operator=(const BarePublisher&) = delete;
  ~BarePublisher();

  /// One message, and its acknowledgement.
  void publish(base::ByteView data);
  /// Many, with at most 64 not yet acknowledged; ends when all are.
  void publish_many(base::ByteView data, int count);

 private:
  natsConnection* connection_ = nullptr;
  jsCtx* jetstream_ = nullptr;
};

}  // namespace litecluster::bench
