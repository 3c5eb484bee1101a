#include "daemon/node_process.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <utility>

#include "app/node.hpp"
#include "backend/guard.hpp"
#include "base/file.hpp"
#include "base/file_descriptor.hpp"
#include "daemon/control_service.hpp"
#include "daemon/control_socket.hpp"
#include "daemon/hook_commands.hpp"
#include "daemon/http_endpoint.hpp"
#include "daemon/service_manager.hpp"
#include "daemon/signal_context.hpp"
#include "nats/private_server.hpp"
#include "vip/virtual_address.hpp"

namespace litecluster::daemon {

namespace {

constexpr std::chrono::seconds predecessor_patience{3};
constexpr std::chrono::seconds stop_timeout_least{60};
/// Of a stop in order, without the backend and the hooks.
constexpr std::chrono::seconds stop_margin{30};
/// Of those that a stop can wait for: one that runs already, on_passive or on_release, and on_stop.
constexpr std::size_t hooks_at_stop{3};

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

// Tells systemd that we are well, as often as it wants to hear it, and what we are. Asking the App takes its
// lock, so an agent that hangs falls silent.
class Watchdog {
 public:
  Watchdog(const ServiceManager& manager, const App& app) {
    if (!manager.present()) return;
    constexpr std::chrono::microseconds status_interval = std::chrono::seconds(1);
    const auto interval = std::min(manager.watchdog_interval().value_or(status_interval), status_interval);
    thread_ = std::jthread([this, interval, &manager, &app] {
      std::string told;
      while (!stop_.wait_for(interval)) {
        const NodeStatus status = app.status();
        manager.notify("WATCHDOG=1");
        std::string text = "STATUS=" + status.stage + ", epoch " + std::to_string(status.epoch.value()) +
                           ", leader " + (status.leader.empty() ? "unknown" : status.leader);
        if (text == told) continue;
        manager.notify(text);
        told = std::move(text);
      }
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
  // The same port each time, so that whoever was told the URL can keep it.
  const auto url_file = options.directory / "url";
  if (const auto stored = base::read_file(url_file, 256))
    options.port = nats::port_of_url(base::as_text(*stored));
  auto server = nats::PrivateServer::start(context, options);
  if (!server && options.port != 0) {
    options.port = 0;
    server = nats::PrivateServer::start(context, options);
  }
  if (!server) return std::unexpected(server.error());
  if (auto stored = base::write_file_durably(url_file, base::as_bytes(server->url())); !stored) {
    return std::unexpected(stored.error());
  }
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

bool somebody_listens(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.native().size() >= sizeof address.sun_path) return false;
  std::ranges::copy(path.native(), static_cast<char*>(address.sun_path));
  const base::FileDescriptor client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return ::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
         errno == EAGAIN;
}

// The guard begins by dropping what an earlier one may have left behind. That must not be the address, or the
// unit, of a node that runs.
Status expect_no_other(const std::filesystem::path& path) {
  const Context patience = Context::background().with_timeout(predecessor_patience);
  while (somebody_listens(path)) {
    if (patience.wait_for(std::chrono::milliseconds(20))) {
      return failure(ErrorCode::already_exists, "start the node", path.string(),
                     "a node is running behind it; two nodes need different names or directories");
    }
  }
  return {};
}

// 2 and 3: the same would happen again, and the guard does not start another agent.
int exit_status_of(const Error& error) {
  if (error.code() == ErrorCode::invalid_argument) return 2;
  // Another mode or number of partitions in this cluster.
  const bool misfit =
      error.code() == ErrorCode::failed_precondition && error.operation().starts_with("join ");
  return error.code() == ErrorCode::already_exists || misfit ? 3 : 1;
}

int run_agent(Config config, const ServiceManager& manager, backend::GuardLink& guard) {
  base::configure_logging(config.log_level, config.log_format);
  const Context context = context_until_signal();
  const auto stopping = context.on_cancel([&manager, patience = stop_timeout(config) + stop_margin] {
    // Else TimeoutStopSec= would end a stop that the configuration leaves more time for.
    const auto extended = std::chrono::duration_cast<std::chrono::microseconds>(patience);
    manager.notify("STOPPING=1\nEXTEND_TIMEOUT_USEC=" + std::to_string(extended.count()));
  });
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
    return control.error().code() == ErrorCode::already_exists ? 3 : 2;
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
  const Watchdog watchdog(manager, *app);
  RemoteControl remote(*app);
  manager.notify("READY=1");
  const auto done = app->run(context);
  remote.stop();
  if (done) return 0;
  tell(done.error());
  return exit_status_of(done.error());
}

}  // namespace

std::filesystem::path control_socket_path(const Config& config) {
  if (!config.socket.empty()) return config.socket;
  return data_directory(config) / ("litecluster-" + config.app.node + ".sock");
}

std::chrono::milliseconds stop_timeout(const Config& config) {
  const auto hooks = std::min(config.hooks.size(), hooks_at_stop) * config.app.hook_timeout;
  const auto backend = config.app.backend ? config.app.backend->stop_timeout : std::chrono::milliseconds(0);
  return std::max<std::chrono::milliseconds>(stop_timeout_least, backend + hooks + stop_margin);
}

int run_node_process(const Config& config) {
  std::error_code ignored;
  const std::filesystem::path directory = data_directory(config);
  if (!std::filesystem::is_directory(directory, ignored)) {
    tell(Error(ErrorCode::invalid_argument, "start the node", directory.string(),
               "there is no such directory; make it, or correct sqlite.path or data_directory"));
    return 2;
  }
  if (const auto alone = expect_no_other(control_socket_path(config)); !alone) {
    tell(alone.error());
    return 3;
  }
  backend::GuardOptions options;
  options.config.stop_timeout = stop_timeout(config);
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
  base::configure_logging(config.log_level, config.log_format);
  const ServiceManager manager = ServiceManager::take_from_environment();
  return backend::run_guard(options,
                            [&](backend::GuardLink& guard) { return run_agent(config, manager, guard); });
}

}  // namespace litecluster::daemon
