// KV and locks without a database: connects to NATS and hands out the rest.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/kv.hpp>
#include <litecluster/lock.hpp>
#include <litecluster/nats_options.hpp>

namespace litecluster {

struct ClientOptions {
  /// Shared by all who work together; letters, digits, `-` and `_`. Buckets are `<cluster>-kv` and
  /// `<cluster>-locks`.
  std::string cluster{};
  /// Name shown in lock records. Empty: host name and process id.
  std::string node{};
  NatsOptions nats{};
  /// Bucket of kv(). Empty: `<cluster>-kv`.
  std::string kv_bucket{};
  /// Revisions kept per key when the bucket has to be created: 1 to 64.
  int kv_history = 1;
  /// Whether a bucket that is missing is created. Otherwise kv() says not_found.
  bool create_kv_bucket = true;
};

/// Thread-safe. Kv and Lock objects stay valid after it is gone; the connection closes with the last of them.
class Client {
 public:
  /// Blocks until connected. Errors: invalid_argument (options), unavailable (no server), permission_denied.
  [[nodiscard]] static Result<Client> connect(ClientOptions options,
                                              const Context& context = Context::background());

  class Impl;
  explicit Client(std::shared_ptr<Impl> impl);

  /// Binds to the bucket, creating it when missing unless the options say otherwise. Blocks for a round trip
  /// or two the first time.
  [[nodiscard]] Result<Kv> kv(const Context& context = Context::background()) const;
  /// Does not block: names are checked and the bucket is opened by the first acquire().
  [[nodiscard]] Lock lock(std::string_view name, const LockOptions& options = {}) const;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace litecluster
