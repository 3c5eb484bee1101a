#include "support/scene.hpp"

#include <cstdlib>
#include <thread>

#include "base/logging.hpp"

namespace litecluster::bench {

Context patience() {
  return Context::background().with_timeout(std::chrono::minutes(4));
}

std::filesystem::path litecluster_program() {
  return LITECLUSTER_PROGRAM;
}

std::optional<std::filesystem::path> litestream_program() {
  const char* partners = std::getenv("LITECLUSTER_PARTNERS");
  const std::filesystem::path directory =
      partners != nullptr ? partners : std::filesystem::path(LITECLUSTER_SOURCE_DIR) / "build/partners";
  auto program = directory / "python/bin/litestream";
  if (!std::filesystem::exists(program)) return std::nullopt;
  return program;
}

Scene::Scene(const std::string& server_configuration) {
  base::configure_logging(base::LogLevel::off, base::LogFormat::text);
  nats::PrivateServerOptions options;
  options.directory = directory_ / "nats";
  options.extra_configuration = server_configuration;
  server_.emplace(need(nats::PrivateServer::start(patience(), std::move(options))));
}

log::OpenedBucket Scene::open_bucket(const std::string& name) const {
  NatsOptions options;
  options.urls = {url()};
  return need(log::open_bucket(patience(), options, name, true));
}

Child Scene::litecluster(const std::string& command, const std::filesystem::path& database,
                         const std::string& bucket, const std::vector<std::string>& more) const {
  std::vector<std::string> arguments{
      litecluster_program().string(), command, database.string(), "--nats", url(), "--bucket", bucket};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return Child(arguments, path(command + ".log"));
}

std::optional<Child> Scene::litestream(const std::vector<std::string>& arguments) const {
  const auto program = litestream_program();
  if (!program) return std::nullopt;
  std::vector<std::string> command{program->string()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return Child(command, path("litestream.log"));
}

void wait_until(const std::string& what, const std::function<bool()>& holds,
                std::chrono::microseconds pause) {
  const Context limit = patience();
  while (!holds()) {
    if (limit.done()) fail("gave up waiting until " + what);
    std::this_thread::sleep_for(pause);
  }
}

void wait_quiet(log::ObjectBucket& bucket) {
  std::uint64_t last = 0;
  int same = 0;
  wait_until(
      "the log is quiet",
      [&] {
        const std::uint64_t now = need(bucket.state(patience())).last_sequence;
        same = now == last && now > 0 ? same + 1 : 0;
        last = now;
        return same >= 3;
      },
      std::chrono::milliseconds(100));
}

double setting(const char* name, double otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtod(text, nullptr) : otherwise;
}

}  // namespace litecluster::bench
