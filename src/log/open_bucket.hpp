// From options to a bucket: connect, find or create the object store.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/nats_options.hpp>

#include "log/object_bucket.hpp"
#include "nats/connection.hpp"

namespace litecluster::log {

/// A bucket and what it needs, in the order in which it has to be destroyed.
struct OpenedBucket {
  std::shared_ptr<nats::Connection> connection;
  std::unique_ptr<ObjectBucket> bucket;
};

/// The bucket that belongs to a cluster when none is named: "<cluster>-wal".
[[nodiscard]] std::string default_bucket(std::string_view cluster);

/// Blocks until connected. With `create` a missing bucket is created. Errors: not_found (no such bucket),
/// unavailable, permission_denied, failed_precondition (a bucket with settings that would lose data).
[[nodiscard]] Result<OpenedBucket> open_bucket(const Context& context, const NatsOptions& options,
                                               std::string_view bucket, bool create);
/// The same over a connection that exists.
[[nodiscard]] Result<std::unique_ptr<ObjectBucket>> open_bucket(
    const Context& context, const std::shared_ptr<nats::Connection>& connection, std::string_view bucket,
    bool create);

}  // namespace litecluster::log
