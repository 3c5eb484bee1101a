// An App that runs in a thread of its own and writes down what its hooks are told.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <litecluster/app.hpp>

#include "support/nats_fixture.hpp"

namespace litecluster::test {

class Journal {
 public:
  void add(std::string line) {
    const std::scoped_lock lock(mutex_);
    lines_.push_back(std::move(line));
  }
  [[nodiscard]] std::vector<std::string> lines() const {
    const std::scoped_lock lock(mutex_);
    return lines_;
  }
  [[nodiscard]] bool has(const std::string& line) const {
    const auto all = lines();
    return std::ranges::find(all, line) != all.end();
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

inline AppOptions node_options(const NatsOptions& nats, const std::string& node, Mode mode) {
  AppOptions options;
  options.cluster = "c";
  options.node = node;
  options.nats = nats;
  options.mode = mode;
  options.ring.partitions = 16;
  options.lease_ttl = std::chrono::milliseconds(1000);
  options.heartbeat = std::chrono::milliseconds(300);
  options.hook_timeout = std::chrono::milliseconds(10'000);
  return options;
}

/// Stopped and joined at the latest when destroyed.
class RunningApp {
 public:
  explicit RunningApp(AppOptions options) : app_(std::move(*App::create(std::move(options)))) {
    app_.on_start([this](Context&) { return told("start"); });
    app_.on_stop([this](Context&) { return told("stop"); });
    app_.on_member_join([this](Context&, const Member& member) { return told("join " + member.id.node); });
    app_.on_member_leave([this](Context&, const Member& member) { return told("leave " + member.id.node); });
    app_.on_own([this](Context&, std::span<const Partition> own) {
      return told("own " + std::to_string(own.size()));
    });
    app_.on_release([this](Context&, std::span<const Partition> own) {
      return told("release " + std::to_string(own.size()));
    });
  }
  RunningApp(const RunningApp&) = delete;
  RunningApp& operator=(const RunningApp&) = delete;
  ~RunningApp() { static_cast<void>(stop()); }

  RunningApp& start() {
    thread_ = std::jthread([this] { result_ = app_.run(context_); });
    return *this;
  }
  /// What run() returned.
  Status stop() {
    context_.cancel();
    return wait();
  }
  /// Waits for a run that ends by itself.
  Status wait() {
    if (thread_.joinable()) thread_.join();
    return result_;
  }

  [[nodiscard]] App& app() { return app_; }
  [[nodiscard]] Journal& journal() { return journal_; }
  [[nodiscard]] std::vector<std::string> member_names() const {
    std::vector<std::string> names;
    for (const Member& member : app_.members()) names.push_back(member.id.node);
    return names;
  }
  [[nodiscard]] HealthResult check(const std::string& name) const {
    for (const HealthCheck& check : app_.health().checks) {
      if (check.name == name) return check.result;
    }
    return {HealthLevel::warning, "there is no such check"};
  }

 private:
  Status told(std::string what) {
    journal_.add(std::move(what));
    return {};
  }

  Journal journal_;
  App app_;
  const Context context_ = Context::background().with_cancel();
  Status result_;
  std::jthread thread_;
};

}  // namespace litecluster::test
