// What a Ring handle refers to: the table, the handler of requests, and the way to other nodes.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <litecluster/ring.hpp>

#include "base/mutex.hpp"
#include "nats/connection.hpp"
#include "ring/ownership_table.hpp"
#include "ring/request_frame.hpp"

namespace litecluster {

/// Thread-safe.
class Ring::Impl {
 public:
  Impl(std::shared_ptr<nats::Connection> connection, std::string cluster, std::string node,
       std::uint32_t partitions)
      : table(partitions),
        cluster_(std::move(cluster)),
        node_(std::move(node)),
        connection_(std::move(connection)) {}

  ring::OwnershipTable table;

  [[nodiscard]] Partition partition(std::string_view key) const {
    return Partition(ring::partition_of(key, table.partitions()));
  }

  /// All requests fail with failed_precondition from now on. Before the handle is given out.
  void refuse(std::string reason) { refused_ = std::move(reason); }
  void set_handler(RingHandler handler);
  [[nodiscard]] bool has_handler();
  /// Runs the handler here when this node owns the key; nullopt otherwise.
  [[nodiscard]] std::optional<Result<std::string>> execute(const Context& context, std::string_view key,
                                                           std::string_view payload);
  [[nodiscard]] Result<std::string> request(const Context& context, std::string_view key,
                                            std::string_view payload, const RingRequestOptions& options);

  /// Lets requests of these partitions, which are not owned any more, come to an end; those that do not
  /// within `patience` have their Context cancelled. Returns when none runs or when `context` is done.
  [[nodiscard]] Status finish_requests(const Context& context, const std::vector<Partition>& partitions,
                                       std::chrono::nanoseconds patience);
  /// Cancels the Context of all requests that run here.
  void cancel_requests();

  [[nodiscard]] std::string subject_of(std::string_view node) const {
    return cluster_ + ".ctl." + std::string(node) + ".ring";
  }
  [[nodiscard]] const std::string& node() const { return node_; }
  /// nullptr before connect().
  [[nodiscard]] std::shared_ptr<nats::Connection> connection() {
    const base::MutexLock lock(mutex_);
    return connection_;
  }
  /// For a handle that is made before there is a connection.
  void connect(std::shared_ptr<nats::Connection> connection) {
    const base::MutexLock lock(mutex_);
    connection_ = std::move(connection);
  }

 private:
  struct Attempt;
  [[nodiscard]] Attempt try_node(const Context& context, std::string_view owner, std::string_view key,
                                 std::string_view payload, const RingRequestOptions& options);

  const std::string cluster_;
  const std::string node_;
  std::string refused_;

  base::Mutex mutex_;
  std::shared_ptr<nats::Connection> connection_ LITECLUSTER_GUARDED_BY(mutex_);
  std::shared_ptr<const RingHandler> handler_ LITECLUSTER_GUARDED_BY(mutex_);
  std::list<std::pair<Partition, Context>> running_ LITECLUSTER_GUARDED_BY(mutex_);
};

}  // namespace litecluster
