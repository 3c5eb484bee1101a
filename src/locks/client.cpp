#include <litecluster/client.hpp>

#include <unistd.h>

#include <array>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/mutex.hpp"
#include "kv/kv_impl.hpp"
#include "locks/lock_impl.hpp"
#include "nats/kv_pattern.hpp"

namespace litecluster {
namespace {

std::string default_node() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return fmt::format("{}-{}", host[0] == '\0' ? "unknown" : host.data(), ::getpid());
}

}  // namespace

class Client::Impl {
 public:
  Impl(ClientOptions options, std::shared_ptr<nats::Connection> connection)
      : options_(std::move(options)), jetstream_(std::move(connection)) {}

  Result<Kv> kv(const Context& context) {
    const base::MutexLock lock(mutex_);
    if (!kv_) {
      const std::string bucket = options_.kv_bucket.empty() ? options_.cluster + "-kv" : options_.kv_bucket;
      auto opened = nats::KeyValue::open_or_create(
          context, jetstream_,
          {.bucket = bucket, .description = "litecluster key-value", .history = options_.kv_history});
      if (!opened) return std::unexpected(std::move(opened.error()));
      kv_ = kv::make_kv(std::move(*opened));
    }
    return *kv_;
  }

  Lock lock(std::string_view name, const LockOptions& lock_options) {
    const base::MutexLock lock(mutex_);
    if (!keeper_) {
      // A connection of their own: large values of the KV must not hold up renewals.
      auto connection = nats::Connection::connect_eventually(options_.nats);
      if (!connection) return locks::make_broken_lock(std::move(connection.error()));
      keeper_ = std::make_shared<locks::LockKeeper>(nats::JetStream(std::move(*connection)),
                                                    options_.cluster + "-locks", options_.node);
    }
    return locks::make_lock(keeper_, name, lock_options);
  }

 private:
  const ClientOptions options_;
  const nats::JetStream jetstream_;
  base::Mutex mutex_;
  std::optional<Kv> kv_ LITECLUSTER_GUARDED_BY(mutex_);
  std::shared_ptr<locks::LockKeeper> keeper_ LITECLUSTER_GUARDED_BY(mutex_);
};

Client::Client(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<Client> Client::connect(ClientOptions options, const Context& context) {
  if (!nats::valid_bucket_name(options.cluster) &&
      !(options.cluster.empty() && nats::valid_bucket_name(options.kv_bucket))) {
    return failure(ErrorCode::invalid_argument, "connect", options.cluster,
                   "a cluster's name has letters, digits, - and _ only, and has to be given");
  }
  if (options.node.empty()) options.node = default_node();
  auto connection = nats::Connection::connect(context, options.nats);
  if (!connection) return std::unexpected(std::move(connection.error()));
  return Client(std::make_shared<Impl>(std::move(options), std::move(*connection)));
}

Result<Kv> Client::kv(const Context& context) const {
  return impl_->kv(context);
}

Lock Client::lock(std::string_view name, const LockOptions& options) const {
  return impl_->lock(name, options);
}

}  // namespace litecluster
