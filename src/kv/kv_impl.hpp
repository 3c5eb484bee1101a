// How the rest of the library makes the public Kv: from a bucket of the layer `nats`, or from what opens one.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include <litecluster/kv.hpp>

#include "base/mutex.hpp"
#include "nats/kv_bucket.hpp"

namespace litecluster {

namespace kv {
using OpenBucket = std::function<Result<nats::KeyValue>(const Context&)>;
}

class Kv::Impl {
 public:
  explicit Impl(nats::KeyValue opened) : bucket_(std::make_shared<const nats::KeyValue>(std::move(opened))) {}
  explicit Impl(kv::OpenBucket open) : open_(std::move(open)) {}

  /// Opens it when that has not been done yet. Two threads may both do so; one of the results is kept.
  [[nodiscard]] Result<std::shared_ptr<const nats::KeyValue>> bucket(const Context& context);

 private:
  const kv::OpenBucket open_;
  base::Mutex mutex_;
  std::shared_ptr<const nats::KeyValue> bucket_ LITECLUSTER_GUARDED_BY(mutex_);
};

class KvWatch::Impl {
 public:
  explicit Impl(nats::KeyValueWatch started) : watch(std::move(started)) {}
  nats::KeyValueWatch watch;
};

namespace kv {

/// Thread-safe to call; the result holds the connection for as long as it lives.
[[nodiscard]] Kv make_kv(nats::KeyValue bucket);
/// One that opens its bucket with the first call that needs it; a failure is that call's error, and the next
/// call tries again.
[[nodiscard]] Kv make_kv(OpenBucket open);

}  // namespace kv
}  // namespace litecluster
