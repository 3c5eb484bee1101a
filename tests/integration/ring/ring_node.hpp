// One node of a ring, as an application would build it.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "app/hook_runner.hpp"
#include "membership/service.hpp"
#include "nats/connection.hpp"
#include "ring/service.hpp"
#include "support/nats_fixture.hpp"

namespace litecluster::test {

struct RingNodeOptions {
  std::string node{};
  std::uint32_t partitions = 32;
  base::Duration heartbeat = std::chrono::milliseconds(300);
  std::function<Status(Context&, std::span<const Partition>)> on_own{};
  std::function<Status(Context&, std::span<const Partition>)> on_release{};
  /// Called when the node lost its lease and with it everything that it owned.
  std::function<void()> on_lapse{};
  RingHandler handler{};
};

/// Vanishes without a goodbye when destroyed; leave() says one.
class RingNode {
 public:
  static Result<std::unique_ptr<RingNode>> start(const NatsOptions& nats, RingNodeOptions options) {
    auto connection = nats::Connection::connect(soon(), nats);
    if (!connection) return std::unexpected(connection.error());
    auto bucket = nats::KeyValue::open_or_create(soon(), nats::JetStream(*connection),
                                                 membership::coordination_bucket("c"));
    if (!bucket) return std::unexpected(bucket.error());
    auto node = std::unique_ptr<RingNode>(new RingNode());
    node->connection_ = *connection;
    node->hooks_ = std::make_unique<app::HookRunner>(app::HookRunnerOptions{});
    auto members = membership::Service::create(*bucket, {.node = options.node,
                                                         .mode = Mode::ring,
                                                         .heartbeat = options.heartbeat,
                                                         .partitions = options.partitions});
    if (!members) return std::unexpected(members.error());
    node->members_ = std::move(*members);
    auto service = ring::Service::create(*node->members_, *bucket, *connection,
                                         {.cluster = "c",
                                          .node = options.node,
                                          .partitions = options.partitions,
                                          .heartbeat = options.heartbeat,
                                          .on_own = std::move(options.on_own),
                                          .on_release = std::move(options.on_release),
                                          .executor = node->hooks_->executor()});
    if (!service) return std::unexpected(service.error());
    node->service_ = std::move(*service);
    if (options.handler) node->service_->ring().serve(std::move(options.handler));
    if (options.on_lapse) {
      node->members_->add_listener([lapsed = options.on_lapse](const membership::ServiceEvent& event) {
        if (std::holds_alternative<membership::LifeOver>(event)) lapsed();
      });
    }
    node->members_->start();
    return node;
  }

  [[nodiscard]] Ring ring() const { return service_->ring(); }
  [[nodiscard]] membership::Service& members() { return *members_; }
  [[nodiscard]] Status leave() {
    if (Status released = service_->release_all(soon()); !released) return released;
    return members_->leave(soon());
  }
  [[nodiscard]] std::size_t owned() const {
    std::size_t count = 0;
    const Ring own = ring();
    for (std::uint32_t partition = 0; partition < own.partitions(); ++partition) {
      if (own.owns(Partition(partition))) ++count;
    }
    return count;
  }

 private:
  RingNode() = default;

  std::shared_ptr<nats::Connection> connection_;
  std::unique_ptr<app::HookRunner> hooks_;
  std::unique_ptr<membership::Service> members_;
  std::unique_ptr<ring::Service> service_;
};

}  // namespace litecluster::test
