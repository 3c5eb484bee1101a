#include "app/database_role.hpp"

#include <fcntl.h>

#include <system_error>
#include <utility>

#include "base/fault_point.hpp"
#include "base/file.hpp"
#include "base/logging.hpp"
#include "db/empty_database.hpp"
#include "log/fence.hpp"
#include "log/restore.hpp"
#include "ltx/encoder.hpp"
#include "ltx/stream.hpp"
#include "replication/database_fence.hpp"
#include "replication/promotion.hpp"
#include "replication/session_options.hpp"

namespace litecluster::app {

namespace {

constexpr std::chrono::milliseconds handover_patience{50};
// A step that waits does not say that it is well.
constexpr std::chrono::seconds log_patience{5};

std::string text_of(const std::filesystem::path& path) {
  return path.string();
}

Status write_difference(const Context& context, const db::CapturedTransaction& difference,
                        const std::filesystem::path& path) {
  auto file = base::AtomicFile::create(path);
  if (!file) return std::unexpected(file.error());
  ltx::FileSink sink(*file);
  ltx::Encoder encoder;
  const auto encoded = difference.encode(encoder, sink, context);
  if (!encoded) return std::unexpected(encoded.error());
  if (auto flushed = sink.flush(); !flushed) return flushed;
  return file->commit();
}

}  // namespace

DatabaseRole::DatabaseRole(DatabaseRoleOptions options, log::ObjectBucket& bucket)
    : options_(std::move(options)), bucket_(bucket) {}

DatabaseRole::~DatabaseRole() {
  // The session's threads use the watcher and bucket; they end first.
  share_session(nullptr);
}

bool DatabaseRole::primary_exists() const {
  std::error_code error;
  return std::filesystem::exists(options_.sqlite.path, error);
}

void DatabaseRole::share_session(std::shared_ptr<replication::LeaderSession> session) {
  std::shared_ptr<replication::LeaderSession> old;
  {
    const base::MutexLock lock(mutex_);
    old = std::exchange(session_, std::move(session));
  }
}

std::shared_ptr<replication::LeaderSession> DatabaseRole::session() const {
  const base::MutexLock lock(mutex_);
  return session_;
}

std::shared_ptr<replication::Follower> DatabaseRole::follower() const {
  const base::MutexLock lock(mutex_);
  return follower_;
}

db::DatabaseOptions DatabaseRole::capture_options() const {
  auto options = replication::database_options(options_.sqlite);
  options.switch_to_wal = true;
  return options;
}

Result<std::unique_ptr<db::Database>> DatabaseRole::attach(const Context& context, const db::LogEnd& end,
                                                           std::optional<db::Handover> handover) const {
  auto options = capture_options();
  options.handover = std::move(handover);
  return db::Database::attach(std::move(options), end, context);
}

Result<db::LogEnd> DatabaseRole::log_end(const Context& context) const {
  const auto view = log::read_log(context, bucket_);
  if (!view) return std::unexpected(view.error());
  return replication::log_end_of(view->end());
}

Status DatabaseRole::follow(const Context& context) {
  // A promotion that failed half-way has the replica or the primary open.
  let_go();
  auto watcher = std::exchange(kept_watcher_, nullptr);
  {
    const base::MutexLock lock(mutex_);
    if (dormant_watcher_) watcher = std::move(dormant_watcher_);
    dormant_watcher_.reset();
    dormant_position_.reset();
    last_position_.reset();
    if (follower_) return {};
  }
  if (!watcher || !watcher->status()) watcher = std::make_shared<log::LogWatcher>(bucket_, [] {});
  if (primary_exists()) {
    if (auto settled = settle_primary(context, watcher); !settled) {
      kept_watcher_ = watcher;  // the next try goes on with it
      return settled;
    }
    const base::MutexLock lock(mutex_);
    if (dormant_watcher_) return {};
  }
  return start_follower(std::move(watcher));
}

Status DatabaseRole::start_follower(std::shared_ptr<log::LogWatcher> watcher) {
  replication::FollowerOptions options;
  options.replica.path = options_.sqlite.replica;
  options.scrub_interval = options_.sqlite.scrub_interval;
  options.on_applied = options_.on_position;
  auto follower = replication::Follower::start(std::move(options), bucket_, std::move(watcher));
  if (!follower) return std::unexpected(follower.error());
  const base::MutexLock lock(mutex_);
  follower_ = std::move(*follower);
  return {};
}

// The watcher may not have seen yet what others have written meanwhile. Then the primary can look as if it
// were ahead, and is judged again when that is seen (overtaken()). An append of our own of which we never
// heard may then be judged together with the commits after it, as commits that the log does not have: more is
// put aside than need be.
Status DatabaseRole::settle_primary(const Context& context, const std::shared_ptr<log::LogWatcher>& watcher) {
  std::error_code ignored;
  if (std::filesystem::file_size(options_.sqlite.path, ignored) == 0) {
    // Created by a process that died before it wrote anything.
    std::filesystem::remove(options_.sqlite.path, ignored);
    return {};
  }
  if (auto complete = watcher->wait_complete(context.with_timeout(log_patience)); !complete) return complete;
  const log::LogView view = watcher->view();
  auto judged =
      judge_former_primary(context, {.database = capture_options(),
                                     .replica_position = db::position_path_of(options_.sqlite.replica),
                                     .view = view,
                                     .bucket = bucket_,
                                     .node = options_.node});
  if (!judged) return std::unexpected(judged.error().within("look at the former primary"));
  switch (judged->worth) {
    case PrimaryWorth::prefix: return primary_to_replica(*judged);
    case PrimaryWorth::diverged:
      return put_aside(context, options_.sqlite.path, std::move(judged->difference), view.highest_epoch());
    case PrimaryWorth::ahead: break;
  }
  base::log_info("holding commits that the log does not have; they are published when this node leads next",
                 {{"txid", to_string(judged->position.txid)}});
  const base::MutexLock lock(mutex_);
  dormant_watcher_ = watcher;
  dormant_position_ = judged->position;
  return {};
}

bool DatabaseRole::overtaken() const {
  const base::MutexLock lock(mutex_);
  if (!follower_ && !dormant_watcher_ && !session_) return true;
  if (!dormant_watcher_ || !dormant_position_) return false;
  // A watch that has ended for good sees nobody.
  if (dormant_watcher_->has_ended()) return true;
  return dormant_watcher_->with_view([](const log::LogView& view) { return view.end().txid; }) >
         dormant_position_->txid;
}

bool DatabaseRole::ready() const {
  const base::MutexLock lock(mutex_);
  return dormant_watcher_ != nullptr;
}

Status DatabaseRole::primary_to_replica(const FormerPrimary& primary) {
  const auto& replica_path = options_.sqlite.replica;
  // A replica that lies there as well is older: the primary was made out of it. Its record goes last, since
  // it may be what says what the primary is.
  for (const char* suffix : {"", "-wal", "-shm"}) {
    if (auto removed = base::remove_file(text_of(replica_path) + suffix); !removed) return removed;
  }
  LITECLUSTER_FAULT_POINT("retire.move");
  if (auto moved = db::move_database(options_.sqlite.path, replica_path); !moved) return moved;
  if (auto removed = base::remove_file(db::position_path_of(replica_path)); !removed) return removed;
  LITECLUSTER_FAULT_POINT("retire.adopt");
  db::ReplicaOptions replica_options;
  replica_options.path = replica_path;
  auto replica = db::Replica::open(std::move(replica_options));
  if (!replica) return std::unexpected(replica.error());
  const auto adopted = replica->adopt(
      {primary.position.txid, primary.position.checksum, primary.epoch, primary.file}, primary.doubtful_to);
  if (auto closed = replica->close(); !closed) return closed;
  if (adopted) return {};
  // Somebody changed the file behind SQLite's back. Nobody can say what it is worth, so it is kept.
  base::log_error("the former primary is not what it was", {{"reason", adopted.error().message()}});
  if (adopted.error().code() != ErrorCode::corrupt) return adopted;
  return put_aside(Context::background(), replica_path, std::nullopt, primary.epoch);
}

// Keeps the primary with commits that never reached the log, and an LTX file of just the pages that differ.
Status DatabaseRole::put_aside(const Context& context, const std::filesystem::path& database,
                               std::optional<db::CapturedTransaction> difference, Epoch epoch) {
  const std::string base_name = text_of(options_.sqlite.path) + ".diverged-" + std::to_string(epoch.value());
  std::filesystem::path directory = base_name;
  for (int number = 2; std::filesystem::exists(directory / options_.sqlite.path.filename()); ++number) {
    directory = base_name + "." + std::to_string(number);
  }
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return std::unexpected(base::errno_error(error.value(), "create", directory.string()));
  // It only spares a comparison later: a full disk must not keep the node from becoming a standby.
  if (difference) {
    const auto path = directory / "unreplicated.ltx";
    if (auto written = write_difference(context, *difference, path); !written) {
      base::log_warning("cannot write the pages that differ", {{"reason", written.error().message()}});
    }
    difference.reset();
  }
  LITECLUSTER_FAULT_POINT("aside.move");
  if (auto moved = db::move_database(database, directory / options_.sqlite.path.filename()); !moved)
    return moved;
  base::log_error("commits that never reached the log are kept aside", {{"directory", directory.string()}});
  return {};
}

Status DatabaseRole::catch_up(const Context& context) {
  in_place_ = false;
  std::optional<Position> judged;
  {
    const base::MutexLock lock(mutex_);
    in_place_ = dormant_watcher_ != nullptr;
    watcher_ = std::move(dormant_watcher_);
    judged = std::exchange(dormant_position_, std::nullopt);
  }
  if (!in_place_) {
    const auto follower = this->follower();
    if (!follower)
      return failure(ErrorCode::failed_precondition, "catch up", text_of(options_.sqlite.replica),
                     "nobody follows");
    return follower->catch_up(context);
  }
  if (auto complete = watcher_->wait_complete(context); !complete) return complete;
  const db::LogEnd end =
      replication::log_end_of(watcher_->with_view([](const log::LogView& view) { return view.end(); }));
  // What was proven was proven for the log as it ended then.
  if (judged && end.txid != judged->txid) {
    return failure(ErrorCode::conflict, "catch up", text_of(options_.sqlite.path),
                   "others have written since it was looked at");
  }
  auto database = attach(context, end);
  if (!database) return std::unexpected(database.error());
  database_ = std::move(*database);
  return {};
}

Status DatabaseRole::fence(const Context& context, Epoch epoch) {
  const log::Author author{.epoch = epoch, .node = options_.node, .incarnation = options_.incarnation};
  if (!in_place_) {
    std::shared_ptr<replication::Follower> follower;
    {
      const base::MutexLock lock(mutex_);
      follower = std::move(follower_);
    }
    if (follower) {
      feeder_ = follower->stop();
      watcher_ = follower->take_watcher();
    }
  }
  // Whoever followed until now knows the log; reading a long one anew would take longer than all the rest.
  std::optional<log::LogView> view;
  if (watcher_ && watcher_->status()) {
    view = watcher_->view();
    // A seed comes from a listing, which can be ahead of the watch.
    if (feeder_ && view->end().txid < feeder_->replica().position().txid) view.reset();
  } else {
    watcher_ = std::make_shared<log::LogWatcher>(bucket_, [] {});
  }
  appender_ = std::make_unique<log::Appender>(bucket_, author, watcher_->read_end());
  if (!in_place_ && feeder_->replica().state() == db::ReplicaState::empty) {
    // The log was empty when we caught up: this is the first leader of a new cluster.
    const auto end = log_end(context);
    if (!end) return std::unexpected(end.error());
    if (end->txid.is_zero()) {
      if (auto created = db::create_empty_database(options_.sqlite.path); !created) return created;
      auto database = attach(context, *end);
      if (!database) return std::unexpected(database.error());
      database_ = std::move(*database);
      in_place_ = true;
    }
  }
  if (!in_place_) {
    const auto fenced =
        replication::fence_with_replica(context, bucket_, *appender_, *feeder_, std::move(view));
    if (!fenced) return std::unexpected(fenced.error());
    watcher_->add(*fenced);
    fence_ = replication::log_end_of(*fenced);
    return {};
  }
  const db::AttachReport& attached = database_->attach_report();
  if (attached.outcome == db::AttachOutcome::complete && !attached.log_end.is_zero()) {
    return failure(ErrorCode::conflict, "fence", text_of(options_.sqlite.path),
                   "it cannot be proven to follow from the log's end: " + attached.reason);
  }
  const auto options = replication::leader_session_options(options_.sqlite, options_.node);
  replication::DatabaseFence fence(*database_, options.publisher.encoding,
                                   options.publisher.outbox.directory);
  LITECLUSTER_FAULT_POINT("promote.fence");
  const auto fenced = log::fence_log(context, bucket_, *appender_, fence.driver(), std::move(view));
  if (!fenced) return std::unexpected(fenced.error());
  watcher_->add(*fenced);
  LITECLUSTER_FAULT_POINT("promote.fenced");
  base::log_info("the log is fenced", {{"epoch", epoch.value()}, {"txid", to_string(fenced->name.max)}});
  return database_->acknowledge(fenced->name.max, epoch);
}

Status DatabaseRole::seal_replica(const Context& /*context*/) {
  if (in_place_ || !feeder_) return {};
  LITECLUSTER_FAULT_POINT("promote.seal");
  auto sealed = feeder_->replica().hand_over(false, handover_patience);
  if (!sealed) return std::unexpected(sealed.error());
  handover_ = std::move(*sealed);
  feeder_.reset();
  return {};
}

Status DatabaseRole::install_primary(const Context& context) {
  if (in_place_) return {};
  if (primary_exists()) {
    if (auto aside = put_aside(context, options_.sqlite.path, std::nullopt, appender_->author().epoch);
        !aside)
      return aside;
  }
  // What was stored about an earlier primary does not describe this one.
  const auto state_directory = replication::state_directory(options_.sqlite.path);
  std::error_code error;
  std::filesystem::remove_all(state_directory, error);
  if (error) return std::unexpected(base::errno_error(error.value(), "remove", state_directory.string()));
  LITECLUSTER_FAULT_POINT("promote.install");
  if (auto moved = db::move_database(options_.sqlite.replica, options_.sqlite.path); !moved) return moved;
  LITECLUSTER_FAULT_POINT("promote.installed");
  return {};
}

Status DatabaseRole::attach_capture(const Context& context) {
  if (!database_) {
    auto database = attach(context, fence_, std::exchange(handover_, {}));
    if (!database) return std::unexpected(database.error());
    database_ = std::move(*database);
  }
  // Until now it said what the database is (former_primary.hpp). Now capture does.
  std::error_code ignored;
  std::filesystem::remove(db::position_path_of(options_.sqlite.replica), ignored);
  auto options = replication::leader_session_options(options_.sqlite, options_.node);
  auto session = replication::LeaderSession::start(std::move(options), bucket_, std::move(watcher_),
                                                   std::move(appender_), std::move(database_));
  if (!session) return std::unexpected(session.error());
  (*session)->publisher().on_fatal(options_.on_fatal);
  share_session(std::move(*session));
  LITECLUSTER_FAULT_POINT("promote.attached");
  return {};
}

Status DatabaseRole::final_sync(const Context& context) {
  LITECLUSTER_FAULT_POINT("demote.sync");
  const auto session = this->session();
  if (!session) return {};
  return session->publisher().sync(context);
}

Status DatabaseRole::detach_capture() {
  LITECLUSTER_FAULT_POINT("demote.detach");
  // For the record of the lease, which is released before anybody follows again.
  const auto last = position();
  if (const auto session = this->session()) kept_watcher_ = session->shared_watcher();
  let_go();
  const base::MutexLock lock(mutex_);
  last_position_ = last;
  return {};
}

void DatabaseRole::let_go() {
  share_session(nullptr);
  database_.reset();
  appender_.reset();
  watcher_.reset();
  feeder_.reset();
  handover_.reset();
}

std::optional<Position> DatabaseRole::position() const {
  if (const auto session = this->session()) return session->publisher().position();
  if (const auto follower = this->follower()) {
    const auto position = follower->position();
    return Position{position.txid, position.checksum};
  }
  const base::MutexLock lock(mutex_);
  return dormant_position_ ? dormant_position_ : last_position_;
}

Lag DatabaseRole::lag() const {
  if (session()) return {.txids = 0, .time = std::chrono::nanoseconds(0)};
  if (const auto follower = this->follower()) return follower->lag();
  return {};
}

Epoch DatabaseRole::log_epoch() const {
  if (const auto session = this->session()) return session->epoch();
  if (const auto follower = this->follower()) return follower->log_epoch();
  const base::MutexLock lock(mutex_);
  if (!dormant_watcher_) return {};
  return dormant_watcher_->with_view([](const log::LogView& view) { return view.highest_epoch(); });
}

std::optional<Error> DatabaseRole::problem() const {
  if (const auto session = this->session()) return session->problem();
  if (const auto follower = this->follower()) return follower->problem();
  return std::nullopt;
}

Status DatabaseRole::sync(const Context& context) const {
  const auto session = this->session();
  if (!session)
    return failure(ErrorCode::not_leader, "sync", text_of(options_.sqlite.path), "this node does not lead");
  return session->publisher().sync(context);
}

Result<log::Object> DatabaseRole::snapshot(const Context& context) const {
  const auto session = this->session();
  if (!session) {
    return failure(ErrorCode::not_leader, "create snapshot", text_of(options_.sqlite.path),
                   "this node does not lead");
  }
  return session->maintainer().snapshot(context);
}

std::vector<std::string> DatabaseRole::diverged() const {
  std::vector<std::string> directories;
  const std::string prefix = options_.sqlite.path.filename().string() + ".diverged-";
  std::filesystem::path parent = options_.sqlite.path.parent_path();
  if (parent.empty()) parent = ".";
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(parent, error)) {
    if (entry.path().filename().string().starts_with(prefix)) directories.push_back(entry.path().string());
  }
  return directories;
}

}  // namespace litecluster::app
