// The HTTP endpoint for load balancers and monitoring: /health, /ready, /status, /metrics. Read-only.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <litecluster/app.hpp>
#include <litecluster/error.hpp>

namespace litecluster::daemon {

struct HttpSources {
  std::function<NodeStatus()> status;
  std::function<std::vector<Member>()> members;
};

/// Serves in threads of its own until destroyed.
class HttpEndpoint {
 public:
  /// `listen` is "address:port". Errors: invalid_argument, already_exists (the port is taken).
  [[nodiscard]] static Result<std::unique_ptr<HttpEndpoint>> start(const std::string& listen,
                                                                   HttpSources sources);
  virtual ~HttpEndpoint() = default;
  HttpEndpoint(const HttpEndpoint&) = delete;
  HttpEndpoint& operator=(const HttpEndpoint&) = delete;

 protected:
  HttpEndpoint() = default;
};

}  // namespace litecluster::daemon
