#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "backend/guard.hpp"
#include "backend/guard_death.hpp"
#include "backend/guard_message.hpp"
#include "base/file.hpp"
#include "base/mutex.hpp"

namespace litecluster::backend {

namespace {

constexpr auto answer_timeout = std::chrono::seconds(10);

// Signal handlers have no arguments of ours.
std::atomic<GuardMemory*> memory_of_handler{nullptr};
std::atomic<const std::vector<std::shared_ptr<Fence>>*> fences_of_handler{nullptr};

// A fence makes system calls and nothing else, unless one fails: an Error is allocated, and whom the signal
// interrupted may be in the allocator.
constexpr unsigned fence_seconds_max = 1;

extern "C" void guard_died(int /*signal*/) {
  GuardMemory* memory = memory_of_handler.load();
  if (memory != nullptr) end_now(*memory);
}

int guard_death_signal() {
  return SIGRTMAX - 1;
}

void kill_group(const GuardMemory& memory) {
  const std::int32_t group = memory.backend_group.load();
  if (group > 1) ::kill(-group, SIGKILL);
}

}  // namespace

void end_now(GuardMemory& memory) {
  kill_group(memory);
  ::signal(SIGALRM, SIG_DFL);
  ::alarm(fence_seconds_max);
  if (const auto* fences = fences_of_handler.load(); fences != nullptr) {
    for (const auto& fence : *fences) fence->drop();
  }
  ::kill(::getpid(), SIGKILL);
  ::_exit(1);
}

void die_with_guard(GuardMemory& memory, const std::vector<std::shared_ptr<Fence>>& fences, int guard_pid) {
  fences_of_handler.store(&fences);
  memory_of_handler.store(&memory);
  struct sigaction action{};
  action.sa_handler = guard_died;
  ::sigaction(guard_death_signal(), &action, nullptr);
  ::prctl(PR_SET_PDEATHSIG, guard_death_signal());
  // It may have died before we asked.
  if (::getppid() != guard_pid) end_now(memory);
}

class GuardLink::Host final : public ProcessHost {
 public:
  Host(int socket, GuardMemory& memory) : socket_(socket), memory_(memory) {}
  ~Host() override {
    // Ends the reader's recvmsg.
    ::shutdown(socket_, SHUT_RD);
  }

  void on_exit(std::function<void(int)> callback) override {
    const base::MutexLock lock(mutex_);
    exited_ = std::move(callback);
  }

  Status start(const ProcessSpec& spec, int output, int error_output) override {
    auto bytes = encode_process_spec(spec);
    if (!bytes) return std::unexpected(bytes.error());
    const std::string& program = spec.arguments.front();
    const base::FileDescriptor file(::memfd_create("litecluster-process", MFD_CLOEXEC));
    if (!file) return std::unexpected(base::errno_error(errno, "start backend", program));
    if (auto status = base::write_at(file.get(), base::as_bytes(*bytes), 0, "process spec"); !status) {
      return status;
    }
    base::MutexLock lock(mutex_);
    answer_.reset();
    const std::array<int, 3> descriptors = {file.get(), output >= 0 ? output : STDOUT_FILENO,
                                            error_output >= 0 ? error_output : STDERR_FILENO};
    if (auto status =
            send_message(socket_, {.verb = GuardVerb::start, .reserved = 0, .number = 0}, &descriptors);
        !status) {
      return status;
    }
    const auto deadline = std::chrono::steady_clock::now() + answer_timeout;
    while (!answer_) {
      if (!answered_.wait_until(lock, deadline) && !answer_) {
        // Right behind the order, which a guard that goes on may still carry out.
        signal(SIGKILL);
        return failure(ErrorCode::unavailable, "start backend", program, "the guard does not answer");
      }
    }
    if (answer_->verb == GuardVerb::started) return {};
    if (answer_->number == 0) {
      return failure(ErrorCode::failed_precondition, "start backend", program,
                     "the guard refuses: the lease is over, or another backend is still there");
    }
    return std::unexpected(base::errno_error(static_cast<int>(answer_->number), "start backend", program));
  }

  void signal(int number) override {
    // Fails only when the guard is gone, and then so are we.
    [[maybe_unused]] const Status ignored =
        send_message(socket_, {.verb = GuardVerb::signal, .reserved = 0, .number = number}, nullptr);
  }

  void listen(std::function<void()> fenced) {
    fenced_ = std::move(fenced);
    reader_ = std::jthread([this](const std::stop_token& stop) { read(stop); });
  }
  void stop() {
    reader_.request_stop();
    ::shutdown(socket_, SHUT_RD);
    if (reader_.joinable()) reader_.join();
  }

 private:
  void read(const std::stop_token& stop) LITECLUSTER_EXCLUDES(mutex_) {
    while (true) {
      GuardDescriptors none;
      const auto message = receive_message(socket_, none, 0);
      if (!message) {
        if (stop.stop_requested()) return;
        end_now(memory_);
      }
      if (message->verb == GuardVerb::started || message->verb == GuardVerb::failed) {
        const base::MutexLock lock(mutex_);
        answer_ = *message;
        answered_.notify_all();
      } else if (message->verb == GuardVerb::exited) {
        std::function<void(int)> callback;
        {
          const base::MutexLock lock(mutex_);
          callback = exited_;
        }
        if (callback) callback(static_cast<int>(message->number));
      } else if (message->verb == GuardVerb::fenced && fenced_) {
        fenced_();
      }
    }
  }

  const int socket_;
  GuardMemory& memory_;
  base::Mutex mutex_;
  base::ConditionVariable answered_;
  std::optional<GuardMessage> answer_ LITECLUSTER_GUARDED_BY(mutex_);
  std::function<void(int)> exited_ LITECLUSTER_GUARDED_BY(mutex_);
  std::function<void()> fenced_;
  std::jthread reader_;
};

GuardLink::GuardLink(election::Incarnation incarnation, GuardMemory& memory, base::FileDescriptor socket)
    : incarnation_(incarnation),
      memory_(memory),
      socket_(std::move(socket)),
      host_(std::make_unique<Host>(socket_.get(), memory)) {}

GuardLink::~GuardLink() {
  host_->stop();
}

void GuardLink::beat() const {
  memory_.agent_heartbeat.store(base::BootClock::now().time_since_epoch().count(), std::memory_order_release);
}

void GuardLink::kill_backend() const {
  kill_group(memory_);
}

void GuardLink::listen(std::function<void()> fenced) {
  host_->listen(std::move(fenced));
}

Status GuardLink::arm() const {
  return send_message(socket_.get(), {.verb = GuardVerb::arm, .reserved = 0, .number = 0}, nullptr);
}

Status GuardLink::disarm() const {
  return send_message(socket_.get(), {.verb = GuardVerb::disarm, .reserved = 0, .number = 0}, nullptr);
}

ProcessHost& GuardLink::process_host() {
  return *host_;
}

}  // namespace litecluster::backend
