#include "log/open_bucket.hpp"

#include <utility>

#include "log/nats_object_bucket.hpp"
#include "nats/jetstream.hpp"
#include "nats/object_store.hpp"

namespace litecluster::log {

std::string default_bucket(std::string_view cluster) {
  return std::string(cluster) + "-wal";
}

Result<OpenedBucket> open_bucket(const Context& context, const NatsOptions& options, std::string_view bucket,
                                 bool create) {
  auto connection = nats::Connection::connect(context, options);
  if (!connection) return std::unexpected(connection.error());
  auto opened = open_bucket(context, *connection, bucket, create);
  if (!opened) return std::unexpected(opened.error());
  return OpenedBucket{.connection = std::move(*connection), .bucket = std::move(*opened)};
}

Result<std::unique_ptr<ObjectBucket>> open_bucket(const Context& context,
                                                  const std::shared_ptr<nats::Connection>& connection,
                                                  std::string_view bucket, bool create) {
  const nats::JetStream jetstream(connection);
  auto store = create ? nats::create_object_store(context, jetstream, bucket)
                      : nats::open_object_store(context, jetstream, bucket);
  if (!store) return std::unexpected(store.error());
  return make_nats_object_bucket(std::shared_ptr<nats::ObjectStore>(std::move(*store)));
}

}  // namespace litecluster::log
