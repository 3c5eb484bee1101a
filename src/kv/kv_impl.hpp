// How the rest of the library makes the public Kv: from a bucket of the layer `nats`.
#pragma once

#include <utility>

#include <litecluster/kv.hpp>

#include "nats/kv_bucket.hpp"

namespace litecluster {

class Kv::Impl {
 public:
  explicit Impl(nats::KeyValue opened) : bucket(std::move(opened)) {}
  const nats::KeyValue bucket;
};

class KvWatch::Impl {
 public:
  explicit Impl(nats::KeyValueWatch started) : watch(std::move(started)) {}
  nats::KeyValueWatch watch;
};

namespace kv {

/// Thread-safe to call; the result holds the connection for as long as it lives.
[[nodiscard]] Kv make_kv(nats::KeyValue bucket);

}  // namespace kv
}  // namespace litecluster
