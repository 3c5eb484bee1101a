// Answers requests of other nodes: one thread takes them from NATS, a few execute them.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include <litecluster/error.hpp>
#include <litecluster/ring.hpp>

namespace litecluster::ring {

/// Requests that may wait; those beyond are answered `busy` and sent again by their sender.
constexpr std::size_t requests_waiting_max = 1024;

/// For how long a handler may run on after it was cancelled at the end.
constexpr std::chrono::seconds request_grace{5};

/// Thread-safe.
class RequestServer {
 public:
  /// Errors: unavailable (the connection is closed).
  [[nodiscard]] static Result<std::unique_ptr<RequestServer>> start(std::shared_ptr<Ring::Impl> ring,
                                                                    int threads);
  RequestServer(const RequestServer&) = delete;
  RequestServer& operator=(const RequestServer&) = delete;
  /// Takes no more; what was not begun is answered `not_owner`; cancels those that run and waits for them. A
  /// handler that has not returned request_grace later is given up with its thread.
  ~RequestServer();

 private:
  class Impl;
  explicit RequestServer(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  ///< also of threads that were given up
};

}  // namespace litecluster::ring
