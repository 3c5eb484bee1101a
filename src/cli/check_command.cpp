// `litecluster check`: looks at everything that a node will need, and says what is wrong or not as it should
// be.
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "backend/health_probe.hpp"
#include "backend/process.hpp"
#include "base/file_descriptor.hpp"
#include "cli/commands.hpp"
#include "cli/config_flags.hpp"
#include "daemon/node_process.hpp"
#include "daemon/preflight.hpp"
#include "daemon/signal_context.hpp"
#include "db/capture_preflight.hpp"
#include "db/sqlite_version.hpp"
#include "log/open_bucket.hpp"
#include "nats/connection.hpp"
#include "nats/jetstream.hpp"
#include "nats/private_server.hpp"
#include "vip/interface_addresses.hpp"
#include "vip/neighbours.hpp"

namespace litecluster::cli {
namespace {

using namespace std::chrono_literals;
using daemon::Finding;

class Checks {
 public:
  Checks(const Context& context, daemon::Config config) : context_(context), config_(std::move(config)) {}

  std::vector<Finding> run() {
    if (!config_.app.node.empty()) look_at_configuration();
    look_at_nats();
    if (config_.app.sqlite) look_at_database(*config_.app.sqlite);
    if (config_.app.backend) look_at_backend(*config_.app.backend);
    if (config_.app.vip) look_at_address(*config_.app.vip);
    look_at_machine();
    return std::move(findings_);
  }

 private:
  void add(Finding finding) { findings_.push_back(std::move(finding)); }
  void fine(std::string name, std::string detail) {
    add({.name = std::move(name), .level = HealthLevel::passing, .detail = std::move(detail), .advice = {}});
  }
  void warn(std::string name, std::string detail, std::string advice) {
    add({.name = std::move(name),
         .level = HealthLevel::warning,
         .detail = std::move(detail),
         .advice = std::move(advice)});
  }
  void bad(std::string name, std::string detail, std::string advice) {
    add({.name = std::move(name),
         .level = HealthLevel::critical,
         .detail = std::move(detail),
         .advice = std::move(advice)});
  }

  void look_at_configuration() {
    if (const auto valid = daemon::validate(config_); !valid) {
      bad("configuration", valid.error().message(), "docs/configuration.md names all keys");
    } else {
      fine("configuration", fmt::format("cluster {}, node {}", config_.app.cluster, config_.app.node));
    }
    add(daemon::judge_lease(config_.app.lease_ttl));
  }

  void look_at_nats() {
    if (config_.app.nats.urls.empty()) return look_at_private_server();
    const auto connection = nats::Connection::connect(context_, config_.app.nats);
    if (!connection) {
      return bad("nats", connection.error().message(),
                 "start the servers, or correct nats.urls and the credentials");
    }
    const auto info = (*connection)->server_info(context_);
    if (!info) return bad("nats", info.error().message(), "is it a NATS server?");
    fine("nats", fmt::format("{} answers{}", info->name,
                             info->cluster.empty() ? ", alone" : ", in the cluster " + info->cluster));
    add(daemon::judge_nats_version(info->version));
    add(daemon::judge_max_payload(info->max_payload));
    const nats::JetStream jetstream(*connection);
    const auto account = jetstream.account_info(context_);
    if (!account) {
      return bad(
          "jetstream", account.error().message(),
          "start the servers with JetStream (nats-server -js, or a jetstream block) and allow it to the "
          "account");
    }
    fine("jetstream", fmt::format("{} streams", account->streams));
    add(daemon::judge_sync(sync_interval(**connection)));
    look_at_buckets(jetstream, !info->cluster.empty());
  }

  void look_at_private_server() {
    const auto binary = nats::find_server_binary();
    if (!binary) {
      return bad("nats", "nats.urls is empty, and " + binary.error().message(),
                 "name the servers, or install nats-server");
    }
    const auto version = nats::server_binary_version(*binary);
    warn("nats", fmt::format("nats.urls is empty: a private {} is started on loopback", binary->string()),
         "fine for one node; a cluster of nodes needs servers of its own");
    if (version) add(daemon::judge_nats_version(*version));
  }

  // Only the system account is told; others get no answer.
  std::optional<std::string> sync_interval(nats::Connection& connection) const {
    const std::string request = R"({"config":true})";
    const auto answer =
        connection.request(context_.with_timeout(500ms), "$SYS.REQ.SERVER.PING.JSZ", base::as_bytes(request));
    if (!answer) return std::nullopt;
    const auto object = nlohmann::json::parse(answer->text(), nullptr, false);
    if (!object.is_object()) return std::nullopt;
    const auto config = object.value("/data/config"_json_pointer, nlohmann::json());
    if (!config.is_object()) return std::nullopt;
    if (config.value("sync_always", false)) return "always";
    if (!config.contains("sync_interval") || !config["sync_interval"].is_number()) return std::nullopt;
    return fmt::format("{} s", config["sync_interval"].get<std::int64_t>() / 1'000'000'000);
  }

  void look_at_buckets(const nats::JetStream& jetstream, bool clustered) {
    const std::string cluster = config_.app.cluster;
    if (cluster.empty()) return;
    std::string log = config_.app.sqlite ? config_.app.sqlite->bucket : "";
    if (log.empty()) log = log::default_bucket(cluster);
    const std::array<std::pair<std::string, std::string>, 2> buckets{
        {{"log bucket", "OBJ_" + log}, {"coordination bucket", "KV_" + cluster + "-coord"}}};
    for (const auto& [what, stream] : buckets) {
      const auto info = jetstream.stream_info(context_, stream);
      if (!info && info.error().code() == ErrorCode::not_found) {
        const auto copies = jetstream.replicas_for_new_stream(context_);
        fine(what, fmt::format("not there yet; it is created with {} {}", copies.value_or(1),
                               copies.value_or(1) == 1 ? "copy" : "copies"));
      } else if (!info) {
        bad(what, info.error().message(), "the node needs to read and write it");
      } else if (what == "log bucket") {
        for (Finding& finding : daemon::judge_bucket(what, *info, clustered)) add(std::move(finding));
      } else {
        // Small and self-limiting: only the copies are of interest.
        add(daemon::judge_bucket(what, *info, clustered).front());
      }
    }
  }

  void look_at_database(const Sqlite& sqlite) {
    add(daemon::judge_sqlite_version(db::sqlite_version()));
    const auto parent = sqlite.path.parent_path();
    const std::filesystem::path directory = parent.empty() ? "." : parent;
    std::error_code error;
    if (!std::filesystem::is_directory(directory, error)) {
      return bad("database", directory.string() + " is no directory", "make it");
    }
    if (::access(directory.c_str(), W_OK | X_OK) != 0) {
      bad("database", directory.string() + " is not writable for us",
          "give it to the user that litecluster runs as");
    }
    struct statvfs disk{};
    if (::statvfs(directory.c_str(), &disk) == 0) {
      add(daemon::judge_disk(std::uint64_t{disk.f_bavail} * disk.f_frsize,
                             std::uint64_t{disk.f_blocks} * disk.f_frsize));
    }
    if (!std::filesystem::exists(sqlite.path, error)) {
      return fine("database", sqlite.path.string() +
                                  " is not there yet; it comes from the log, or from the first leader");
    }
    if (const auto place = db::check_location(sqlite.path); !place) {
      return bad("database", place.error().message(), "docs/capture.md says what a database has to be");
    }
    if (const auto content = db::check_content(sqlite.path, false, 1s); !content) {
      return bad("database", content.error().message(), "docs/capture.md says what a database has to be");
    }
    fine("database", sqlite.path.string() + ", in WAL mode, on a local file system");
  }

  void look_at_backend(const Backend& backend) {
    if (!backend.systemd_unit.empty()) {
      return add(daemon::judge_unit(backend.systemd_unit, restart_of(backend.systemd_unit)));
    }
    if (backend.command.empty()) return;
    const std::string& program = backend.command.front();
    if (find_program(program)) return fine("backend", program);
    bad("backend", program + " is no program that can be run", "correct backend.command");
  }

  /// Empty when systemd does not say.
  std::string restart_of(const std::string& unit) {
    const base::FileDescriptor file(::memfd_create("litecluster-check", MFD_CLOEXEC));
    const backend::ProcessSpec spec{.arguments = {"systemctl", "show", "--property=Restart", "--value", unit},
                                    .environment = {},
                                    .directory = {}};
    const auto ended = backend::run_to_end(context_.with_timeout(5s), spec, file.get(), -1);
    std::array<char, 32> text{};
    const ssize_t size = ended && *ended == 0 ? ::pread(file.get(), text.data(), text.size(), 0) : 0;
    const std::string_view answer(text.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    return std::string(answer.substr(0, answer.find('\n')));
  }

  static bool find_program(const std::string& program) {
    if (program.find('/') != std::string::npos) return ::access(program.c_str(), X_OK) == 0;
    const char* path = std::getenv("PATH");
    std::string_view rest = path == nullptr ? "/usr/bin:/bin" : path;
    while (!rest.empty()) {
      const std::size_t colon = std::min(rest.find(':'), rest.size());
      const auto candidate = std::filesystem::path(rest.substr(0, colon)) / program;
      if (::access(candidate.c_str(), X_OK) == 0) return true;
      rest.remove_prefix(std::min(colon + 1, rest.size()));
    }
    return false;
  }

  void look_at_address(const Vip& vip) {
    const auto address = vip::parse_address(vip.address);
    if (!address) return bad("vip", address.error().message(), "vip.address is like 10.0.0.10/24");
    const auto here = vip::find_address(vip.interface, *address);
    if (!here)
      return bad("vip", here.error().message(), "vip.interface names a network interface of this host");
    const auto neighbours = vip::Neighbours::listen(vip.interface, *address);
    if (!neighbours) {
      return bad("vip", neighbours.error().message(),
                 "run as root, or with the capabilities CAP_NET_ADMIN and CAP_NET_RAW");
    }
    static_cast<void>(neighbours->ask());
    std::optional<vip::HardwareAddress> other;
    for (int round = 0; round < 20 && !other && !context_.wait_for(20ms); ++round)
      other = neighbours->other_holder();
    if (other) {
      return warn("vip", fmt::format("{} answers from {}", vip.address, vip::to_string(*other)),
                  "right if that is the present leader; otherwise somebody else uses the address");
    }
    fine("vip", fmt::format("{} is {} on {}, and nobody else answers for it", vip.address,
                            *here ? "there" : "not there", vip.interface));
  }

  void look_at_machine() {
    timex clock{};
    const int state = ::adjtimex(&clock);
    add(daemon::judge_clock(state != TIME_ERROR && (static_cast<unsigned>(clock.status) & STA_UNSYNC) == 0));
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) == 0) add(daemon::judge_open_files(files.rlim_cur));
    const auto socket = daemon::control_socket_path(config_);
    constexpr std::size_t socket_path_max = 107;
    if (!config_.app.node.empty() && socket.string().size() > socket_path_max) {
      bad("control socket", socket.string() + " is too long for a socket", "set `socket` to a shorter path");
    }
  }

  const Context context_;
  const daemon::Config config_;
  std::vector<Finding> findings_;
};

void print_findings(const CommandLine& line, const std::vector<Finding>& findings, HealthLevel worst) {
  if (line.common.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const Finding& finding : findings) {
      list.push_back({{"name", finding.name},
                      {"level", to_string(finding.level)},
                      {"detail", finding.detail},
                      {"advice", finding.advice}});
    }
    fmt::print("{}\n", nlohmann::json{{"level", to_string(worst)}, {"checks", list}}.dump());
    return;
  }
  for (const Finding& finding : findings) {
    fmt::print("{:<9} {:<28} {}\n", to_string(finding.level), finding.name, finding.detail);
    if (!finding.advice.empty()) fmt::print("{:<38} -> {}\n", "", finding.advice);
  }
}

void check(CommandLine& line, const ConfigFlags& flags) {
  auto config = resolve_config(flags);
  if (!config) return report(line, config.error());
  // One failed server must not keep the rest of the report waiting for long.
  config->app.nats.connect_timeout =
      std::min(config->app.nats.connect_timeout, std::chrono::milliseconds(3000));
  const Context context = daemon::context_until_signal().with_timeout(30s);
  const auto findings = Checks(context, std::move(*config)).run();
  const auto worst = std::ranges::max(findings, {}, &Finding::level).level;
  print_findings(line, findings, worst);
  if (worst == HealthLevel::critical) line.exit_status = ExitStatus::failed;
}

}  // namespace

void add_check_command(CommandLine& line) {
  const auto flags = std::make_shared<ConfigFlags>();
  CLI::App* command = line.program.add_subcommand(
      "check", "Look at servers, buckets, database and machine before a node is started");
  add_config_flags(*command, *flags, "Settings", [](std::string_view) { return true; });
  command->add_flag("--json", line.common.json, "print JSON");
  command->callback([&line, flags] { check(line, *flags); });
}

}  // namespace litecluster::cli
