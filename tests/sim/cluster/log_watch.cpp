#include "sim/cluster/log_watch.hpp"

#include <algorithm>
#include <utility>

namespace litecluster::test::cluster {

namespace {

// How long a lost history has to look so before it is believed, in units: on several servers one may be
// behind.
constexpr Time disbelief = 5;

nats::ServerTime time_of(std::int64_t count) {
  return nats::ServerTime(std::chrono::nanoseconds(count));
}

}  // namespace

void LogWatch::start() {
  view_ = log::LogView();
  status_ = {};
  tracker_ = nats::OrderedTracker(nats::StartAll{});
  consumer_ = 0;
  doubtful_since_.reset();
  seen_ = 0;
  complete_ = false;
  ++watch_;
  on_object_ = nullptr;
  if (!std::exchange(looking_, true)) look();
}

// The consumer's heartbeat, by which it notices what it missed.
void LogWatch::look() {
  if (status_) {
    process_.send(
        [simulation = &process_.simulation(), last = tracker_.last_sequence()] {
          const Server& server = simulation->server;
          return Answer{server.bucket(), simulation->visible_sequence(), server.starts(),
                        last > 0 ? server.time_at(last) : std::nullopt};
        },
        [this, watch = watch_](const Answer& answer) {
          if (watch == watch_) heard(answer);
        });
  }
  process_.at(process_.now() + (complete_ ? 2 * process_.unit() : process_.unit() / 4), [this] { look(); });
}

void LogWatch::heard(const Answer& answer) {
  if (!status_ || (consumer_ != answer.starts && !establish(answer))) return;
  complete_ = true;
  news(answer.visible, answer.starts);
}

// OrderedConsumer::establish().
bool LogWatch::establish(const Answer& answer) {
  const bool first = consumer_ == 0 && seen_ == 0;
  if (answer.bucket) {
    nats::StreamInfo info;
    info.created = nats::ServerTime(std::chrono::nanoseconds(answer.bucket->created_ns));
    info.last_sequence = answer.bucket->last_sequence;
    const bool rewritten = answer.time_at_last && tracker_.was_rewritten(time_of(*answer.time_at_last));
    if (tracker_.check(info) == nats::History::same && !rewritten) {
      tracker_.consumer_made();
      consumer_ = answer.starts;
      consumer_sequence_ = 0;
      seen_ = std::min(seen_, tracker_.last_sequence());
      doubtful_since_.reset();
      return true;
    }
  }
  if (!doubtful_since_) doubtful_since_ = process_.now();
  const bool replicated = process_.simulation().settings.two_steps;
  if (replicated && !(first && !answer.bucket) &&
      process_.now() - *doubtful_since_ <= disbelief * process_.unit()) {
    return false;
  }
  if (answer.bucket) {
    end(ErrorCode::gap, "the stream is not the one that was read");
  } else {
    end(ErrorCode::not_found, "the stream does not exist");
  }
  return false;
}

void LogWatch::end(ErrorCode code, const char* reason) {
  status_ = failure(code, "watch the log", {}, reason);
  ++process_.simulation().statistics.watches_ended;
  process_.simulation().trace("{}: {}", process_.host().name(), status_.error().message());
  process_.change();
}

void LogWatch::news(std::uint64_t sequence, std::uint32_t starts) {
  heard_at_ = process_.now();
  if (!complete_ || !status_ || consumer_ != starts) return;
  Simulation& simulation = process_.simulation();
  const auto& all = simulation.server.all();
  for (std::size_t index = simulation.server.after(seen_); index < all.size(); ++index) {
    const Server::Stored& stored = all[index];
    if (stored.object.sequence.value() > sequence) break;
    if (stored.removed_at > 0) continue;
    static_cast<void>(tracker_.accept({.stream_sequence = stored.object.sequence.value(),
                                       .consumer_sequence = ++consumer_sequence_,
                                       .time = time_of(stored.time),
                                       .pending = 0}));
    static_cast<void>(view_.put(stored.object));
    if (on_object_) on_object_(stored.object);
  }
  seen_ = std::max(seen_, sequence);
  process_.change();
}

void LogWatch::on_object(std::function<void(const log::Object&)> callback) {
  on_object_ = std::move(callback);
  if (!on_object_) return;
  const auto known = view_.level(log::raw_level);
  for (const auto& [name, object] : known) on_object_(object);
}

Status LogWatch::wait_complete(const Context& context, Time patience) const {
  const Time deadline = process_.now() + patience;
  while (!complete_) {
    if (!status_) return status_;
    if (auto status = context.status("wait for the log"); !status) return status;
    if (process_.now() >= deadline) return failure(ErrorCode::deadline_exceeded, "wait for the log", {}, {});
    process_.wait_until(deadline);
  }
  return {};
}

log::ReadEnd LogWatch::read_end() {
  return [this](const Context& context, Revision sequence) -> Result<log::LogEnd> {
    // As the Appender's, whose Context counts real time.
    const Time deadline = process_.now() + 10 * process_.unit();
    while (!complete_ || seen_ < sequence.value()) {
      if (!status_) return std::unexpected(status_.error());
      if (process_.simulation().lossy() && process_.now() >= deadline) {
        return failure(ErrorCode::deadline_exceeded, "wait for the log", {}, {});
      }
      if (auto status = context.status("wait for the log"); !status) return std::unexpected(status.error());
      process_.wait(process_.unit());
    }
    return view_.end();
  };
}

}  // namespace litecluster::test::cluster
