#include "backend/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <future>
#include <memory>
#include <thread>
#include <utility>

#include "base/file.hpp"
#include "base/mutex.hpp"

extern char** environ;

namespace litecluster::backend {

namespace {

constexpr std::size_t spec_strings_max = 10'000;

std::unexpected<Error> bad_spec(std::string reason) {
  return failure(ErrorCode::invalid_argument, "describe backend process", {}, std::move(reason));
}

/// Our environment with the additions, which win. The pointers live as long as `additions`.
std::vector<char*> merged_environment(const std::vector<std::string>& additions) {
  std::vector<char*> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string_view name = text.substr(0, text.find('=') + 1);
    const bool replaced = std::ranges::any_of(
        additions, [&](const std::string& addition) { return addition.starts_with(name); });
    if (!replaced) merged.push_back(*entry);
  }
  for (const std::string& addition : additions) merged.push_back(const_cast<char*>(addition.c_str()));
  merged.push_back(nullptr);
  return merged;
}

/// What the child needs, made before the fork: after it a threaded process may not allocate.
struct Prepared {
  explicit Prepared(const ProcessSpec& spec)
      : environment(merged_environment(spec.environment)), directory(spec.directory) {
    for (const std::string& argument : spec.arguments)
      arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
  }
  std::vector<char*> arguments;
  std::vector<char*> environment;
  const std::string& directory;
};

[[noreturn]] void fail_child(int report) {
  const int error_number = errno;
  // Nobody is left to tell when this fails.
  [[maybe_unused]] const ssize_t ignored = ::write(report, &error_number, sizeof error_number);
  ::_exit(127);
}

// Only calls that are safe between fork and exec.
[[noreturn]] void exec_child(const Prepared& prepared, int output, int error_output, int report) {
  ::setsid();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (output >= 0 && ::dup2(output, STDOUT_FILENO) < 0) fail_child(report);
  if (error_output >= 0 && ::dup2(error_output, STDERR_FILENO) < 0) fail_child(report);
  // Libraries open descriptors that exec does not close: connections to NATS are nobody else's.
  ::close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  if (!prepared.directory.empty() && ::chdir(prepared.directory.c_str()) != 0) fail_child(report);
  ::execvpe(prepared.arguments[0], prepared.arguments.data(), prepared.environment.data());
  fail_child(report);
}

class LocalProcessHost final : public ProcessHost {
 public:
  LocalProcessHost() : thread_([this](const std::stop_token& stop) { run(stop); }) {}
  ~LocalProcessHost() override {
    thread_.request_stop();
    {
      const base::MutexLock lock(mutex_);
      changed_.notify_all();
      if (pid_ > 0) ::kill(-pid_, SIGKILL);
    }
    thread_.join();
  }

  void on_exit(std::function<void(int)> callback) override {
    const base::MutexLock lock(mutex_);
    callback_ = std::move(callback);
  }

  Status start(const ProcessSpec& spec, int output, int error_output) override {
    base::MutexLock lock(mutex_);
    if (pid_ > 0 || request_ != nullptr) {
      return failure(ErrorCode::failed_precondition, "start backend", spec.arguments.front(),
                     "the process before is still there");
    }
    Request request{.spec = spec, .output = output, .error_output = error_output, .result = std::nullopt};
    request_ = &request;
    changed_.notify_all();
    while (!request.result) changed_.wait(lock);
    return *std::exchange(request.result, std::nullopt);
  }

  void signal(int number) override {
    const base::MutexLock lock(mutex_);
    if (pid_ > 0) ::kill(-pid_, number);
  }

 private:
  struct Request {
    const ProcessSpec& spec;
    int output;
    int error_output;
    std::optional<Status> result;
  };

  // The child's death signal belongs to the thread that forked it, so this one forks and stays.
  void run(const std::stop_token& stop) LITECLUSTER_EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    while (!stop.stop_requested()) {
      if (request_ == nullptr) {
        changed_.wait(lock);
        continue;
      }
      Request& request = *std::exchange(request_, nullptr);
      request.result = fork_process(request);
      changed_.notify_all();
      const pid_t pid = pid_;
      if (pid <= 0) continue;
      lock.unlock();
      siginfo_t info{};
      while (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
      }
      lock.lock();
      // Not reaped yet, so the group's number cannot have been given to others.
      ::kill(-pid, SIGKILL);
      int status = 0;
      while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
      }
      pid_ = -1;
      const auto callback = callback_;
      lock.unlock();
      if (callback) callback(status);
      lock.lock();
    }
  }

  Status fork_process(const Request& request) LITECLUSTER_REQUIRES(mutex_) {
    const std::string& program = request.spec.arguments.front();
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
      return std::unexpected(base::errno_error(errno, "start backend", program));
    }
    const base::FileDescriptor report_end(ends[0]);
    base::FileDescriptor child_end(ends[1]);
    const Prepared prepared(request.spec);
    const pid_t pid = ::fork();
    if (pid < 0) return std::unexpected(base::errno_error(errno, "start backend", program));
    if (pid == 0) exec_child(prepared, request.output, request.error_output, child_end.get());
    child_end.reset();
    int error_number = 0;
    if (::read(report_end.get(), &error_number, sizeof error_number) > 0) {
      ::waitpid(pid, nullptr, 0);
      return std::unexpected(base::errno_error(error_number, "start backend", program));
    }
    pid_ = pid;
    return {};
  }

  base::Mutex mutex_;
  base::ConditionVariable changed_;
  pid_t pid_ LITECLUSTER_GUARDED_BY(mutex_) = -1;
  Request* request_ LITECLUSTER_GUARDED_BY(mutex_) = nullptr;
  std::function<void(int)> callback_ LITECLUSTER_GUARDED_BY(mutex_);
  std::jthread thread_;
};

}  // namespace

Result<std::string> encode_process_spec(const ProcessSpec& spec) {
  std::string bytes = std::to_string(spec.arguments.size());
  bytes += '\0';
  const auto append = [&](const std::string& text) {
    bytes += text;
    bytes += '\0';
    return text.find('\0') == std::string::npos;
  };
  bool fine = append(spec.directory);
  for (const std::string& text : spec.arguments) fine = append(text) && fine;
  for (const std::string& text : spec.environment) fine = append(text) && fine;
  if (!fine) return bad_spec("an argument or variable contains a zero byte");
  if (spec.arguments.empty() || spec.arguments.front().empty()) return bad_spec("there is no program to run");
  return bytes;
}

Result<ProcessSpec> decode_process_spec(std::string_view bytes) {
  std::vector<std::string> strings;
  while (!bytes.empty() && strings.size() < spec_strings_max) {
    const std::size_t end = bytes.find('\0');
    if (end == std::string_view::npos) return bad_spec("it is cut off");
    strings.emplace_back(bytes.substr(0, end));
    bytes.remove_prefix(end + 1);
  }
  if (strings.size() < 3 || !bytes.empty()) return bad_spec("too few or too many strings");
  const std::size_t count = std::strtoull(strings[0].c_str(), nullptr, 10);
  if (count == 0 || count > strings.size() - 2 || strings[2].empty())
    return bad_spec("there is no program to run");
  ProcessSpec spec;
  spec.directory = strings[1];
  const auto arguments_end = strings.begin() + 2 + static_cast<std::ptrdiff_t>(count);
  spec.arguments.assign(strings.begin() + 2, arguments_end);
  spec.environment.assign(arguments_end, strings.end());
  return spec;
}

std::string describe_wait_status(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    const int number = WTERMSIG(wait_status);
    const char* name = ::sigdescr_np(number);
    return "signal " + std::to_string(number) + " (" + (name == nullptr ? "unknown" : name) + ")";
  }
  return "exit status " + std::to_string(WEXITSTATUS(wait_status));
}

void become_process(const ProcessSpec& spec, int output, int error_output, int report) {
  const Prepared prepared(spec);
  exec_child(prepared, output, error_output, report);
}

std::unique_ptr<ProcessHost> make_local_process_host() {
  return std::make_unique<LocalProcessHost>();
}

Result<int> run_to_end(const Context& context, const ProcessSpec& spec, int output, int error_output) {
  LocalProcessHost host;
  const auto ended = std::make_shared<std::promise<int>>();
  auto status = ended->get_future();
  host.on_exit([ended](int wait_status) { ended->set_value(wait_status); });
  if (auto started = host.start(spec, output, error_output); !started) {
    return std::unexpected(std::move(started.error()));
  }
  const auto registration = context.on_cancel([&host] { host.signal(SIGKILL); });
  if (const auto until = context.deadline();
      until && status.wait_until(*until) != std::future_status::ready) {
    host.signal(SIGKILL);
  }
  return status.get();
}

}  // namespace litecluster::backend
