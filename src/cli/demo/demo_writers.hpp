// Clients that write all the time and remember every answer, for `litecluster demo`.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <litecluster/context.hpp>

#include "base/mutex.hpp"

namespace litecluster::cli {

using DemoClock = std::chrono::steady_clock;

/// Who serves, and in which term.
struct DemoLeader {
  std::uint16_t port = 0;
  std::uint64_t epoch = 0;
  friend bool operator==(const DemoLeader&, const DemoLeader&) = default;
};

/// How the writers find out what is safe; both are called from a thread of theirs.
struct DemoSync {
  std::function<std::optional<DemoLeader>(const Context&)> leader;
  /// True when everything that the node with this port had committed before the call has reached the log.
  std::function<bool(const Context&, std::uint16_t port)> sync;
};

/// Thread-safe.
class DemoWriters {
 public:
  /// `clients` threads, each posting to one of `ports` and going on to the next when that one does not
  /// answer, and one that asks again and again what has reached the log.
  DemoWriters(int clients, std::vector<std::uint16_t> ports, DemoSync sync);
  ~DemoWriters() { stop(); }
  DemoWriters(const DemoWriters&) = delete;
  DemoWriters& operator=(const DemoWriters&) = delete;

  void stop();

  /// Everything that was answered with success.
  [[nodiscard]] std::set<std::string> acknowledged() const;
  /// What is known to have reached the log.
  [[nodiscard]] std::set<std::string> replicated() const;
  /// The longest time since `begin` in which no client got an answer.
  [[nodiscard]] DemoClock::duration longest_silence(DemoClock::time_point begin) const;
  /// Waits until a request that was sent after `moment` is answered; false when the context ends first.
  [[nodiscard]] bool wait_served(const Context& context, DemoClock::time_point moment) const;

 private:
  struct Answer {
    std::string text;
    std::uint16_t port;
    DemoClock::time_point sent;
    DemoClock::time_point answered;
  };
  void write(int client);
  void keep_syncing(const DemoSync& sync);

  const std::vector<std::uint16_t> ports_;
  const Context stop_ = Context::background().with_cancel();
  mutable base::Mutex mutex_;
  std::vector<Answer> answers_ LITECLUSTER_GUARDED_BY(mutex_);
  std::set<std::string> replicated_ LITECLUSTER_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

}  // namespace litecluster::cli
