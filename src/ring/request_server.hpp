// Answers requests of other nodes: one thread takes them from NATS, a few execute them.
#pragma once

#include <memory>
#include <string>

#include <litecluster/error.hpp>
#include <litecluster/ring.hpp>

namespace litecluster::ring {

/// Requests that may wait; those beyond are answered `busy` and sent again by their sender.
constexpr std::size_t requests_waiting_max = 1024;

/// Thread-safe.
class RequestServer {
 public:
  /// Errors: unavailable (the connection is closed).
  [[nodiscard]] static Result<std::unique_ptr<RequestServer>> start(std::shared_ptr<Ring::Impl> ring,
                                                                    int threads);
  RequestServer(const RequestServer&) = delete;
  RequestServer& operator=(const RequestServer&) = delete;
  /// Takes no more; cancels those that run and waits for them; what was not begun is answered `not_owner`.
  ~RequestServer();

 private:
  class Impl;
  explicit RequestServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace litecluster::ring
