// A ring seen from outside: for programs that send requests to its nodes and own nothing themselves.
#pragma once

#include <memory>

#include <litecluster/client.hpp>
#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/ring.hpp>

namespace litecluster {

/// Thread-safe; follows the assignment in a thread of its own until destroyed. Rings that it gave out stay
/// valid, and then know only what they knew.
class RingClient {
 public:
  /// Blocks until connected and until the ring of this cluster has been seen for the first time. Of `options`
  /// the key-value part is not used. Errors: invalid_argument (options), permission_denied, unavailable (no
  /// server), cancelled and deadline_exceeded (there is no such ring yet).
  [[nodiscard]] static Result<RingClient> connect(ClientOptions options,
                                                  const Context& context = Context::background());
  RingClient(RingClient&&) noexcept;
  RingClient& operator=(RingClient&&) noexcept;
  ~RingClient();

  /// owner(), assignments() and request() are what is of use here. When a ring was stopped and came back with
  /// another number of partitions this returns another handle, and the old one finds no owner any more.
  [[nodiscard]] Ring ring() const;

  class Impl;

 private:
  explicit RingClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace litecluster
