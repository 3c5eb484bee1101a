// Owners of the client library's objects. Only .cpp files of this layer include this header.
#pragma once

#include <memory>

#include <nats/nats.h>

namespace litecluster::nats::native {

struct OptionsDeleter {
  void operator()(natsOptions* options) const { natsOptions_Destroy(options); }
};
using Options = std::unique_ptr<natsOptions, OptionsDeleter>;

struct MessageDeleter {
  void operator()(natsMsg* message) const { natsMsg_Destroy(message); }
};
using OwnedMessage = std::unique_ptr<natsMsg, MessageDeleter>;

/// Closing joins the library's threads of the connection: never let go of the last reference inside of one of
/// its callbacks.
struct ConnectionDeleter {
  void operator()(natsConnection* connection) const {
    natsConnection_Close(connection);
    natsConnection_Destroy(connection);
  }
};
using SharedConnection = std::shared_ptr<natsConnection>;

/// Unsubscribes and frees; connection_core.hpp tells when that may be done. What callbacks refer to is owned
/// by a closure that the library hands back when the last of them has returned.
struct SubscriptionDeleter {
  void operator()(natsSubscription* subscription) const { natsSubscription_Destroy(subscription); }
};
using OwnedSubscription = std::unique_ptr<natsSubscription, SubscriptionDeleter>;

}  // namespace litecluster::nats::native
