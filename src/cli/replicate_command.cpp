// `litecluster replicate` and `litecluster follow`: publisher alone, standby alone, without election.
#include <memory>
#include <string>
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

Status follow(const Context& context, const daemon::Config& config) {
  const auto opened = open_patiently(context, config, false);
  if (!opened) return std::unexpected(opened.error());
  replication::FollowerOptions options;
  options.replica.path = config.app.sqlite->path;
  const auto follower = replication::Follower::start(std::move(options), *opened->bucket);
  if (!follower) return std::unexpected(follower.error());
  base::log_info("following", {{"replica", config.app.sqlite->path.string()},
                               {"bucket", config.app.sqlite->bucket},
                               {"txid", to_string((*follower)->position().txid)}});
  while (!context.wait_for(std::chrono::seconds(1))) {
    const auto problem = (*follower)->problem();
    // Somebody else's log, or one that lost its end: waiting does not help, the operator has to look.
    if (problem && problem->code() == ErrorCode::failed_precondition) {
      base::log_error("following is stuck", {{"reason", problem->message()}});
    }
  }
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
