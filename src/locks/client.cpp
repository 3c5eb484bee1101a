#include <litecluster/client.hpp>

#include <unistd.h>

#include <array>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "kv/kv_impl.hpp"
#include "locks/client_impl.hpp"
#include "locks/lock_impl.hpp"
#include "nats/kv_pattern.hpp"

namespace litecluster {
namespace {

std::string default_node() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return fmt::format("{}-{}", host[0] == '\0' ? "unknown" : host.data(), ::getpid());
}

std::string bucket_name(const ClientOptions& options) {
  return options.kv_bucket.empty() ? options.cluster + "-kv" : options.kv_bucket;
}

Result<nats::KeyValue> open_bucket(const Context& context, const nats::JetStream& jetstream,
                                   const ClientOptions& options) {
  const std::string bucket = bucket_name(options);
  if (options.create_kv_bucket) {
    return nats::KeyValue::open_or_create(
        context, jetstream,
        {.bucket = bucket, .description = "litecluster key-value", .history = options.kv_history});
  }
  auto opened = nats::KeyValue::open(context, jetstream, bucket);
  if (opened || opened.error().code() != ErrorCode::not_found) return opened;
  return failure(ErrorCode::not_found, "open bucket", bucket,
                 "there is no such bucket on these servers; is the name right? The first put makes it");
}

}  // namespace

Client::Impl::Impl(ClientOptions options, std::shared_ptr<nats::Connection> connection)
    : options_(std::move(options)), jetstream_(std::move(connection)) {}

Status Client::Impl::check(const ClientOptions& options) {
  if (nats::valid_bucket_name(options.cluster)) return {};
  if (options.cluster.empty() && nats::valid_bucket_name(options.kv_bucket)) return {};
  return failure(ErrorCode::invalid_argument, "connect", options.cluster,
                 "a cluster's name has letters, digits, - and _ only, and has to be given");
}

Result<std::shared_ptr<Client::Impl>> Client::Impl::connect_eventually(ClientOptions options) {
  if (auto checked = check(options); !checked) return std::unexpected(std::move(checked.error()));
  if (options.node.empty()) options.node = default_node();
  auto connection = nats::Connection::connect_eventually(options.nats);
  if (!connection) return std::unexpected(std::move(connection.error()));
  return std::make_shared<Impl>(std::move(options), std::move(*connection));
}

Result<Kv> Client::Impl::kv(const Context& context) {
  {
    const base::MutexLock lock(mutex_);
    if (kv_) return *kv_;
  }
  // Not under the mutex, for which lock() waits. Two threads may both do it; one of the results is kept.
  auto opened = open_bucket(context, jetstream_, options_);
  if (!opened) return std::unexpected(std::move(opened.error()));
  const base::MutexLock lock(mutex_);
  if (!kv_) kv_ = kv::make_kv(std::move(*opened));
  return *kv_;
}

Kv Client::Impl::kv_on_first_use() {
  const base::MutexLock lock(mutex_);
  if (!kv_) {
    // The Kv may outlive the Client: it holds what it needs by itself.
    kv_ = kv::make_kv(
        [jetstream = jetstream_, options = options_](const Context& context) -> Result<nats::KeyValue> {
          nats::Connection& connection = jetstream.connection();
          if (auto connected =
                  connection.wait_connected(context.with_timeout(connection.options().request_timeout));
              !connected) {
            if (context.done()) return std::unexpected(std::move(connected.error()));
            return failure(ErrorCode::unavailable, "open bucket", bucket_name(options),
                           connection.last_problem());
          }
          return open_bucket(context, jetstream, options);
        });
  }
  return *kv_;
}

Lock Client::Impl::lock(std::string_view name, const LockOptions& lock_options) {
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

Client::Client(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<Client> Client::connect(ClientOptions options, const Context& context) {
  if (auto checked = Impl::check(options); !checked) return std::unexpected(std::move(checked.error()));
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
