// KV and locks of one cluster over their own connections: what lies behind Client and behind App::kv and
// App::lock.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include <litecluster/client.hpp>

#include "base/mutex.hpp"
#include "locks/lock_keeper.hpp"
#include "nats/connection.hpp"
#include "nats/jetstream.hpp"

namespace litecluster {

/// Thread-safe.
class Client::Impl {
 public:
  Impl(ClientOptions options, std::shared_ptr<nats::Connection> connection);

  /// invalid_argument unless the names can be those of buckets.
  [[nodiscard]] static Status check(const ClientOptions& options);
  /// Succeeds without a server when the options are fine; what is done later waits for it.
  [[nodiscard]] static Result<std::shared_ptr<Impl>> connect_eventually(ClientOptions options);

  /// Binds to the bucket, creating it when missing unless the options say otherwise.
  [[nodiscard]] Result<Kv> kv(const Context& context);
  /// Does not block: the bucket is opened by the first call that needs it, which waits for the connection for
  /// as long as for an answer.
  [[nodiscard]] Kv kv_on_first_use();
  [[nodiscard]] Lock lock(std::string_view name, const LockOptions& lock_options);

 private:
  const ClientOptions options_;
  const nats::JetStream jetstream_;
  base::Mutex mutex_;
  std::optional<Kv> kv_ LITECLUSTER_GUARDED_BY(mutex_);
  std::shared_ptr<locks::LockKeeper> keeper_ LITECLUSTER_GUARDED_BY(mutex_);
};

}  // namespace litecluster
