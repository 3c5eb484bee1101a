// A nats-server of our own: a child process on loopback with JetStream and a store directory.
//
// The child is started by a thread that lives as long as the object, and asks the kernel to be killed when
// that thread ends (PR_SET_PDEATHSIG), so that no server survives the process, however it dies.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

namespace litecluster::nats {

struct PrivateServerOptions {
  /// Path of nats-server. Empty: $LITECLUSTER_NATS_SERVER, else `nats-server` in $PATH, else
  /// /usr/sbin/nats-server.
  std::filesystem::path binary;
  /// Holds the store, the configuration and the log. Created when missing.
  std::filesystem::path directory;
  /// On 127.0.0.1; 0: chosen at the first start and kept for later ones.
  std::uint16_t port = 0;
  bool jetstream = true;
  /// Starts the server again, with back-off, when it dies without having been told to.
  bool restart = true;
  std::string server_name;
  /// Cluster: its name, this server's route port and the route URLs of all.
  std::string cluster;
  std::uint16_t route_port = 0;
  std::vector<std::string> routes;
  /// Appended to the configuration file: authorization, limits, TLS.
  std::string extra_configuration;
  /// Put into the jetstream block of the configuration file: sync_interval, limits.
  std::string jetstream_configuration;
  /// Longest wait for the server to accept connections.
  std::chrono::milliseconds start_timeout{10'000};
};

/// Thread-safe.
class PrivateServer {
 public:
  /// Starts the server and waits until it accepts connections. Errors: not_found (no binary), io,
  /// failed_precondition (it ended at once; the reason quotes its log), deadline_exceeded.
  [[nodiscard]] static Result<PrivateServer> start(const Context& context, PrivateServerOptions options);

  PrivateServer(PrivateServer&&) noexcept;
  PrivateServer& operator=(PrivateServer&&) noexcept;
  /// stop().
  ~PrivateServer();

  /// "nats://127.0.0.1:<port>".
  [[nodiscard]] std::string url() const;
  [[nodiscard]] std::uint16_t port() const;
  /// Process id; nullopt while none runs.
  [[nodiscard]] std::optional<int> process_id() const;
  /// "2.9.10".
  [[nodiscard]] std::string version() const;

  /// SIGTERM, and SIGKILL after `grace`. The store stays.
  void stop(std::chrono::milliseconds grace = std::chrono::seconds(5));
  /// SIGKILL, as a crash; with options.restart it comes back by itself.
  void kill();
  /// SIGSTOP and SIGCONT.
  void pause();
  void resume();
  /// Starts it again on the same port and store, after stop() or kill().
  [[nodiscard]] Status start_again(const Context& context);

 private:
  class Impl;
  explicit PrivateServer(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

/// The number behind the last colon; 0 when there is none.
[[nodiscard]] std::uint16_t port_of_url(std::string_view url);

/// A TCP port on 127.0.0.1 that nobody listened on a moment ago.
[[nodiscard]] Result<std::uint16_t> find_free_port();

/// Several servers that form one cluster.
class PrivateCluster {
 public:
  /// Starts `size` servers under `directory`/<number>; `options` gives what they have in common. Waits until
  /// each accepts connections; a JetStream leader may take a few seconds more.
  [[nodiscard]] static Result<PrivateCluster> start(const Context& context, int size,
                                                    const std::filesystem::path& directory,
                                                    const PrivateServerOptions& options = {});

  [[nodiscard]] std::vector<std::string> urls() const;
  [[nodiscard]] PrivateServer& server(std::size_t index) { return servers_[index]; }

 private:
  explicit PrivateCluster(std::vector<PrivateServer> servers);
  std::vector<PrivateServer> servers_;
};

/// The binary that an empty PrivateServerOptions::binary means. Error not_found names the places looked at.
[[nodiscard]] Result<std::filesystem::path> find_server_binary();
/// "2.9.10" of a binary. Error failed_precondition when it does not answer.
[[nodiscard]] Result<std::string> server_binary_version(const std::filesystem::path& binary);

}  // namespace litecluster::nats
