// The log as a node learns of it: stands for log::LogWatcher over an ordered consumer
// (src/log/log_watcher.cpp) around the real LogView. News come in the order of the stream, late or with the
// next sign of life; that an object was removed is sometimes not told.
#pragma once

#include <functional>
#include <memory>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "log/appender.hpp"
#include "log/log_view.hpp"
#include "sim/cluster/process.hpp"

namespace litecluster::test::cluster {

class LogWatch {
 public:
  explicit LogWatch(Process& process) : process_(process) {}

  /// Begins anew with nothing.
  void start();
  /// The stream reaches `sequence`.
  void news(std::uint64_t sequence);

  [[nodiscard]] bool complete() const { return complete_; }
  /// Something was heard lately.
  [[nodiscard]] bool live() const { return complete_ && process_.now() - heard_at_ < 5 * process_.unit(); }
  [[nodiscard]] log::LogView& view() { return view_; }
  [[nodiscard]] Revision seen() const { return Revision(seen_); }
  void add(const log::Object& object) { static_cast<void>(view_.put(object)); }
  /// Told of each raw object, and of those that are known already.
  void on_object(std::function<void(const log::Object&)> callback);
  [[nodiscard]] Status wait_complete(const Context& context, Time patience) const;
  [[nodiscard]] log::ReadEnd read_end();

 private:
  void look();

  Process& process_;
  log::LogView view_;
  std::uint64_t seen_ = 0;
  bool complete_ = false;
  bool looking_ = false;
  Time heard_at_ = 0;
  std::uint64_t watch_ = 0;
  std::function<void(const log::Object&)> on_object_;
};

}  // namespace litecluster::test::cluster
