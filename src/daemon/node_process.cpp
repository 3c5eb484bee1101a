#include "daemon/node_process.hpp"

#include <unistd.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <utility>

#include "app/node.hpp"
#include "backend/guard.hpp"
#include "daemon/control_service.hpp"
#include "daemon/control_socket.hpp"
#include "daemon/hook_commands.hpp"
#include "daemon/http_endpoint.hpp"
#include "daemon/service_notify.hpp"
#include "daemon/signal_context.hpp"
#include "nats/private_server.hpp"
#include "vip/virtual_address.hpp"

namespace litecluster::daemon {

namespace {

constexpr std::chrono::seconds predecessor_patience{3};

std::filesystem::path data_directory(const Config& config) {
  if (!config.data_directory.empty()) return config.data_directory;
  if (config.app.sqlite) {
    const auto parent = config.app.sqlite->path.parent_path();
    return parent.empty() ? std::filesystem::path(".") : parent;
  }
  return ".";
}

void tell(const Error& error) {
  std::fprintf(stderr, "litecluster: %s\n", error.message().c_str());
}

// Tells systemd that we are well, as often as it wants to hear it.
class Watchdog {
 public:
  Watchdog() {
    const auto interval = watchdog_interval();
    if (!interval) return;
    thread_ = std::jthread([this, interval] {
      while (!stop_.wait_for(*interval)) notify_service_manager("WATCHDOG=1");
    });
  }
  ~Watchdog() { stop_.cancel(); }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  Context stop_ = Context::background();
  std::jthread thread_;
};

// Without a URL: a server of our own on loopback.
Result<std::optional<nats::PrivateServer>> start_private_server(const Context& context, Config& config) {
  if (!config.app.nats.urls.empty()) return std::optional<nats::PrivateServer>();
  nats::PrivateServerOptions options;
  options.directory = data_directory(config) / ("nats-" + config.app.node);
  auto server = nats::PrivateServer::start(context, std::move(options));
  if (!server) return std::unexpected(server.error());
  config.app.nats.urls = {server->url()};
  base::log_info("started a private nats-server", {{"url", server->url()}, {"version", server->version()}});
  return std::optional<nats::PrivateServer>(std::move(*server));
}

// The agent of a guard that was just killed may not have gone yet when the service manager starts the next
// one.
Result<std::unique_ptr<ControlServer>> start_control(const Context& context,
                                                     const std::filesystem::path& path, App& app) {
  const Context patience = context.with_timeout(predecessor_patience);
  while (true) {
    auto control = ControlServer::start(path, control_handler(app));
    if (control || control.error().code() != ErrorCode::already_exists) return control;
    if (patience.wait_for(std::chrono::milliseconds(20))) return control;
  }
}

// The guard must not start another agent then.
bool would_happen_again(const Error& error) {
  if (error.code() == ErrorCode::already_exists || error.code() == ErrorCode::invalid_argument) return true;
  // Another mode or number of partitions in this cluster.
  return error.code() == ErrorCode::failed_precondition && error.operation().starts_with("join ");
}

int run_agent(Config config, backend::GuardLink& guard) {
  base::configure_logging(config.log_level, config.log_format);
  const Context context = context_until_signal();
  const auto stopping = context.on_cancel([] { notify_service_manager("STOPPING=1"); });
  auto server = start_private_server(context, config);
  if (!server) {
    tell(server.error());
    return 1;
  }
  auto app = App::create(config.app);
  if (!app) {
    tell(app.error());
    return 2;
  }
  app->impl().guard = &guard;
  guard.listen([] { base::log_error("the guard killed the backend: the lease had run out"); });
  install_hook_commands(*app, config.hooks);
  auto control = start_control(context, control_socket_path(config), *app);
  if (!control) {
    tell(control.error());
    return 2;
  }
  std::unique_ptr<HttpEndpoint> http;
  if (!config.http_listen.empty()) {
    auto started = HttpEndpoint::start(config.http_listen, {.status = [&] { return app->status(); },
                                                            .members = [&] { return app->members(); }});
    if (!started) {
      tell(started.error());
      return 2;
    }
    http = std::move(*started);
  }
  const Watchdog watchdog;
  RemoteControl remote(*app);
  notify_service_manager("READY=1");
  const auto done = app->run(context);
  remote.stop();
  if (done) return 0;
  tell(done.error());
  return would_happen_again(done.error()) ? 2 : 1;
}

}  // namespace

std::filesystem::path control_socket_path(const Config& config) {
  if (!config.socket.empty()) return config.socket;
  return data_directory(config) / ("litecluster-" + config.app.node + ".sock");
}

int run_node_process(const Config& config) {
  backend::GuardOptions options;
  if (config.app.vip) {
    const auto address = vip::parse_address(config.app.vip->address);
    if (!address) {
      tell(address.error());
      return 2;
    }
    options.fences.push_back(std::make_shared<vip::AddressFence>(config.app.vip->interface, *address));
  }
  if (config.app.backend && !config.app.backend->systemd_unit.empty()) {
    options.fences.push_back(backend::make_systemd_fence(config.app.backend->systemd_unit));
  }
  return backend::run_guard(options, [&](backend::GuardLink& guard) { return run_agent(config, guard); });
}

}  // namespace litecluster::daemon
