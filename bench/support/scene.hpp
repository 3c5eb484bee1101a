// Where a benchmark takes place: a directory of its own, a nats-server of its own, and the programs compared.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "log/open_bucket.hpp"
#include "nats/private_server.hpp"
#include "support/application.hpp"
#include "support/child.hpp"
#include "support/report.hpp"
#include "support/temporary_directory.hpp"

namespace litecluster::bench {

/// A wait that only ends this way when something is broken.
[[nodiscard]] Context patience();

class Scene {
 public:
  /// `server_configuration` is added to the server's.
  explicit Scene(const std::string& server_configuration = {});

  /// Forked before anything else exists.
  [[nodiscard]] Application& application() { return application_; }
  [[nodiscard]] std::filesystem::path path(const std::string& name) const { return directory_ / name; }
  [[nodiscard]] std::string url() const { return server_->url(); }
  [[nodiscard]] Usage server_usage() const { return usage_of(server_->process_id().value_or(-1)); }
  [[nodiscard]] std::string server_version() const { return server_->version(); }

  /// A connection of the benchmark's own; the bucket is made when it is missing.
  [[nodiscard]] log::OpenedBucket open_bucket(const std::string& name) const;

  /// `litecluster COMMAND DATABASE --bucket BUCKET`, its output in a file of that name.
  [[nodiscard]] Child litecluster(const std::string& command, const std::filesystem::path& database,
                                  const std::string& bucket, const std::vector<std::string>& more = {}) const;
  /// `litestream ARGUMENTS` where it is installed.
  [[nodiscard]] std::optional<Child> litestream(const std::vector<std::string>& arguments) const;
  /// The argument that names a bucket to it.
  [[nodiscard]] std::string litestream_url(const std::string& bucket) const { return url() + "/" + bucket; }

 private:
  Application application_;
  test::TemporaryDirectory directory_;
  std::optional<nats::PrivateServer> server_;
};

/// The program that is measured.
[[nodiscard]] std::filesystem::path litecluster_program();
/// Genuine Litestream, below LITECLUSTER_PARTNERS or the project's build/partners.
[[nodiscard]] std::optional<std::filesystem::path> litestream_program();

/// Waits until it holds, looking each `pause`.
void wait_until(const std::string& what, const std::function<bool()>& holds,
                std::chrono::microseconds pause = std::chrono::milliseconds(2));
/// Waits until the log has no new object for a while.
void wait_quiet(log::ObjectBucket& bucket);

/// A number from the environment, for longer or shorter runs.
[[nodiscard]] double setting(const char* name, double otherwise);

}  // namespace litecluster::bench
