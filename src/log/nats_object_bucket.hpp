// ObjectBucket over a NATS object store.
#pragma once

#include <memory>

#include "log/object_bucket.hpp"
#include "nats/object_store.hpp"

namespace litecluster::log {

[[nodiscard]] std::unique_ptr<ObjectBucket> make_nats_object_bucket(std::shared_ptr<nats::ObjectStore> store);

}  // namespace litecluster::log
