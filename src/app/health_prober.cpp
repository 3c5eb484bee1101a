#include "app/health_prober.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/mutex.hpp"

namespace litecluster::app {

using base::BootClock;
using base::BootTime;
using base::MutexLock;

namespace {

constexpr std::array<std::string_view, 9> own_names = {"nats", "lease",    "replication", "backend", "vip",
                                                       "disk", "database", "hooks",       "ring"};
constexpr std::size_t name_bytes_max = 64;

HealthResult run_guarded(const HealthProbe& probe, const Context& context) {
  try {
    return probe ? probe(context) : HealthResult{};
  } catch (const std::exception& exception) {
    return {HealthLevel::critical, std::string("the check threw ") + exception.what()};
  } catch (...) {
    return {HealthLevel::critical, "the check threw something that is no std::exception"};
  }
}

}  // namespace

/// One check; its thread is detached, because nothing can end a check that hangs.
struct HealthProber::Shared {
  struct Running {
    std::string name;
    std::optional<BootTime> since{};  ///< unset: it does not run
    bool told = false;                ///< that it is late
  };

  explicit Shared(HealthProberOptions chosen) : options(std::move(chosen)) {}

  const HealthProberOptions options;
  const Context stopped = Context::background().with_cancel();
  base::Mutex mutex;
  base::ConditionVariable changed;
  std::vector<Running> running LITECLUSTER_GUARDED_BY(mutex);
  bool closed LITECLUSTER_GUARDED_BY(mutex) = false;

  void loop(std::size_t index, const HealthProbe& probe) {
    do {
      {
        const MutexLock lock(mutex);
        if (closed) return;
        running[index].since = BootClock::now();
      }
      HealthResult result = run_guarded(probe, stopped.with_timeout(options.timeout));
      const MutexLock lock(mutex);
      const bool late = BootClock::now() - *running[index].since > options.timeout;
      running[index].since.reset();
      running[index].told = false;
      changed.notify_all();
      if (closed) return;
      if (late) result = late_result();
      options.report(running[index].name, std::move(result));
    } while (!stopped.wait_for(options.interval));
  }

  [[nodiscard]] HealthResult late_result() const {
    return {HealthLevel::critical, fmt::format("the check did not answer within {} s",
                                               std::chrono::duration<double>(options.timeout).count())};
  }
};

HealthProber::HealthProber(const std::map<std::string, HealthProbe>& probes, HealthProberOptions options)
    : shared_(std::make_shared<Shared>(std::move(options))) {
  if (probes.empty()) return;
  {
    const MutexLock lock(shared_->mutex);
    for (const auto& [name, probe] : probes) shared_->running.push_back({.name = name});
  }
  std::size_t index = 0;
  for (const auto& [name, user_probe] : probes) {
    std::thread([shared = shared_, index, probe = user_probe] { shared->loop(index, probe); }).detach();
    ++index;
  }
  watcher_ = std::jthread([this] { watch(); });
}

// Looks for those that are late.
void HealthProber::watch() const {
  const auto pause = std::max<base::Duration>(shared_->options.timeout / 4, std::chrono::milliseconds(1));
  while (!shared_->stopped.wait_for(pause)) {
    const MutexLock lock(shared_->mutex);
    for (Shared::Running& probe : shared_->running) {
      if (!probe.since || probe.told || BootClock::now() - *probe.since <= shared_->options.timeout) continue;
      probe.told = true;
      shared_->options.report(probe.name, shared_->late_result());
    }
  }
}

HealthProber::~HealthProber() {
  shared_->stopped.cancel();
  MutexLock lock(shared_->mutex);
  shared_->closed = true;
  const BootTime until = BootClock::now() + shared_->options.timeout;
  while (std::ranges::any_of(shared_->running, [](const auto& probe) { return probe.since.has_value(); })) {
    const base::Duration left = until - BootClock::now();
    if (left <= base::Duration::zero()) return;
    shared_->changed.wait_for(lock, left);
  }
}

Status check_health_names(const std::map<std::string, HealthProbe>& probes) {
  for (const auto& [name, user_probe] : probes) {
    const auto refuse = [&](const char* reason) {
      return failure(ErrorCode::invalid_argument, "add health check", name.substr(0, name_bytes_max), reason);
    };
    if (name.empty() || name.size() > name_bytes_max) return refuse("a name of 1 to 64 bytes is needed");
    if (std::ranges::find(own_names, name) != own_names.end()) return refuse("the name is one of our own");
  }
  return {};
}

}  // namespace litecluster::app
