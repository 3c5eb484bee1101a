// `litecluster replicate` and `litecluster follow`: publisher alone, standby alone, without election.
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "app/option_check.hpp"
#include "base/backoff.hpp"
#include "base/file.hpp"
#include "base/heap.hpp"
#include "base/logging.hpp"
#include "base/random.hpp"
#include "cli/commands.hpp"
#include "cli/config_flags.hpp"
#include "cli/problem_log.hpp"
#include "daemon/signal_context.hpp"
#include "db/capture_preflight.hpp"
#include "db/replica.hpp"
#include "log/open_bucket.hpp"
#include "replication/content_origin.hpp"
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
  bool take_over = false;
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
  if (auto checked = app::check_sqlite(sqlite); !checked) return std::unexpected(checked.error());
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

// Whether this database was ever published: then its bucket has to be there, and is not made anew.
bool was_published(const Sqlite& sqlite) {
  std::error_code ignored;
  return std::filesystem::exists(replication::state_directory(sqlite.path) / "base", ignored);
}

// Names the bucket that a database was published into. Only a help against mistakes, so it may be lost.
std::filesystem::path bucket_note(const Sqlite& sqlite) {
  return replication::state_directory(sqlite.path) / "bucket";
}

void note_bucket(const Sqlite& sqlite) {
  static_cast<void>(base::write_file_unsynced(bucket_note(sqlite), base::as_bytes(sqlite.bucket)));
}

// Whether this database was published into this very bucket, as far as is known: `run` leaves no note.
bool was_published_there(const Sqlite& sqlite) {
  if (!was_published(sqlite)) return false;
  constexpr std::uint64_t name_size_max = 1024;
  const auto noted = base::read_file(bucket_note(sqlite), name_size_max);
  return !noted || base::as_text(*noted) == sqlite.bucket;
}

// Publishing, from the first attempt to attach to the end of the process.
class Replication {
 public:
  Replication(const Context& context, const daemon::Config& config, const Arguments& arguments,
              log::ObjectBucket& bucket)
      : context_(context), config_(config), arguments_(arguments), bucket_(bucket) {}

  // Ends with the Context, or for good reason. A database that was replaced is attached to anew.
  Status run() {
    base::Backoff backoff(std::chrono::milliseconds(100), std::chrono::seconds(5));
    while (!context_.done()) {
      const auto session = take_over();
      if (!session) {
        if (context_.done()) return {};
        if (!attached_ && is_attached_elsewhere(session.error())) return published_already();
        if (!passes(session.error())) return std::unexpected(session.error());
        problems_.observe(session.error());
        context_.wait_for(backoff.next(base::random_u64()));
        continue;
      }
      attached_ = true;
      note_bucket(*config_.app.sqlite);
      const base::BootTime begun = base::system_clock().boot_time();
      base::log_info("publishing", {{"database", config_.app.sqlite->path.string()},
                                    {"bucket", config_.app.sqlite->bucket},
                                    {"epoch", (*session)->epoch().value()}});
      if (auto ended = watch(**session); !ended) return ended;
      // Each session begins with an object in the log: one that keeps ending must not fill it.
      if (base::system_clock().boot_time() - begun > session_min) backoff.reset();
      context_.wait_for(backoff.next(base::random_u64()));
    }
    return {};
  }

 private:
  Result<std::unique_ptr<replication::LeaderSession>> take_over() {
    if (!is_of_this_log_) {
      if (auto checked = require_this_log(); !checked) return std::unexpected(checked.error());
    }
    is_of_this_log_ = true;
    auto options = replication::leader_session_options(*config_.app.sqlite, config_.app.node);
    options.maintainer.author.incarnation = incarnation_;
    auto database = replication::database_options(*config_.app.sqlite);
    database.switch_to_wal = arguments_.switch_to_wal;
    return replication::LeaderSession::take_over(context_, std::move(options), std::move(database), bucket_,
                                                 &epoch_);
  }

  // A log that this side does not know, and that leads to something else, is another database's: most likely
  // the bucket's name is wrong.
  Status require_this_log() const {
    const Sqlite& sqlite = *config_.app.sqlite;
    if (arguments_.take_over || was_published_there(sqlite)) return {};
    if (auto place = db::check_location(sqlite.path); !place) return place;
    const auto busy_timeout = db::DatabaseOptions().busy_timeout;
    if (auto content = db::check_content(sqlite.path, arguments_.switch_to_wal, busy_timeout); !content)
      return content;
    const auto related = replication::comes_from_log(context_, sqlite.path, bucket_);
    if (!related) return std::unexpected(related.error());
    if (*related) return {};
    return failure(ErrorCode::already_exists, "publish", sqlite.path.string(),
                   "the bucket " + sqlite.bucket +
                       " holds the log of another database: the two share hardly a page, and this one was "
                       "never published there. Is the bucket's name right? With --take-over this database "
                       "becomes the next state of that log, also for everybody who follows it");
  }

  // Once it was there, a database that is gone or empty may come back; before, the path is more likely wrong.
  bool passes(const Error& error) const {
    const bool absent =
        error.code() == ErrorCode::not_found || error.code() == ErrorCode::failed_precondition;
    return replication::may_pass(error) || (attached_ && absent);
  }

  // Another process holds the state directory; SQLite's own locks are told with the database's path.
  bool is_attached_elsewhere(const Error& error) const {
    return error.code() == ErrorCode::busy &&
           error.subject() == replication::state_directory(config_.app.sqlite->path).string();
  }

  Status published_already() const {
    return failure(ErrorCode::conflict, "publish", config_.app.sqlite->path.string(),
                   "another litecluster process on this machine (replicate, or run) publishes this database; "
                   "stop it first");
  }

  // Until the session cannot go on; an error when no other can either.
  Status watch(replication::LeaderSession& session) {
    const Context ended = context_.with_cancel();
    session.publisher().on_fatal([ended](const Error& /*reason*/) { ended.cancel(); });
    while (!ended.wait_for(std::chrono::seconds(1))) problems_.observe(session.problem());
    if (const auto fatal = session.publisher().fatal(); fatal && !context_.done()) {
      if (fatal->code() == ErrorCode::deposed || fatal->code() == ErrorCode::gap)
        return std::unexpected(*fatal);
      base::log_warning("attaching to the database anew", {{"reason", fatal->message()}});
      return {};
    }
    // What is committed by now still goes out, if NATS is there.
    return session.publisher().sync(Context::background().with_timeout(std::chrono::seconds(10)));
  }

  static constexpr base::Duration session_min = std::chrono::seconds(10);

  const Context& context_;
  const daemon::Config& config_;
  const Arguments& arguments_;
  log::ObjectBucket& bucket_;
  const std::string incarnation_ = base::random_hex(16);
  Epoch epoch_;
  bool attached_ = false;
  bool is_of_this_log_ = false;
  ProblemLog problems_{"publishing"};
};

Status bucket_is_gone(const daemon::Config& config) {
  return failure(ErrorCode::not_found, "publish", config.app.sqlite->path.string(),
                 "it was published before, but the bucket " + config.app.sqlite->bucket +
                     " does not exist on these NATS servers: restore its stream, or, to begin a new log, "
                     "remove " +
                     replication::state_directory(config.app.sqlite->path).string());
}

Status publish(const Context& context, const daemon::Config& config, const Arguments& arguments) {
  const bool published = was_published(*config.app.sqlite);
  const auto opened = open_patiently(context, config, !published);
  if (context.done()) return {};
  if (!opened && published && opened.error().code() == ErrorCode::not_found) return bucket_is_gone(config);
  if (!opened) return std::unexpected(opened.error());
  return Replication(context, config, arguments, *opened->bucket).run();
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

// What follows makes the file a copy of the log. One that was never a copy, and so has no record of its
// position, is somebody's database, and may be the only one.
Status refuse_foreign_database(const std::filesystem::path& path) {
  std::error_code ignored;
  const auto size = std::filesystem::file_size(path, ignored);
  if (ignored || size == 0 || std::filesystem::exists(db::position_path_of(path), ignored)) return {};
  return failure(
      ErrorCode::already_exists, "follow", path.string(),
      "it is not a copy made by follow, and would be replaced by one: name another file, or move this one "
      "away (to publish it, the command is replicate)");
}

// Until the Context ends. Problems are told where they are met, but for having no reason at all.
Status follow(const Context& context, const daemon::Config& config) {
  if (auto own = refuse_foreign_database(config.app.sqlite->path); !own) return own;
  const auto opened = open_patiently(context, config, false);
  if (context.done()) return {};
  if (!opened) return std::unexpected(opened.error());
  const auto beacon =
      replication::PositionBeacon::start(opened->connection, cluster_of(config), node_of(config));
  if (!beacon) return std::unexpected(beacon.error());
  replication::FollowerOptions options;
  options.replica.path = config.app.sqlite->path;
  options.scrub_interval = config.app.sqlite->scrub_interval;
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
  } while (!context.wait_for(std::chrono::seconds(1)));
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
  replicate->add_flag("--take-over", arguments->take_over,
                      "publish into a bucket that holds the log of another database");
  add_config_flags(*replicate, arguments->flags, "Settings", concerns_replication);
  replicate->callback([&line, arguments] {
    const auto config = settings_of(*arguments);
    if (!config) return report(line, config.error());
    base::use_one_heap();
    const auto done = publish(daemon::context_until_signal(), *config, *arguments);
    if (!done) report(line, done.error());
  });

  CLI::App* standby = line.program.add_subcommand("follow", "Keep a readable copy of a database up to date");
  standby->add_option("database", arguments->database, "the copy; it may be read at any time")->required();
  add_config_flags(*standby, arguments->flags, "Settings", concerns_replication);
  standby->callback([&line, arguments] {
    const auto config = settings_of(*arguments);
    if (!config) return report(line, config.error());
    base::use_one_heap();
    const auto done = follow(daemon::context_until_signal(), *config);
    if (!done) report(line, done.error());
  });
}

}  // namespace litecluster::cli
