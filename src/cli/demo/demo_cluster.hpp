// What `litecluster demo` runs: three NATS servers and three nodes with the example backend, each of them a
// real process on loopback, all of them gone when the object is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "backend/process.hpp"
#include "nats/private_server.hpp"

namespace litecluster::cli {

/// What a node says of itself.
struct DemoNodeStatus {
  std::string stage;
  std::uint64_t epoch = 0;
  std::string position;  ///< "txid/checksum"; empty when unknown
  int agent_process = 0;
};

/// One node: `litecluster run` with its configuration file.
class DemoNode {
 public:
  DemoNode(std::string name, std::filesystem::path directory, std::uint16_t backend_port);

  /// Writes the configuration file.
  [[nodiscard]] Status configure(const std::vector<std::string>& nats_urls,
                                 const std::filesystem::path& backend) const;
  [[nodiscard]] Status start(const std::filesystem::path& program);
  /// TERM, and KILL when that has not helped within `grace`.
  void stop(std::chrono::milliseconds grace);
  /// KILL for the guard and the agent at once; the backend dies with them.
  void kill();

  /// nullopt while the node does not answer.
  [[nodiscard]] std::optional<DemoNodeStatus> status(const Context& context) const;
  /// One request on the control socket; the error is the node's own.
  [[nodiscard]] Status request(const Context& context, const std::string& verb,
                               const std::string& successor = {}) const;

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::filesystem::path database() const { return directory_ / "app.db"; }
  [[nodiscard]] std::filesystem::path replica() const { return directory_ / "app.db-replica"; }
  [[nodiscard]] std::filesystem::path configuration() const { return directory_ / "litecluster.yaml"; }
  [[nodiscard]] std::filesystem::path log() const { return directory_ / "log"; }
  /// Copies of the database with commits that never reached the log.
  [[nodiscard]] std::vector<std::filesystem::path> diverged() const;

 private:
  [[nodiscard]] std::filesystem::path socket() const { return directory_ / "node.sock"; }
  [[nodiscard]] bool wait_ended(std::chrono::milliseconds limit) const;

  const std::string name_;
  const std::filesystem::path directory_;
  const std::uint16_t port_;
  // Shared with the host's thread, which says when the process has ended.
  struct Ended;
  std::shared_ptr<Ended> ended_;
  std::unique_ptr<backend::ProcessHost> host_;
};

class DemoCluster {
 public:
  static constexpr int size = 3;

  /// Starts the servers, waits until they can store three copies, and starts the nodes.
  [[nodiscard]] static Result<std::unique_ptr<DemoCluster>> start(const Context& context,
                                                                  const std::filesystem::path& directory);

  [[nodiscard]] std::vector<DemoNode>& nodes() { return nodes_; }
  [[nodiscard]] std::vector<std::string> nats_urls() const { return servers_.urls(); }
  [[nodiscard]] std::string nats_version() { return servers_.server(0).version(); }
  [[nodiscard]] const std::filesystem::path& program() const { return program_; }

  /// The node that serves, other than `but`; waits for one. nullptr when the context ends first.
  [[nodiscard]] DemoNode* wait_for_leader(const Context& context, const DemoNode* but = nullptr);
  /// Asks SQLite whether the file is sound and returns all entries of it. The file may be in use.
  [[nodiscard]] Result<std::set<std::string>> entries(const Context& context,
                                                      const std::filesystem::path& database) const;

 private:
  DemoCluster(std::filesystem::path directory, std::filesystem::path program, std::filesystem::path backend,
              nats::PrivateCluster servers);

  const std::filesystem::path directory_;
  const std::filesystem::path program_;
  const std::filesystem::path backend_;
  nats::PrivateCluster servers_;
  std::vector<DemoNode> nodes_;  // before the servers in the end
};

}  // namespace litecluster::cli
