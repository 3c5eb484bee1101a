#include "nats/private_server.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <fstream>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/backoff.hpp"
#include "base/file.hpp"
#include "base/logging.hpp"
#include "base/mutex.hpp"
#include "base/random.hpp"
#include "nats/server_probe.hpp"

namespace litecluster::nats {
namespace {

constexpr std::string_view start_operation = "start nats-server";

std::string configuration(const PrivateServerOptions& options, std::uint16_t port) {
  const auto& directory = options.directory.native();
  std::string text = fmt::format("host: \"127.0.0.1\"\nport: {}\nports_file_dir: \"{}\"\n",
                                 port == 0 ? -1 : static_cast<int>(port), directory);
  if (!options.server_name.empty()) text += fmt::format("server_name: \"{}\"\n", options.server_name);
  if (options.jetstream) {
    text += fmt::format("jetstream {{\n  store_dir: \"{}/store\"\n{}\n}}\n", directory,
                        options.jetstream_configuration);
  }
  if (!options.cluster.empty()) {
    text += fmt::format("cluster {{\n  name: \"{}\"\n  host: \"127.0.0.1\"\n  port: {}\n  routes: [\n",
                        options.cluster, options.route_port);
    for (const std::string& route : options.routes) text += fmt::format("    \"{}\"\n", route);
    text += "  ]\n}\n";
  }
  return text + options.extra_configuration + "\n";
}

std::string log_tail(const std::filesystem::path& log) {
  std::ifstream file(log, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  constexpr std::size_t tail_max = 600;
  if (text.size() > tail_max) text.erase(0, text.size() - tail_max);
  return text.empty() ? "it wrote no log" : text;
}

// Runs between fork and exec: nothing but async-signal-safe calls.
[[noreturn]] void become_server(const char* const* arguments, int log, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(126);
  // An interrupt typed at the terminal is for us; we stop the server in our own time.
  ::setpgid(0, 0);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::execv(arguments[0], const_cast<char* const*>(arguments));
  ::_exit(127);
}

// The file in which the server writes the port that it chose; 0 while it is not there.
std::uint16_t read_ports_file(const std::filesystem::path& path) {
  const auto bytes = base::read_file(path, 1U << 16U);
  if (!bytes) return 0;
  const auto json = nlohmann::json::parse(base::as_text(*bytes), nullptr, false);
  if (!json.is_object() || !json.contains("nats") || !json["nats"].is_array() || json["nats"].empty())
    return 0;
  const auto& first = json["nats"].front();
  return first.is_string() ? port_of_url(first.get<std::string>()) : std::uint16_t{0};
}

}  // namespace

std::uint16_t port_of_url(std::string_view url) {
  const std::size_t colon = url.rfind(':');
  if (colon == std::string_view::npos) return 0;
  std::uint16_t port = 0;
  std::from_chars(url.data() + colon + 1, url.data() + url.size(), port);
  return port;
}

class PrivateServer::Impl {
 public:
  explicit Impl(PrivateServerOptions options) : options_(std::move(options)), port_(options_.port) {}
  ~Impl() {
    stop(std::chrono::seconds(5));
    {
      const base::MutexLock lock(mutex_);
      ending_ = true;
      changed_.notify_all();
    }
    if (supervisor_.joinable()) supervisor_.join();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Status prepare();
  Status start(const Context& context);
  void stop(std::chrono::milliseconds grace);
  void signal(int number);

  std::uint16_t port() const {
    const base::MutexLock lock(mutex_);
    return port_;
  }
  std::optional<int> process_id() const {
    const base::MutexLock lock(mutex_);
    return process_;
  }
  std::string version() const {
    const base::MutexLock lock(mutex_);
    return version_;
  }

 private:
  void supervise();
  bool run_once();
  Result<pid_t> spawn(std::uint16_t port);
  Status wait_ready(const Context& context);
  std::filesystem::path log_path() const { return options_.directory / "server.log"; }

  PrivateServerOptions options_;
  mutable base::Mutex mutex_;
  base::ConditionVariable changed_;
  bool wanted_ LITECLUSTER_GUARDED_BY(mutex_) = false;  ///< it should be running
  bool ending_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  std::optional<pid_t> process_ LITECLUSTER_GUARDED_BY(mutex_);
  std::uint16_t port_ LITECLUSTER_GUARDED_BY(mutex_);
  std::uint64_t starts_ LITECLUSTER_GUARDED_BY(mutex_) = 0;  ///< calls of start()
  std::uint64_t ended_ LITECLUSTER_GUARDED_BY(mutex_) = 0;   ///< children that ended since start()
  std::string failure_ LITECLUSTER_GUARDED_BY(mutex_);
  std::string version_ LITECLUSTER_GUARDED_BY(mutex_);
  std::thread supervisor_;
};

Status PrivateServer::Impl::prepare() {
  if (options_.binary.empty()) {
    auto found = find_server_binary();
    if (!found) return std::unexpected(found.error());
    options_.binary = std::move(*found);
  }
  std::error_code problem;
  std::filesystem::create_directories(options_.directory, problem);
  if (problem) {
    return failure(ErrorCode::io, std::string(start_operation), options_.directory.native(),
                   problem.message());
  }
  options_.directory = std::filesystem::canonical(options_.directory, problem);
  supervisor_ = std::thread([this] { supervise(); });
  return {};
}

Result<pid_t> PrivateServer::Impl::spawn(std::uint16_t port) {
  const std::filesystem::path config = options_.directory / "server.conf";
  {
    std::ofstream file(config, std::ios::binary | std::ios::trunc);
    file << configuration(options_, port);
    if (!file.flush()) {
      return failure(ErrorCode::io, std::string(start_operation), config.native(),
                     "cannot write the configuration");
    }
  }
  auto log = base::open_file(log_path(), O_WRONLY | O_CREAT | O_APPEND);
  if (!log) return std::unexpected(log.error());
  const std::string binary = options_.binary.native();
  const char* const arguments[] = {binary.c_str(), "-c", config.c_str(), nullptr};
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) become_server(arguments, log->get(), parent);
  if (child < 0) return std::unexpected(base::errno_error(errno, std::string(start_operation), binary));
  return child;
}

// One life of the child; false when it could not even be started.
bool PrivateServer::Impl::run_once() {
  pid_t child = 0;
  {
    const base::MutexLock lock(mutex_);
    if (!wanted_) return true;
    auto spawned = spawn(port_);
    if (!spawned) {
      failure_ = spawned.error().message();
      ++ended_;
      wanted_ = false;
      changed_.notify_all();
      return false;
    }
    child = *spawned;
    process_ = child;
    changed_.notify_all();
  }
  // Learn of the end without reaping: until then the id is ours, and signal() cannot hit somebody else.
  siginfo_t info{};
  while (::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
  const base::MutexLock lock(mutex_);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  process_.reset();
  ++ended_;
  failure_ = WIFEXITED(status)
                 ? fmt::format("it ended with status {}: {}", WEXITSTATUS(status), log_tail(log_path()))
                 : fmt::format("it was ended by signal {}", WTERMSIG(status));
  if (!options_.restart) wanted_ = false;
  changed_.notify_all();
  return true;
}

void PrivateServer::Impl::supervise() {
  base::Backoff backoff(std::chrono::milliseconds(100), std::chrono::seconds(5));
  while (true) {
    std::uint64_t start = 0;
    {
      base::MutexLock lock(mutex_);
      while (!wanted_ && !ending_) changed_.wait(lock);
      if (ending_) return;
      start = starts_;
    }
    const auto began = std::chrono::steady_clock::now();
    if (!run_once()) continue;
    if (std::chrono::steady_clock::now() - began > std::chrono::seconds(10)) backoff.reset();
    base::MutexLock lock(mutex_);
    // Wanted again: a stop and a start, and no crash.
    if (!wanted_ || start != starts_) continue;
    base::log_warning("nats-server ended and is started again", {{"reason", failure_}});
    const auto until = std::chrono::steady_clock::now() + backoff.next(base::random_u64());
    while (wanted_ && !ending_ && std::chrono::steady_clock::now() < until) changed_.wait_until(lock, until);
  }
}

Status PrivateServer::Impl::start(const Context& context) {
  {
    const base::MutexLock lock(mutex_);
    if (process_) {
      return failure(ErrorCode::failed_precondition, std::string(start_operation),
                     options_.directory.native(), "it is running already");
    }
    wanted_ = true;
    ++starts_;
    failure_.clear();
    ended_ = 0;
    changed_.notify_all();
  }
  auto status = wait_ready(context);
  if (!status) stop(std::chrono::seconds(1));
  return status;
}

Status PrivateServer::Impl::wait_ready(const Context& context) {
  const Context limited = context.with_timeout(options_.start_timeout);
  while (true) {
    if (auto status = limited.status(start_operation); !status) {
      return failure(status.error().code(), std::string(start_operation), options_.directory.native(),
                     "it does not accept connections: " + log_tail(log_path()));
    }
    std::uint16_t port = 0;
    {
      const base::MutexLock lock(mutex_);
      if (ended_ != 0) {
        return failure(ErrorCode::failed_precondition, std::string(start_operation),
                       options_.directory.native(), failure_);
      }
      if (process_ && port_ == 0) {
        const auto name = fmt::format("{}_{}.ports", options_.binary.filename().native(), *process_);
        port_ = read_ports_file(options_.directory / name);
      }
      if (process_) port = port_;
    }
    if (port != 0) {
      auto info = probe_server(limited, fmt::format("nats://127.0.0.1:{}", port));
      if (info) {
        const base::MutexLock lock(mutex_);
        version_ = info->version;
        return {};
      }
    }
    limited.wait_for(std::chrono::milliseconds(5));
  }
}

void PrivateServer::Impl::stop(std::chrono::milliseconds grace) {
  base::MutexLock lock(mutex_);
  wanted_ = false;
  changed_.notify_all();
  if (process_) ::kill(*process_, SIGTERM);
  const auto until = std::chrono::steady_clock::now() + grace;
  while (process_ && std::chrono::steady_clock::now() < until) changed_.wait_until(lock, until);
  if (process_) ::kill(*process_, SIGKILL);
  while (process_) changed_.wait(lock);
}

void PrivateServer::Impl::signal(int number) {
  base::MutexLock lock(mutex_);
  if (!process_) return;
  const pid_t process = *process_;
  ::kill(process, number);
  // After a kill the caller may count on the server being gone.
  while (number == SIGKILL && process_ == process) changed_.wait(lock);
}

PrivateServer::PrivateServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
PrivateServer::PrivateServer(PrivateServer&&) noexcept = default;
PrivateServer& PrivateServer::operator=(PrivateServer&&) noexcept = default;
PrivateServer::~PrivateServer() = default;

Result<PrivateServer> PrivateServer::start(const Context& context, PrivateServerOptions options) {
  auto impl = std::make_shared<Impl>(std::move(options));
  if (auto status = impl->prepare(); !status) return std::unexpected(status.error());
  if (auto status = impl->start(context); !status) return std::unexpected(status.error());
  return PrivateServer(std::move(impl));
}

std::string PrivateServer::url() const {
  return fmt::format("nats://127.0.0.1:{}", impl_->port());
}

std::uint16_t PrivateServer::port() const {
  return impl_->port();
}

std::optional<int> PrivateServer::process_id() const {
  return impl_->process_id();
}

std::string PrivateServer::version() const {
  return impl_->version();
}

void PrivateServer::stop(std::chrono::milliseconds grace) {
  impl_->stop(grace);
}

void PrivateServer::kill() {
  impl_->signal(SIGKILL);
}

void PrivateServer::pause() {
  impl_->signal(SIGSTOP);
}

void PrivateServer::resume() {
  impl_->signal(SIGCONT);
}

Status PrivateServer::start_again(const Context& context) {
  return impl_->start(context);
}

PrivateCluster::PrivateCluster(std::vector<PrivateServer> servers) : servers_(std::move(servers)) {}

Result<PrivateCluster> PrivateCluster::start(const Context& context, int size,
                                             const std::filesystem::path& directory,
                                             const PrivateServerOptions& options) {
  PrivateServerOptions common = options;
  if (common.cluster.empty()) common.cluster = "litecluster";
  std::vector<std::uint16_t> ports;
  for (int index = 0; index < size; ++index) {
    auto port = find_free_port();
    if (!port) return std::unexpected(port.error());
    ports.push_back(*port);
    common.routes.push_back(fmt::format("nats://127.0.0.1:{}", *port));
  }
  std::vector<PrivateServer> servers;
  for (int index = 0; index < size; ++index) {
    PrivateServerOptions own = common;
    own.directory = directory / std::to_string(index);
    own.server_name = fmt::format("server-{}", index);
    own.route_port = ports[static_cast<std::size_t>(index)];
    auto server = PrivateServer::start(context, std::move(own));
    if (!server) return std::unexpected(server.error());
    servers.push_back(std::move(*server));
  }
  return PrivateCluster(std::move(servers));
}

std::vector<std::string> PrivateCluster::urls() const {
  std::vector<std::string> all;
  all.reserve(servers_.size());
  for (const PrivateServer& server : servers_) all.push_back(server.url());
  return all;
}

}  // namespace litecluster::nats
