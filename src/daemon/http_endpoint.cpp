#include "daemon/http_endpoint.hpp"

#include <httplib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>
#include <utility>

#include "daemon/scalar.hpp"
#include "daemon/status_text.hpp"

namespace litecluster::daemon {

namespace {

constexpr std::size_t worker_threads = 4;

class Endpoint final : public HttpEndpoint {
 public:
  explicit Endpoint(HttpSources sources) : sources_(std::move(sources)) {
    server_.new_task_queue = [] { return new httplib::ThreadPool(worker_threads); };
    // A connection that waits for its next request has a worker for itself: one request each, so that
    // monitors that keep theirs cannot keep a load balancer waiting.
    server_.set_keep_alive_max_count(1);
    server_.set_keep_alive_timeout(1);
    server_.set_read_timeout(5);
    server_.set_write_timeout(5);
    server_.set_payload_max_length(4096);
    // The library's own choice lets a second process share the port, and each would get some of the requests.
    server_.set_socket_options([](socket_t socket) {
      const int yes = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    server_.Get("/health", [this](const httplib::Request&, httplib::Response& response) {
      const Health health = sources_.status().health;
      response.status = health.level == HealthLevel::critical ? 503 : 200;
      response.set_content(std::string(to_string(health.level)) + "\n" + health.reason() + "\n",
                           "text/plain");
    });
    server_.Get("/ready", [this](const httplib::Request&, httplib::Response& response) {
      const NodeStatus status = sources_.status();
      response.status = status.stage == "active" || status.stage == "working" ? 200 : 503;
      response.set_content(status.stage + "\n", "text/plain");
    });
    server_.Get("/status", [this](const httplib::Request&, httplib::Response& response) {
      response.set_content(status_json(sources_.status(), sources_.members(), ::getpid()) + "\n",
                           "application/json");
    });
    server_.Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
      response.set_content(metrics_text(sources_.status(), sources_.members()), "text/plain; version=0.0.4");
    });
  }

  ~Endpoint() override {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  bool bind(const std::string& address, int port) { return server_.bind_to_port(address.c_str(), port); }

  void serve() {
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    // stop() before the loop has begun would be lost.
    while (!server_.is_running()) std::this_thread::yield();
  }

 private:
  HttpSources sources_;
  httplib::Server server_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<HttpEndpoint>> HttpEndpoint::start(const std::string& listen, HttpSources sources) {
  const std::size_t colon = listen.rfind(':');
  const auto port = colon == std::string::npos
                        ? std::nullopt
                        : parse_number(std::string_view(listen).substr(colon + 1), 65535);
  if (!port || *port == 0 || colon == 0) {
    return failure(ErrorCode::invalid_argument, "serve HTTP on", listen,
                   "address:port is needed, 127.0.0.1:9464 say");
  }
  auto endpoint = std::make_unique<Endpoint>(std::move(sources));
  if (!endpoint->bind(listen.substr(0, colon), static_cast<int>(*port))) {
    return failure(ErrorCode::already_exists, "serve HTTP on", listen,
                   "the port is taken or the address is not ours");
  }
  endpoint->serve();
  return endpoint;
}

}  // namespace litecluster::daemon
