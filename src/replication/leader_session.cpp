#include "replication/leader_session.hpp"

#include <algorithm>
#include <utility>

#include "base/logging.hpp"
#include "log/fence.hpp"
#include "replication/database_fence.hpp"
#include "replication/session_options.hpp"

namespace litecluster::replication {

namespace {

// Appends through log::Appender, whose compare-and-swap decides.
class LogAppendTarget final : public AppendTarget {
 public:
  LogAppendTarget(std::unique_ptr<log::Appender> appender, log::LogWatcher& watcher)
      : appender_(std::move(appender)), watcher_(watcher) {}

  [[nodiscard]] Status append(const Context& context, const OutboxItem& item) override {
    const auto object = appender_->append(
        context, {.payload = item.payload, .pre_apply = item.pre_apply, .checksum = item.position.checksum});
    if (!object) return std::unexpected(object.error());
    watcher_.add(*object);
    return {};
  }

 private:
  std::unique_ptr<log::Appender> appender_;
  log::LogWatcher& watcher_;
};

// Whether somebody else writes to our log, told by one raw object: of a newer epoch, wherever it stands; or
// behind our fence. Older epochs are no rivals: what they still write is stale, and the appender removes it.
bool is_of_a_rival(const log::Object& object, const log::Author& author, Txid fence) {
  if (object.name.level != log::raw_level || object.author == author) return false;
  if (object.author && object.author->epoch > author.epoch) return true;
  if (object.name.max <= fence) return false;
  return !object.author || object.author->epoch >= author.epoch;
}

Error deposed_by(const log::Object& object, const log::Author& author) {
  return {ErrorCode::deposed, "follow the log", to_string(object.name),
          "it was written by " +
              (object.author ? to_string(*object.author) : "Litestream, or another writer without an epoch") +
              "; we are " + to_string(author)};
}

}  // namespace

LeaderSession::~LeaderSession() {
  static_cast<void>(stop());
}

Result<std::unique_ptr<LeaderSession>> LeaderSession::start(LeaderSessionOptions options,
                                                            log::ObjectBucket& bucket,
                                                            std::shared_ptr<log::LogWatcher> watcher,
                                                            std::unique_ptr<log::Appender> appender,
                                                            std::unique_ptr<db::Database> database) {
  std::unique_ptr<LeaderSession> session(new LeaderSession);
  session->epoch_ = appender->author().epoch;
  options.publisher.epoch = session->epoch_;
  options.maintainer.author = appender->author();
  session->watcher_ = std::move(watcher);
  const log::Author author = appender->author();
  const Txid fence = appender->end();
  auto target = std::make_unique<LogAppendTarget>(std::move(appender), *session->watcher_);
  auto publisher = Publisher::start(std::move(options.publisher), std::move(database), std::move(target));
  if (!publisher) return std::unexpected(publisher.error());
  session->publisher_ = std::move(*publisher);
  auto maintainer =
      Maintainer::start(std::move(options.maintainer), bucket, *session->watcher_, *session->publisher_);
  if (!maintainer) return std::unexpected(maintainer.error());
  session->maintainer_ = std::move(*maintainer);
  session->watcher_->on_object(
      [publisher = session->publisher_.get(), author, fence](const log::Object& object) {
        if (is_of_a_rival(object, author, fence)) publisher->depose(deposed_by(object, author));
      });
  const auto end_with_the_history = [watcher = session->watcher_.get(),
                                     publisher = session->publisher_.get()] {
    const auto watching = watcher->status();
    if (!watching && watching.error().code() == ErrorCode::gap) publisher->depose(watching.error());
  };
  session->watcher_->listen(end_with_the_history);
  end_with_the_history();
  return session;
}

Result<std::unique_ptr<LeaderSession>> LeaderSession::take_over(const Context& context,
                                                                LeaderSessionOptions options,
                                                                db::DatabaseOptions database,
                                                                log::ObjectBucket& bucket,
                                                                Epoch* last_epoch) {
  auto watcher = std::make_shared<log::LogWatcher>(bucket, [] {});
  if (auto complete = watcher->wait_complete(context); !complete) return std::unexpected(complete.error());
  const log::LogView view = watcher->view();
  log::Author author = options.maintainer.author;
  author.epoch = std::max(view.highest_epoch(), last_epoch == nullptr ? Epoch() : *last_epoch).next();
  auto attached = db::Database::attach(std::move(database), log_end_of(view.end()), context);
  if (!attached) return std::unexpected(attached.error());
  const db::AttachReport& report = (*attached)->attach_report();
  base::log_info("attached to the database", {{"how", to_string(report.outcome)},
                                              {"reason", report.reason},
                                              {"pages_changed", report.pages_changed}});
  auto appender = std::make_unique<log::Appender>(bucket, author, watcher->read_end());
  if (last_epoch != nullptr) *last_epoch = author.epoch;
  DatabaseFence fence(**attached, options.publisher.encoding, options.publisher.outbox.directory);
  // Attaching may have taken long: the view of before could be older than what retention has removed since.
  std::optional<log::LogView> now;
  if (watcher->status()) now = watcher->view();
  const auto fenced = log::fence_log(context, bucket, *appender, fence.driver(), std::move(now));
  if (!fenced) return std::unexpected(fenced.error());
  if (auto known = (*attached)->acknowledge(fenced->name.max, author.epoch); !known) {
    return std::unexpected(known.error());
  }
  base::log_info("took over the log",
                 {{"txid", to_string(fenced->name.max)}, {"epoch", author.epoch.value()}});
  return start(std::move(options), bucket, std::move(watcher), std::move(appender), std::move(*attached));
}

std::optional<Error> LeaderSession::problem() const {
  if (const auto fatal = publisher_->fatal()) return fatal;
  if (const auto problem = publisher_->problem()) return problem;
  if (const auto watching = watcher_->status(); !watching) return watching.error();
  return maintainer_->problem();
}

std::unique_ptr<db::Database> LeaderSession::stop() {
  maintainer_.reset();
  if (!publisher_) return nullptr;
  watcher_->on_object({});
  watcher_->listen(nullptr);
  auto database = publisher_->stop();
  publisher_.reset();
  watcher_.reset();
  return database;
}

}  // namespace litecluster::replication
