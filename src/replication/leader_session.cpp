#include "replication/leader_session.hpp"

#include <utility>
#include <variant>

#include "base/logging.hpp"
#include "log/fence.hpp"
#include "ltx/encoder.hpp"
#include "ltx/stream.hpp"

namespace litecluster::replication {

namespace {

// Appends through log::Appender, whose compare-and-swap decides.
class LogAppendTarget final : public AppendTarget {
 public:
  LogAppendTarget(std::unique_ptr<log::Appender> appender, log::LogWatcher& watcher)
      : appender_(std::move(appender)), watcher_(watcher) {}

  [[nodiscard]] Status append(const Context& context, const OutboxItem& item) override {
    const auto object = appender_->append(context, item.bytes, item.position.checksum);
    if (!object) return std::unexpected(object.error());
    watcher_.add(*object);
    return {};
  }

 private:
  std::unique_ptr<log::Appender> appender_;
  log::LogWatcher& watcher_;
};

// Fences the log with what the database holds: its first capture, which is never empty.
class DatabaseFence {
 public:
  DatabaseFence(db::Database& database, ltx::PageEncoding encoding)
      : database_(database), encoder_(encoding) {}

  [[nodiscard]] log::FenceDriver driver() {
    return {.apply = [this](const Context&, const log::LogView&, Txid txid) { return at(txid); },
            .make_file = [this](const Context& context, Txid txid) { return make_file(context, txid); }};
  }

 private:
  [[nodiscard]] Status at(Txid txid) const {
    const Txid position = database_.acknowledged();
    if (position == txid) return {};
    return failure(ErrorCode::conflict, "take over log", "TXID " + to_string(txid),
                   "somebody else appended meanwhile; the database is at TXID " + to_string(position));
  }

  // Asked again for the same TXID after a failure, it has to give the same file.
  Result<log::FenceFile> make_file(const Context& context, Txid txid) {
    if (file_ && made_for_ == txid) return *file_;
    const auto captured = database_.capture_fence();
    if (!captured) return std::unexpected(captured.error());
    log::FenceFile file{.bytes = {}, .checksum = captured->position().checksum};
    ltx::BytesSink sink(file.bytes);
    if (const auto encoded = captured->encode(encoder_, sink, context); !encoded) {
      return std::unexpected(encoded.error());
    }
    made_for_ = txid;
    file_ = file;
    return file;
  }

  db::Database& database_;
  ltx::Encoder encoder_;
  Txid made_for_;
  std::optional<log::FenceFile> file_;
};

}  // namespace

LeaderSession::~LeaderSession() {
  static_cast<void>(stop());
}

Result<std::unique_ptr<LeaderSession>> LeaderSession::start(LeaderSessionOptions options,
                                                            log::ObjectBucket& bucket,
                                                            std::unique_ptr<log::LogWatcher> watcher,
                                                            std::unique_ptr<log::Appender> appender,
                                                            std::unique_ptr<db::Database> database) {
  std::unique_ptr<LeaderSession> session(new LeaderSession);
  session->epoch_ = appender->author().epoch;
  options.publisher.epoch = session->epoch_;
  options.maintainer.author = appender->author();
  session->watcher_ = std::move(watcher);
  auto target = std::make_unique<LogAppendTarget>(std::move(appender), *session->watcher_);
  auto publisher = Publisher::start(std::move(options.publisher), std::move(database), std::move(target));
  if (!publisher) return std::unexpected(publisher.error());
  session->publisher_ = std::move(*publisher);
  auto maintainer =
      Maintainer::start(std::move(options.maintainer), bucket, *session->watcher_, *session->publisher_);
  if (!maintainer) return std::unexpected(maintainer.error());
  session->maintainer_ = std::move(*maintainer);
  return session;
}

Result<std::unique_ptr<LeaderSession>> LeaderSession::take_over(const Context& context,
                                                                LeaderSessionOptions options,
                                                                db::DatabaseOptions database,
                                                                log::ObjectBucket& bucket) {
  auto watcher = std::make_unique<log::LogWatcher>(bucket, [] {});
  if (auto complete = watcher->wait_complete(context); !complete) return std::unexpected(complete.error());
  const log::LogView view = watcher->view();
  const log::LogEnd end = view.end();
  log::Author author = options.maintainer.author;
  author.epoch = view.highest_epoch().next();
  auto attached = db::Database::attach(
      std::move(database),
      db::LogEnd{
          .txid = end.txid, .checksum = end.checksum, .epoch = end.author ? end.author->epoch : Epoch(0)},
      context);
  if (!attached) return std::unexpected(attached.error());
  const db::AttachReport& report = (*attached)->attach_report();
  base::log_info("attached to the database", {{"how", to_string(report.outcome)},
                                              {"reason", report.reason},
                                              {"pages_changed", report.pages_changed}});
  auto appender = std::make_unique<log::Appender>(bucket, author, base::system_clock(), watcher->read_end());
  DatabaseFence fence(**attached, options.publisher.encoding);
  const auto fenced = log::fence_log(context, bucket, *appender, fence.driver());
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
  auto database = publisher_->stop();
  publisher_.reset();
  watcher_.reset();
  return database;
}

}  // namespace litecluster::replication
