// `litecluster replicate` and `litecluster follow`: publisher alone, standby alone, without election.
#include <unistd.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/backoff.hpp"
#include "base/logging.hpp"
#include "base/random.hpp"
#include "cli/commands.hpp"
#include "cli/config_flags.hpp"
#include "daemon/signal_context.hpp"
#include "log/open_bucket.hpp"
#include "replication/follower.hpp"
#include "replication/leader_session.hpp"
#include "replication/position_beacon.hpp"
#include "replication/session_options.hpp"

namespace litecluster::cli {
namespace {

struct Arguments {
  ConfigFlags flags;
  std::string database;
  bool switch_to_wal = false;
};

// What both commands need to know, checked.
Result<daemon::Config> settings_of(const Arguments& arguments) {
  auto config = resolve_config(arguments.flags);
  if (!config) return config;
  if (!config->app.sqlite) config->app.sqlite.emplace();
  Sqlite& sqlite = *config->app.sqlite;
  sqlite.path = arguments.database;
  if (sqlite.bucket.empty()) {
    if (config->app.cluster.empty()) {
      return failure(ErrorCode::invalid_argument, "find the bucket", "",
                     "give --cluster NAME or --bucket BUCKET");
    }
    sqlite.bucket = log::default_bucket(config->app.cluster);
  }
  base::configure_logging(config->log_level, config->log_format);
  return config;
}

// Connects, trying until it works or can never work.
Result<log::OpenedBucket> open_patiently(const Context& context, const daemon::Config& config, bool create) {
  base::Backoff backoff(std::chrono::milliseconds(100), std::chrono::seconds(5));
  bool told = false;
  while (true) {
    auto opened = log::open_bucket(context, config.app.nats, config.app.sqlite->bucket, create);
    if (opened || (opened.error().code() != ErrorCode::unavailable &&
                   opened.error().code() != ErrorCode::deadline_exceeded)) {
      return opened;
    }
    if (!std::exchange(told, true))
      base::log_warning("waiting for NATS", {{"reason", opened.error().message()}});
    if (context.wait_for(backoff.next(base::random_u64()))) return opened;
  }
}

// Publishes until the Context ends, or for good reason. A database that was replaced is attached to anew.
Status publish(const Context& context, const daemon::Config& config, const Arguments& arguments) {
  const auto opened = open_patiently(context, config, true);
  if (!opened) return std::unexpected(opened.error());
  base::Backoff backoff(std::chrono::milliseconds(100), std::chrono::seconds(5));
  while (!context.done()) {
    auto options = replication::leader_session_options(*config.app.sqlite, config.app.node);
    auto database = replication::database_options(*config.app.sqlite);
    database.switch_to_wal = arguments.switch_to_wal;
    const auto session = replication::LeaderSession::take_over(context, std::move(options),
                                                               std::move(database), *opened->bucket);
    if (!session) {
      if (!replication::may_pass(session.error())) return std::unexpected(session.error());
      base::log_warning("cannot publish yet", {{"reason", session.error().message()}});
      context.wait_for(backoff.next(base::random_u64()));
      continue;
    }
    backoff.reset();
    base::log_info("publishing", {{"database", config.app.sqlite->path.string()},
                                  {"bucket", config.app.sqlite->bucket},
                                  {"epoch", (*session)->epoch().value()}});
    while (!context.wait_for(std::chrono::milliseconds(200))) {
      const auto fatal = (*session)->publisher().fatal();
      if (!fatal) continue;
      if (fatal->code() == ErrorCode::deposed) return std::unexpected(*fatal);
      base::log_warning("attaching to the database anew", {{"reason", fatal->message()}});
      break;
    }
    if (context.done()) {
      // What is committed by now still goes out, if NATS is there.
      return (*session)->publisher().sync(Context::background().with_timeout(std::chrono::seconds(10)));
    }
  }
  return {};
}

// Whom the published positions belong to.
std::string cluster_of(const daemon::Config& config) {
  if (!config.app.cluster.empty()) return config.app.cluster;
  std::string bucket = config.app.sqlite->bucket;
  if (bucket.ends_with("-wal")) bucket.resize(bucket.size() - 4);
  return bucket;
}

std::string node_of(const daemon::Config& config) {
  if (!config.app.node.empty()) return config.app.node;
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) != 0) return "standby";
  const std::string_view host(name);
  return std::string(host.substr(0, host.find('.')));
}

// A file system that is full or read-only, or files that belong to somebody else, may be set right while we
// wait; another process that follows into this replica, or a path that is none, will not.
bool may_be_set_right(ErrorCode code) {
  return code == ErrorCode::permission_denied || code == ErrorCode::resource_exhausted ||
         code == ErrorCode::io;
}

Result<std::unique_ptr<replication::Follower>> start_patiently(const Context& context,
                                                               const replication::FollowerOptions& options,
                                                               log::ObjectBucket& bucket) {
  base::Backoff backoff(std::chrono::milliseconds(100), std::chrono::seconds(2));
  std::string told;
  while (true) {
    auto follower = replication::Follower::start(options, bucket);
    if (follower || !may_be_set_right(follower.error().code())) return follower;
    if (std::exchange(told, follower.error().message()) != follower.error().message()) {
      base::log_warning("cannot open the replica, trying again", {{"reason", told}});
    }
    if (context.wait_for(backoff.next(base::random_u64()))) return follower;
  }
}

// Until the Context ends. Problems are told where they are met, but for having no reason at all.
Status follow(const Context& context, const daemon::Config& config) {
  const auto opened = open_patiently(context, config, false);
  if (context.done()) return {};
  if (!opened) return std::unexpected(opened.error());
  const auto beacon =
      replication::PositionBeacon::start(opened->connection, cluster_of(config), node_of(config));
  if (!beacon) return std::unexpected(beacon.error());
  replication::FollowerOptions options;
  options.replica.path = config.app.sqlite->path;
  options.on_applied = [&](const db::ReplicaPosition& position) { (*beacon)->moved(position); };
  const auto follower = start_patiently(context, options, *opened->bucket);
  if (context.done()) return {};
  if (!follower) return std::unexpected(follower.error());
  base::log_info("following", {{"replica", config.app.sqlite->path.string()},
                               {"bucket", config.app.sqlite->bucket},
                               {"txid", to_string((*follower)->position().txid)}});
  bool stalled = false;
  do {
    const replication::StandbyReport report{
        .position = (*follower)->position(), .lag = (*follower)->lag(), .problem = (*follower)->problem()};
    (*beacon)->report(report);
    const bool no_progress = report.problem && report.problem->code() == ErrorCode::deadline_exceeded;
    if (no_progress && !stalled) base::log_error("no progress", {{"reason", report.problem->message()}});
    stalled = no_progress;
  } while (!context.wait_for(std::chrono::milliseconds(500)));
  base::log_info("stopped following", {{"txid", to_string((*follower)->position().txid)}});
  return {};
}

bool concerns_replication(std::string_view key) {
  return key == "cluster" || key == "node" || key.starts_with("nats.") || key.starts_with("log.") ||
         (key.starts_with("sqlite.") && key != "sqlite.path" && key != "sqlite.replica");
}

}  // namespace

void add_replicate_commands(CommandLine& line) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* replicate = line.program.add_subcommand(
      "replicate", "Ship every commit of a database into its bucket, without election");
  replicate->add_option("database", arguments->database, "the database file")->required();
  replicate->add_flag("--switch-to-wal", arguments->switch_to_wal,
                      "switch the database to WAL mode if it is not");
  add_config_flags(*replicate, arguments->flags, "Settings", concerns_replication);
  replicate->callback([&line, arguments] {
    const auto config = settings_of(*arguments);
    if (!config) return report(line, config.error());
    const auto done = publish(daemon::context_until_signal(), *config, *arguments);
    if (!done) report(line, done.error());
  });

  CLI::App* standby = line.program.add_subcommand("follow", "Keep a readable copy of a database up to date");
  standby->add_option("database", arguments->database, "the copy; it may be read at any time")->required();
  add_config_flags(*standby, arguments->flags, "Settings", concerns_replication);
  standby->callback([&line, arguments] {
    const auto config = settings_of(*arguments);
    if (!config) return report(line, config.error());
    const auto done = follow(daemon::context_until_signal(), *config);
    if (!done) report(line, done.error());
  });
}

}  // namespace litecluster::cli
