#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <deque>
#include <optional>
#include <thread>
#include <utility>

#include "backend/backend.hpp"
#include "backend/output_lines.hpp"
#include "base/file.hpp"
#include "base/logging.hpp"
#include "base/mutex.hpp"

namespace litecluster::backend {

namespace {

using base::BootClock;
using base::BootTime;
using base::MutexLock;

/// The reading end of a child's output, and what is left of its last line.
struct Output {
  base::FileDescriptor pipe;
  OutputLines lines;
  const char* name;
};

class ProcessBackend final : public Backend {
 public:
  ProcessBackend(ProcessHost& host, ProcessBackendOptions options)
      : host_(host), options_(std::move(options)), supervisor_(options_.supervisor) {
    wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    host_.on_exit([this](int status) {
      submit([&](Supervisor& supervisor, BootTime now) {
        return supervisor.process_exited(describe_wait_status(status), now);
      });
    });
    worker_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
    prober_ = std::jthread([this](const std::stop_token& stop) { probe(stop); });
  }

  ~ProcessBackend() override {
    [[maybe_unused]] const Status ignored = stop(Context::background());
    host_.on_exit({});
    worker_.request_stop();
    prober_.request_stop();
    wake();
    {
      const MutexLock lock(mutex_);
      changed_.notify_all();
    }
    worker_.join();
    prober_.join();
  }

  void on_failure(std::function<void(const Error&)> callback) override {
    const MutexLock lock(mutex_);
    on_failure_ = std::move(callback);
  }

  Status start(const Context& context) override {
    const auto registration = notify_on_cancel(context);
    MutexLock lock(mutex_);
    outcome_.reset();
    take(supervisor_.start(BootClock::now()));
    while (!outcome_) {
      if (auto status = context.status("start backend"); !status) {
        lock.unlock();
        [[maybe_unused]] const Status ignored = stop(context);
        return status;
      }
      changed_.wait_for(lock, context.remaining(std::chrono::seconds(1)));
    }
    serving_ = outcome_->has_value();
    return *outcome_;
  }

  Status stop(const Context& context) override {
    const auto registration = notify_on_cancel(context);
    MutexLock lock(mutex_);
    serving_ = false;
    take(supervisor_.stop(BootClock::now()));
    bool killed = false;
    while (supervisor_.state() != SupervisorState::stopped) {
      if (!killed && context.done()) {
        killed = true;
        lock.unlock();
        host_.signal(SIGKILL);
        lock.lock();
        continue;
      }
      changed_.wait_for(lock, std::chrono::milliseconds(killed ? 1000 : 100));
    }
    return {};
  }

  [[nodiscard]] Status health() const override {
    const MutexLock lock(mutex_);
    if (supervisor_.state() == SupervisorState::running && problem_.empty()) return {};
    return failure(ErrorCode::unavailable, "check backend", options_.process.arguments.front(),
                   problem_.empty() ? "it does not run" : problem_);
  }

 private:
  Context::Registration notify_on_cancel(const Context& context) {
    return context.on_cancel([this] {
      const MutexLock lock(mutex_);
      changed_.notify_all();
    });
  }

  template <typename Event>
  void submit(const Event& event) LITECLUSTER_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    take(event(supervisor_, BootClock::now()));
  }

  void take(Supervisor::Actions actions) LITECLUSTER_REQUIRES(mutex_) {
    timer_ = BootTime::max();
    for (const SupervisorAction& action : actions) {
      if (const auto* timer = std::get_if<SetTimer>(&action)) {
        timer_ = timer->at;
      } else if (std::holds_alternative<ProbeHealth>(action)) {
        probe_wanted_ = true;
      } else if (std::holds_alternative<StartProcess>(action) ||
                 std::holds_alternative<SignalProcess>(action)) {
        orders_.push_back(action);
      } else {
        report(action);
      }
    }
    changed_.notify_all();
    wake();
  }

  void report(const SupervisorAction& action) LITECLUSTER_REQUIRES(mutex_) {
    const std::string& program = options_.process.arguments.front();
    if (std::holds_alternative<BecameHealthy>(action)) {
      problem_.clear();
      base::log_info("backend is healthy", {{"program", program}});
      if (!outcome_) outcome_ = Status();
    } else if (const auto* unhealthy = std::get_if<BecameUnhealthy>(&action)) {
      problem_ = unhealthy->reason;
      base::log_warning("backend is restarted", {{"program", program}, {"reason", problem_}});
    } else if (const auto* gave_up = std::get_if<GaveUp>(&action)) {
      problem_ = gave_up->reason;
      base::log_error("backend does not come up", {{"program", program}, {"reason", problem_}});
      outcome_ = failure(ErrorCode::unavailable, "start backend", program, problem_);
      if (serving_) failed_for_good_ = outcome_->error();
      serving_ = false;
    } else if (!outcome_) {
      outcome_ = failure(ErrorCode::cancelled, "start backend", program, "it was stopped meanwhile");
    }
  }

  void wake() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t ignored = ::write(wake_.get(), &one, sizeof one);
  }

  // Carries out orders, forwards output, keeps the timer.
  void work(const std::stop_token& stop) LITECLUSTER_EXCLUDES(mutex_) {
    while (!stop.stop_requested()) {
      carry_out_orders();
      BootTime timer;
      {
        const MutexLock lock(mutex_);
        timer = timer_;
      }
      const BootTime now = BootClock::now();
      if (now >= timer) {
        submit([](Supervisor& supervisor, BootTime time) { return supervisor.tick(time); });
        continue;
      }
      wait_for_output(timer - now);
    }
    for (Output& output : outputs_) read_output(output);
  }

  void carry_out_orders() LITECLUSTER_EXCLUDES(mutex_) {
    while (true) {
      std::optional<SupervisorAction> order;
      std::optional<Error> failed;
      std::function<void(const Error&)> callback;
      {
        const MutexLock lock(mutex_);
        failed = std::exchange(failed_for_good_, std::nullopt);
        callback = on_failure_;
        if (!orders_.empty()) {
          order = std::move(orders_.front());
          orders_.pop_front();
        }
      }
      if (failed && callback) callback(*failed);
      if (!order) return;
      if (const auto* signal = std::get_if<SignalProcess>(&*order)) {
        host_.signal(signal->signal == StopSignal::terminate ? SIGTERM : SIGKILL);
      } else {
        start_process();
      }
    }
  }

  void start_process() LITECLUSTER_EXCLUDES(mutex_) {
    const Status status = try_start_process();
    submit([&](Supervisor& supervisor, BootTime now) {
      return status ? supervisor.process_started(now)
                    : supervisor.process_failed(status.error().message(), now);
    });
  }

  Status try_start_process() {
    std::array<base::FileDescriptor, 2> child_ends;
    for (std::size_t index = 0; index < outputs_.size(); ++index) {
      std::array<int, 2> ends{};
      if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        return std::unexpected(base::errno_error(errno, "start backend", "pipe"));
      }
      read_output(outputs_[index]);
      outputs_[index].pipe.reset(ends[0]);
      child_ends[index].reset(ends[1]);
      // Only our end: the child gets a pipe like any other.
      ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    }
    return host_.start(options_.process, child_ends[0].get(), child_ends[1].get());
  }

  void wait_for_output(base::Duration left) {
    std::array<pollfd, 3> sources = {{{.fd = wake_.get(), .events = POLLIN, .revents = 0},
                                      {.fd = outputs_[0].pipe.get(), .events = POLLIN, .revents = 0},
                                      {.fd = outputs_[1].pipe.get(), .events = POLLIN, .revents = 0}}};
    const auto wait =
        std::min<std::int64_t>(std::chrono::ceil<std::chrono::milliseconds>(left).count(), 60'000);
    if (::poll(sources.data(), sources.size(), static_cast<int>(wait)) <= 0) return;
    if (sources[0].revents != 0) {
      std::uint64_t count = 0;
      [[maybe_unused]] const ssize_t ignored = ::read(wake_.get(), &count, sizeof count);
    }
    for (std::size_t index = 0; index < outputs_.size(); ++index) {
      if (sources[index + 1].revents != 0) read_output(outputs_[index]);
    }
  }

  static void read_output(Output& output) {
    const auto sink = [&](std::string_view line) {
      base::log_info("backend output", {{"stream", output.name}, {"line", line}});
    };
    std::array<char, 4096> bytes{};
    // Bounded, so that a child that never stops talking cannot keep us from our timer.
    for (int round = 0; round < 64 && output.pipe; ++round) {
      const ssize_t size = ::read(output.pipe.get(), bytes.data(), bytes.size());
      if (size > 0) {
        output.lines.feed({bytes.data(), static_cast<std::size_t>(size)}, sink);
      } else if (size == 0 || (errno != EAGAIN && errno != EINTR)) {
        output.lines.flush(sink);
        output.pipe.reset();
      } else if (errno == EAGAIN) {
        return;
      }
    }
  }

  void probe(const std::stop_token& stop) LITECLUSTER_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (!stop.stop_requested()) {
      if (!std::exchange(probe_wanted_, false)) {
        changed_.wait(lock);
        continue;
      }
      lock.unlock();
      const Status status = check_health(options_.probe, options_.probe_timeout);
      lock.lock();
      if (supervisor_.state() == SupervisorState::running) {
        problem_ = status ? std::string() : status.error().message();
      }
      take(supervisor_.probe_finished(status.has_value(), status ? std::string() : status.error().message(),
                                      BootClock::now()));
    }
  }

  ProcessHost& host_;
  const ProcessBackendOptions options_;
  base::FileDescriptor wake_;
  std::array<Output, 2> outputs_ = {
      {{.pipe = {}, .lines = {}, .name = "stdout"}, {.pipe = {}, .lines = {}, .name = "stderr"}}};

  mutable base::Mutex mutex_;
  base::ConditionVariable changed_;
  Supervisor supervisor_ LITECLUSTER_GUARDED_BY(mutex_);
  BootTime timer_ LITECLUSTER_GUARDED_BY(mutex_) = BootTime::max();
  /// At most one start and a few signals: the supervisor waits for the process between them.
  std::deque<SupervisorAction> orders_ LITECLUSTER_GUARDED_BY(mutex_);
  bool probe_wanted_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  /// Of the start() under way or last made.
  std::optional<Status> outcome_ LITECLUSTER_GUARDED_BY(mutex_);
  bool serving_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  std::optional<Error> failed_for_good_ LITECLUSTER_GUARDED_BY(mutex_);
  std::string problem_ LITECLUSTER_GUARDED_BY(mutex_);
  std::function<void(const Error&)> on_failure_ LITECLUSTER_GUARDED_BY(mutex_);
  std::jthread worker_;
  std::jthread prober_;
};

}  // namespace

Result<std::unique_ptr<Backend>> make_process_backend(ProcessHost& host, ProcessBackendOptions options) {
  if (auto encoded = encode_process_spec(options.process); !encoded) return std::unexpected(encoded.error());
  options.supervisor.has_probe = !std::holds_alternative<ExitProbe>(options.probe);
  return std::make_unique<ProcessBackend>(host, std::move(options));
}

}  // namespace litecluster::backend
