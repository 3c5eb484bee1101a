// The log as a node learns of it: stands for log::LogWatcher over an ordered consumer
// (src/log/log_watcher.cpp, src/nats/ordered_consumer.cpp) around the real LogView and OrderedTracker. News
// come in the order of the stream, late or with the next sign of life; that an object was removed is
// sometimes not told. When the servers start anew the consumer is made anew, and the stream is looked at
// first.
#pragma once

#include <functional>
#include <memory>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "log/appender.hpp"
#include "log/log_view.hpp"
#include "nats/ordered_tracker.hpp"
#include "sim/cluster/process.hpp"

namespace litecluster::test::cluster {

class LogWatch {
 public:
  explicit LogWatch(Process& process) : process_(process) {}

  /// Begins anew with nothing.
  void start();
  /// The stream of servers that started so often reaches `sequence`.
  void news(std::uint64_t sequence, std::uint32_t starts);

  [[nodiscard]] bool complete() const { return complete_; }
  /// Something was heard lately.
  [[nodiscard]] bool live() const {
    return status_ && complete_ && process_.now() - heard_at_ < 5 * process_.unit();
  }
  /// An error is final: the history is another.
  [[nodiscard]] const Status& status() const { return status_; }
  [[nodiscard]] log::LogView& view() { return view_; }
  [[nodiscard]] Revision seen() const { return Revision(seen_); }
  void add(const log::Object& object) { static_cast<void>(view_.put(object)); }
  /// Told of each raw object, and of those that are known already.
  void on_object(std::function<void(const log::Object&)> callback);
  [[nodiscard]] Status wait_complete(const Context& context, Time patience) const;
  [[nodiscard]] log::ReadEnd read_end();

 private:
  struct Answer {
    std::optional<log::BucketState> bucket;
    std::uint64_t visible;
    std::uint32_t starts;
    std::optional<std::int64_t> time_at_last;  ///< of the message at the last sequence that was read
  };

  void look();
  void heard(const Answer& answer);
  [[nodiscard]] bool establish(const Answer& answer);
  void end(ErrorCode code, const char* reason);

  Process& process_;
  log::LogView view_;
  Status status_;
  nats::OrderedTracker tracker_{nats::StartAll{}};
  std::uint32_t consumer_ = 0;  ///< the servers' start in which it was made; 0: none
  std::uint64_t consumer_sequence_ = 0;
  std::optional<Time> doubtful_since_;
  std::uint64_t seen_ = 0;
  bool complete_ = false;
  bool looking_ = false;
  Time heard_at_ = 0;
  std::uint64_t watch_ = 0;
  std::function<void(const log::Object&)> on_object_;
};

}  // namespace litecluster::test::cluster
