// A systemd unit as backend, driven by systemctl: it speaks to systemd in every version, and a test can put
// another one into PATH.
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <thread>
#include <utility>

#include "backend/backend.hpp"
#include "base/logging.hpp"
#include "base/mutex.hpp"

extern char** environ;

namespace litecluster::backend {

namespace {

using base::MutexLock;

Status systemctl(std::vector<std::string> arguments, std::chrono::nanoseconds timeout) {
  arguments.insert(arguments.begin(), "systemctl");
  return check_health(CommandProbe{std::move(arguments)}, timeout);
}

class SystemdBackend final : public Backend {
 public:
  explicit SystemdBackend(SystemdBackendOptions options) : options_(std::move(options)) {
    prober_ = std::jthread([this](const std::stop_token& token) { watch(token); });
  }
  ~SystemdBackend() override {
    [[maybe_unused]] const Status ignored = stop(Context::background());
    prober_.request_stop();
    {
      const MutexLock lock(mutex_);
      changed_.notify_all();
    }
    prober_.join();
  }

  void on_failure(std::function<void(const Error&)> callback) override {
    const MutexLock lock(mutex_);
    on_failure_ = std::move(callback);
  }

  Status start(const Context& context) override {
    const Context limited = context.with_timeout(options_.start_timeout);
    // --no-block: a unit whose start hangs must not hold us beyond our own deadline.
    Status status = systemctl({"start", "--no-block", "--", options_.unit}, options_.start_timeout);
    while (status) {
      status = look();
      if (status) break;
      const Error problem = status.error();
      if (limited.wait_for(std::chrono::milliseconds(50))) {
        status = limited.status("start backend");
        if (!context.done()) {
          status = failure(ErrorCode::unavailable, "start backend", options_.unit,
                           "not healthy in time: " + problem.message());
        }
      } else {
        status = Status();
      }
    }
    if (!status) {
      [[maybe_unused]] const Status ignored = stop(context);
      return status;
    }
    const MutexLock lock(mutex_);
    serving_ = true;
    problem_.reset();
    changed_.notify_all();
    base::log_info("backend is healthy", {{"unit", options_.unit}});
    return {};
  }

  Status stop(const Context& context) override {
    {
      const MutexLock lock(mutex_);
      serving_ = false;
    }
    const auto grace = context.remaining(options_.grace);
    Status stopped = systemctl({"stop", "--", options_.unit}, std::max(grace, least_wait));
    if (stopped) return stopped;
    base::log_warning("unit does not stop, killing it",
                      {{"unit", options_.unit}, {"reason", stopped.error().message()}});
    [[maybe_unused]] const Status killed =
        systemctl({"kill", "--signal=SIGKILL", "--", options_.unit}, options_.grace);
    return systemctl({"stop", "--", options_.unit}, options_.grace);
  }

  [[nodiscard]] Status health() const override {
    const MutexLock lock(mutex_);
    if (serving_ && !problem_) return {};
    return failure(ErrorCode::unavailable, "check backend", options_.unit,
                   problem_ ? problem_->message() : "it does not run");
  }

 private:
  static constexpr std::chrono::nanoseconds least_wait = std::chrono::milliseconds(100);

  [[nodiscard]] Status look() const {
    Status active = systemctl({"is-active", "--quiet", "--", options_.unit}, options_.probe_timeout);
    if (!active) return active;
    return check_health(options_.probe, options_.probe_timeout);
  }

  void watch(const std::stop_token& token) LITECLUSTER_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    int failures = 0;
    while (!token.stop_requested()) {
      if (!serving_) {
        failures = 0;
        changed_.wait(lock);
        continue;
      }
      changed_.wait_for(lock, options_.probe_interval);
      if (!serving_ || token.stop_requested()) continue;
      lock.unlock();
      const Status status = look();
      lock.lock();
      if (!serving_) continue;
      failures = status ? 0 : failures + 1;
      problem_ = status ? std::nullopt : std::optional(status.error());
      if (failures < options_.probe_failures_max) continue;
      serving_ = false;
      const auto callback = on_failure_;
      const Error error = *problem_;
      lock.unlock();
      base::log_error("backend failed", {{"unit", options_.unit}, {"reason", error.message()}});
      if (callback) callback(error);
      lock.lock();
    }
  }

  const SystemdBackendOptions options_;
  mutable base::Mutex mutex_;
  base::ConditionVariable changed_;
  bool serving_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  std::optional<Error> problem_ LITECLUSTER_GUARDED_BY(mutex_);
  std::function<void(const Error&)> on_failure_ LITECLUSTER_GUARDED_BY(mutex_);
  std::jthread prober_;
};

class SystemdFence final : public Fence {
 public:
  explicit SystemdFence(std::string unit) : unit_(std::move(unit)) {}
  pid_t drop() noexcept override {
    const std::array<const char*, 6> arguments = {"/bin/sh", "-c", script, "sh", unit_.c_str(), nullptr};
    // The guard blocks and ignores signals for itself only.
    posix_spawnattr_t attributes;
    sigset_t none;
    sigset_t pipe;
    sigemptyset(&none);
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    ::posix_spawnattr_init(&attributes);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes, &pipe);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    pid_t pid = 0;
    const int error = ::posix_spawn(&pid, arguments[0], nullptr, &attributes,
                                    const_cast<char**>(arguments.data()), environ);
    ::posix_spawnattr_destroy(&attributes);
    return error == 0 ? pid : 0;
  }

 private:
  // A kill alone would be answered by the unit's Restart=. With a stop job there is no restart, and no start
  // replaces a job that is irreversible, not even one that an agent sent a moment ago. The kill makes it
  // immediate, and the second stop ends when the unit has.
  static constexpr const char* script =
      "systemctl stop --no-block --job-mode=replace-irreversibly -- \"$1\" 2>/dev/null\n"
      "systemctl kill --signal=SIGKILL -- \"$1\" 2>/dev/null\n"
      "systemctl stop -- \"$1\"\n"
      // 5: there is no such unit.
      "status=$?; [ $status -eq 5 ] || exit $status";

  std::string unit_;
};

}  // namespace

Result<std::unique_ptr<Backend>> make_systemd_backend(SystemdBackendOptions options) {
  const bool clean = std::ranges::none_of(options.unit, [](char c) { return c <= ' ' || c == '/'; });
  if (options.unit.empty() || !clean) {
    return failure(ErrorCode::invalid_argument, "configure backend", options.unit, "not the name of a unit");
  }
  return std::make_unique<SystemdBackend>(std::move(options));
}

std::shared_ptr<Fence> make_systemd_fence(const std::string& unit) {
  return std::make_shared<SystemdFence>(unit);
}

}  // namespace litecluster::backend
