// Drives Coordinator and Participant on the loop of a membership::Service, and calls on_own and on_release.
//
//   auto members = membership::Service::create(bucket, {.mode = Mode::ring, .partitions = 256, ...});
//   auto ring = ring::Service::create(**members, bucket, connection, {...});
//   ring->ring().serve(handler);
//   (*members)->start();   (*members)->wait_joined(context);
//   ...
//   (*ring)->release_all(context);   (*members)->leave(context);
//
// The two may be destroyed in any order.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/ring.hpp>

#include "membership/hook_call.hpp"
#include "membership/service.hpp"
#include "nats/connection.hpp"
#include "nats/kv_bucket.hpp"

namespace litecluster::ring {

struct ServiceOptions {
  std::string cluster{};
  std::string node{};
  std::uint32_t partitions = 256;
  /// The same as that of the membership service.
  base::Duration heartbeat = std::chrono::seconds(3);
  std::function<Status(Context&, std::span<const Partition>)> on_own{};
  std::function<Status(Context&, std::span<const Partition>)> on_release{};
  membership::HookExecutor executor{};
  /// Called on the loop when everything is let go of after the lease was lost. May be empty.
  std::function<void()> on_settled{};
  /// That execute requests.
  int request_threads = 4;
  /// Handle of the same cluster, node and number of partitions that was given out before; may be nullptr.
  std::shared_ptr<Ring::Impl> ring{};
};

/// Thread-safe.
class Service {
 public:
  /// Before members.start(). Errors: invalid_argument (partitions).
  [[nodiscard]] static Result<std::unique_ptr<Service>> create(membership::Service& members,
                                                               nats::KeyValue bucket,
                                                               std::shared_ptr<nats::Connection> connection,
                                                               ServiceOptions options);
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;
  ~Service();

  /// A handle that may outlive this object; it then owns nothing.
  [[nodiscard]] Ring ring() const;
  /// Lets go of everything, to leave the cluster: returns when on_release is through. Errors: cancelled,
  /// deadline_exceeded.
  [[nodiscard]] Status release_all(const Context& context);

 private:
  class Impl;
  explicit Service(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace litecluster::ring
