#include "cli/demo/demo_cluster.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/bytes.hpp"
#include "base/file.hpp"
#include "base/mutex.hpp"
#include "base/random.hpp"
#include "daemon/control_socket.hpp"
#include "nats/connection.hpp"
#include "nats/jetstream.hpp"

namespace litecluster::cli {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

constexpr std::uint64_t entries_bytes_max = std::uint64_t{64} << 20U;

Result<std::filesystem::path> own_program() {
  std::error_code error;
  auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return failure(ErrorCode::not_found, "find", "/proc/self/exe", error.message());
  return path;
}

// Beside the program in a build, in libexec when installed.
Result<std::filesystem::path> find_backend(const std::filesystem::path& program) {
  const char* const name = "litecluster-example-backend";
  const auto beside = program.parent_path() / name;
  const auto installed = program.parent_path().parent_path() / "libexec" / "litecluster" / name;
  for (const auto& path : {beside, installed}) {
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return failure(ErrorCode::not_found, "find the example backend", name,
                 "it is neither " + beside.string() + " nor " + installed.string());
}

// Until the cluster of servers can place a stream with three copies.
Status wait_for_jetstream(const Context& context, const std::vector<std::string>& urls) {
  NatsOptions options;
  options.urls = urls;
  auto connection = nats::Connection::connect(context, options);
  if (!connection) return std::unexpected(connection.error());
  const nats::JetStream jetstream(*connection);
  nats::StreamConfig config;
  config.name = "demo-begins";
  config.subjects = {"demo-begins"};
  config.replicas = DemoCluster::size;
  while (true) {
    const auto created = jetstream.create_stream(context, config);
    if (created) break;
    if (context.wait_for(100ms)) return std::unexpected(created.error());
  }
  if (const auto deleted = jetstream.delete_stream(context, config.name); !deleted) {
    return std::unexpected(deleted.error());
  }
  return {};
}

}  // namespace

struct DemoNode::Ended {
  base::Mutex mutex;
  base::ConditionVariable changed;
  bool running LITECLUSTER_GUARDED_BY(mutex) = false;
};

DemoNode::DemoNode(std::string name, std::filesystem::path directory, std::uint16_t backend_port)
    : name_(std::move(name)),
      directory_(std::move(directory)),
      port_(backend_port),
      ended_(std::make_shared<Ended>()),
      host_(backend::make_local_process_host()) {
  host_->on_exit([ended = ended_](int) {
    const base::MutexLock lock(ended->mutex);
    ended->running = false;
    ended->changed.notify_all();
  });
}

Status DemoNode::configure(const std::vector<std::string>& nats_urls,
                           const std::filesystem::path& backend) const {
  std::error_code error;
  std::filesystem::create_directories(directory_, error);
  std::string urls;
  for (const std::string& url : nats_urls) urls += (urls.empty() ? "" : ", ") + url;
  const std::string text = fmt::format(
      "cluster: demo\n"
      "node: {0}\n"
      "nats: {{ urls: [{1}] }}\n"
      "db: {2}\n"
      "socket: {3}\n"
      "lease_ttl: 2s\n"
      "heartbeat: 500ms\n"
      "backend:\n"
      "  command: [{4}, --db, {2}, --port, \"{5}\"]\n"
      "  health: {{ tcp: \"127.0.0.1:{5}\", interval: 200ms }}\n"
      "log: {{ format: json }}\n",
      name_, urls, database().string(), socket().string(), backend.string(), port_);
  return base::write_file_durably(configuration(), base::as_bytes(text));
}

Status DemoNode::start(const std::filesystem::path& program) {
  const auto output = base::open_file(log(), O_WRONLY | O_CREAT | O_APPEND);
  if (!output) return std::unexpected(output.error());
  {
    const base::MutexLock lock(ended_->mutex);
    ended_->running = true;
  }
  auto started =
      host_->start({.arguments = {program.string(), "run", "-c", configuration().string()}, .directory = {}},
                   output->get(), output->get());
  if (!started) {
    const base::MutexLock lock(ended_->mutex);
    ended_->running = false;
  }
  return started;
}

bool DemoNode::wait_ended(std::chrono::milliseconds limit) const {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  base::MutexLock lock(ended_->mutex);
  while (ended_->running) {
    if (!ended_->changed.wait_until(lock, deadline)) return !ended_->running;
  }
  return true;
}

void DemoNode::stop(std::chrono::milliseconds grace) {
  host_->signal(SIGTERM);
  if (!wait_ended(grace)) kill();
}

void DemoNode::kill() {
  host_->signal(SIGKILL);
  static_cast<void>(wait_ended(10s));
}

std::optional<DemoNodeStatus> DemoNode::status(const Context& context) const {
  const auto answer = daemon::control_request(context.with_timeout(2s), socket(), R"({"verb":"status"})");
  if (!answer) return std::nullopt;
  const json object = json::parse(*answer, nullptr, false);
  if (!object.is_object() || !object.value("ok", false)) return std::nullopt;
  DemoNodeStatus status{.stage = object.value("stage", ""),
                        .epoch = object.value("epoch", std::uint64_t{0}),
                        .position = {},
                        .agent_process = object.value("pid", 0)};
  if (const auto position = object.find("position"); position != object.end() && position->is_object()) {
    status.position = position->value("txid", "") + "/" + position->value("checksum", "");
  }
  return status;
}

Status DemoNode::request(const Context& context, const std::string& verb,
                         const std::string& successor) const {
  const auto answer =
      daemon::control_request(context, socket(), json{{"verb", verb}, {"to", successor}}.dump());
  if (!answer) return std::unexpected(answer.error());
  const json object = json::parse(*answer, nullptr, false);
  if (object.is_object() && object.value("ok", false)) return {};
  return failure(ErrorCode::failed_precondition, verb, name_,
                 object.is_object() ? object.value("message", "refused") : "the answer is not JSON");
}

std::vector<std::filesystem::path> DemoNode::diverged() const {
  std::vector<std::filesystem::path> found;
  std::error_code error;
  const std::string prefix = database().filename().string() + ".diverged-";
  for (const auto& entry : std::filesystem::directory_iterator(directory_, error)) {
    if (!entry.path().filename().string().starts_with(prefix)) continue;
    const auto copy = entry.path() / database().filename();
    if (std::filesystem::exists(copy, error)) found.push_back(copy);
  }
  return found;
}

DemoCluster::DemoCluster(std::filesystem::path directory, std::filesystem::path program,
                         std::filesystem::path backend, nats::PrivateCluster servers)
    : directory_(std::move(directory)),
      program_(std::move(program)),
      backend_(std::move(backend)),
      servers_(std::move(servers)) {}

Result<std::unique_ptr<DemoCluster>> DemoCluster::start(const Context& context,
                                                        const std::filesystem::path& directory) {
  const auto program = own_program();
  if (!program) return std::unexpected(program.error());
  const auto backend = find_backend(*program);
  if (!backend) return std::unexpected(backend.error());
  auto servers = nats::PrivateCluster::start(context, size, directory / "nats");
  if (!servers) return std::unexpected(servers.error());
  if (auto ready = wait_for_jetstream(context, servers->urls()); !ready)
    return std::unexpected(ready.error());
  std::unique_ptr<DemoCluster> cluster(new DemoCluster(directory, *program, *backend, std::move(*servers)));
  cluster->nodes_.reserve(size);
  for (int number = 1; number <= size; ++number) {
    const auto port = nats::find_free_port();
    if (!port) return std::unexpected(port.error());
    const std::string name = "node-" + std::to_string(number);
    DemoNode& node = cluster->nodes_.emplace_back(name, directory / name, *port);
    if (auto written = node.configure(cluster->nats_urls(), *backend); !written)
      return std::unexpected(written.error());
    if (auto started = node.start(*program); !started) return std::unexpected(started.error());
  }
  return cluster;
}

DemoNode* DemoCluster::wait_for_leader(const Context& context, const DemoNode* but) {
  do {
    for (DemoNode& node : nodes_) {
      if (&node == but) continue;
      const auto status = node.status(context);
      if (status && status->stage == "active") return &node;
    }
  } while (!context.wait_for(10ms));
  return nullptr;
}

Result<std::set<std::string>> DemoCluster::entries(const Context& context,
                                                   const std::filesystem::path& database) const {
  const auto file = directory_ / ("entries-" + base::random_hex(8));
  const auto output = base::open_file(file, O_WRONLY | O_CREAT | O_TRUNC);
  if (!output) return std::unexpected(output.error());
  const auto ended = backend::run_to_end(
      context, {.arguments = {backend_.string(), "--db", database.string(), "--print"}, .directory = {}},
      output->get(), output->get());
  if (!ended) return std::unexpected(ended.error());
  const auto bytes = base::read_file(file, entries_bytes_max);
  std::error_code ignored;
  std::filesystem::remove(file, ignored);
  if (!bytes) return std::unexpected(bytes.error());
  const std::string_view text = base::as_text(*bytes);
  if (*ended != 0) {
    return failure(ErrorCode::corrupt, "read the entries of", database.string(),
                   std::string(text) + backend::describe_wait_status(*ended));
  }
  std::set<std::string> entries;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    entries.emplace(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return entries;
}

}  // namespace litecluster::cli
