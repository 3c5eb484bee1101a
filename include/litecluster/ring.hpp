// The ring: a key space cut into partitions, each owned by at most one live node.
//
// docs/pool-and-ring.md says why a partition never has two owners, and for how long it may have none.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

namespace litecluster {

/// 0 to partitions - 1.
using Partition = StrongNumber<struct PartitionTag, std::uint32_t>;
/// Version of the assignment of partitions to nodes; grows with every change. 0: none known yet. A resource
/// outside of the cluster can use it as fencing token: whoever owns a partition later does so under a larger
/// version.
using RingVersion = StrongNumber<struct RingVersionTag, std::uint64_t>;

/// One line of Ring::assignments().
struct RingAssignment {
  Partition partition;
  /// The node that owns it or is about to. Empty: nobody.
  std::string owner;
  /// While it moves: the node that has to release it first. Otherwise empty.
  std::string releasing;

  friend bool operator==(const RingAssignment&, const RingAssignment&) = default;
};

struct RingRequestOptions {
  /// Longest wait for one answer of one node.
  std::chrono::milliseconds attempt_timeout{2000};
  /// The request may be executed more than once: try again also when an owner did not answer and may or may
  /// not have executed it, and when its handler ended with `cancelled` because the partition was lost.
  bool idempotent = false;
};

/// Answers requests for keys of partitions that this node owns. Runs in threads of the library, several at a
/// time. A partition is not given away while a request of it is running; the Context is cancelled when
/// ownership was lost or the node stops. One that does not return then cannot be stopped: 5 s later the node
/// ends without it, and its thread goes on with whatever it refers to.
using RingHandler =
    std::function<Result<std::string>(const Context&, std::string_view key, std::string_view request)>;

/// Handle of this node's ring; cheap to copy, thread-safe.
class Ring {
 public:
  class Impl;
  explicit Ring(std::shared_ptr<Impl> impl);

  [[nodiscard]] std::uint32_t partitions() const;
  /// XXH64(key, seed 0) modulo partitions(): the same in every language.
  [[nodiscard]] Partition partition(std::string_view key) const;
  /// The node that owns the key's partition according to the newest assignment seen: a hint where to send
  /// things, which may be out of date. Empty when nobody does. Valid as long as this Ring lives. Lock-free.
  [[nodiscard]] std::string_view owner(std::string_view key) const;
  [[nodiscard]] std::string_view owner(Partition partition) const;
  /// Whether this node owns it now: on_own has returned, on_release has not been called, and the lease has
  /// not run out by this machine's clock. Lock-free; reads the clock.
  [[nodiscard]] bool owns(std::string_view key) const;
  [[nodiscard]] bool owns(Partition partition) const;
  /// One entry per partition, in order.
  [[nodiscard]] std::vector<RingAssignment> assignments() const;
  [[nodiscard]] RingVersion version() const;

  /// Sends `request` to the owner of `key`, wherever it is, and returns its answer. Waits and tries again
  /// while the partition moves. Errors: cancelled, deadline_exceeded (also: the owner did not answer and may
  /// have executed it, unless `idempotent`), too_large, and what the handler returned.
  [[nodiscard]] Result<std::string> request(const Context& context, std::string_view key,
                                            std::string_view request,
                                            const RingRequestOptions& options = {}) const;
  /// Sets what answers requests() of this and other nodes. Once, before the ring runs.
  void serve(RingHandler handler) const;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace litecluster
