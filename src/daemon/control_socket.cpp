#include "daemon/control_socket.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "base/file.hpp"
#include "base/file_descriptor.hpp"
#include "base/mutex.hpp"

namespace litecluster::daemon {

namespace {

constexpr std::chrono::milliseconds client_idle_max{10'000};

Result<sockaddr_un> address_of(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string text = path.string();
  if (text.size() >= sizeof(address.sun_path)) {
    return failure(ErrorCode::too_large, "use control socket", text,
                   "the path has more than " + std::to_string(sizeof(address.sun_path) - 1) +
                       " bytes; set a shorter one with `socket`");
  }
  std::memcpy(address.sun_path, text.c_str(), text.size() + 1);
  return address;
}

std::unexpected<Error> socket_error(std::string operation, const std::filesystem::path& path) {
  return std::unexpected(base::errno_error(errno, std::move(operation), path.string()));
}

Result<base::FileDescriptor> connect_to(const std::filesystem::path& path) {
  const auto address = address_of(path);
  if (!address) return std::unexpected(address.error());
  base::FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return socket_error("create socket", path);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) == 0)
    return socket;
  if (errno == ECONNREFUSED) {
    return failure(ErrorCode::unavailable, "connect to", path.string(), "no node is running behind it");
  }
  // A unix socket whose backlog is full answers EAGAIN to a non-blocking connect.
  if (errno == EAGAIN) return failure(ErrorCode::busy, "connect to", path.string(), "the node is too busy");
  return socket_error("connect to", path);
}

// An eventfd that becomes readable when the context is cancelled.
class CancelEvent {
 public:
  explicit CancelEvent(const Context& context)
      : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        registration_(context.on_cancel([descriptor = event_.get()] {
          const std::uint64_t one = 1;
          static_cast<void>(!::write(descriptor, &one, sizeof(one)));
        })) {}
  [[nodiscard]] int descriptor() const { return event_.get(); }

 private:
  base::FileDescriptor event_;
  Context::Registration registration_;
};

// Waits until the socket is ready for `events`; an Error when the context ends first.
Status wait_ready(const Context& context, const CancelEvent& cancel, int socket, short events) {
  while (true) {
    if (auto status = context.status("talk to control socket"); !status) return status;
    std::array<pollfd, 2> waits{pollfd{.fd = socket, .events = events, .revents = 0},
                                pollfd{.fd = cancel.descriptor(), .events = POLLIN, .revents = 0}};
    const auto timeout =
        std::chrono::ceil<std::chrono::milliseconds>(context.remaining(std::chrono::seconds(60)));
    const int ready = ::poll(waits.data(), waits.size(), static_cast<int>(timeout.count()));
    if (ready < 0 && errno != EINTR) return socket_error("wait for", "control socket");
    if (ready > 0 && waits[0].revents != 0) return {};
  }
}

Status send_line(const Context& context, int socket, std::string line) {
  const CancelEvent cancel(context);
  line += '\n';
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t count = ::send(socket, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (count >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      if (auto ready = wait_ready(context, cancel, socket, POLLOUT); !ready) return ready;
    } else if (errno != EINTR) {
      return socket_error("write to", "control socket");
    }
  }
  return {};
}

Result<std::string> receive_line(const Context& context, int socket, std::size_t bytes_max) {
  const CancelEvent cancel(context);
  std::string line;
  std::array<char, 16384> buffer{};
  while (true) {
    const ssize_t count = ::recv(socket, buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EAGAIN) {
      if (auto ready = wait_ready(context, cancel, socket, POLLIN); !ready)
        return std::unexpected(ready.error());
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return socket_error("read from", "control socket");
    if (count == 0) {
      return failure(ErrorCode::unavailable, "read from", "control socket",
                     "the other side ended the connection");
    }
    line.append(buffer.data(), static_cast<std::size_t>(count));
    if (const std::size_t end = line.find('\n'); end != std::string::npos) return line.substr(0, end);
    if (line.size() > bytes_max) {
      return failure(ErrorCode::too_large, "read from", "control socket",
                     "more than " + std::to_string(bytes_max) + " bytes without an end of line");
    }
  }
}

// Removes the socket that a node which is gone left behind; what is no such socket stays. A connection to an
// ordinary file is refused like one to a socket without a node.
Status make_room(const std::filesystem::path& path) {
  constexpr const char* operation = "open control socket";
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return socket_error(operation, path);
  }
  if (!S_ISSOCK(status.st_mode)) {
    return failure(ErrorCode::already_exists, operation, path.string(),
                   "a file that is no socket has this name");
  }
  const auto other = connect_to(path);
  if (other || other.error().code() == ErrorCode::busy) {
    return failure(ErrorCode::already_exists, operation, path.string(),
                   "a node is running behind it; two nodes need different names or directories");
  }
  // Also what we may not even connect to, as another user left it behind, when the directory is ours.
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return socket_error(operation, path);
  return {};
}

class Server final : public ControlServer {
 public:
  Server(std::filesystem::path path, base::FileDescriptor listener, ControlHandler handler)
      : path_(std::move(path)), listener_(std::move(listener)), handler_(std::move(handler)) {
    for (int worker = 0; worker < control_clients_max; ++worker) {
      // Workers are cheap while idle: they all sleep in accept's poll.
      workers_.emplace_back([this] { serve(); });
    }
  }

  ~Server() override {
    stop_.cancel();
    for (std::thread& worker : workers_) worker.join();
    ::unlink(path_.c_str());
  }

 private:
  void serve() {
    const CancelEvent cancel(stop_);
    while (wait_ready(stop_, cancel, listener_.get(), POLLIN)) {
      base::FileDescriptor client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (client) answer(client.get());
    }
  }

  void answer(int client) {
    const auto request = receive_line(stop_.with_timeout(client_idle_max), client, control_request_bytes_max);
    if (!request) return;
    const std::string text = handler_(stop_, *request);
    static_cast<void>(send_line(stop_.with_timeout(client_idle_max), client, text));
  }

  std::filesystem::path path_;
  base::FileDescriptor listener_;
  ControlHandler handler_;
  Context stop_ = Context::background();
  std::vector<std::thread> workers_;
};

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::start(const std::filesystem::path& path,
                                                            ControlHandler handler) {
  const auto address = address_of(path);
  if (!address) return std::unexpected(address.error());
  if (auto free = make_room(path); !free) return std::unexpected(free.error());
  base::FileDescriptor listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener) return socket_error("create socket", path);
  // The mode is set before bind creates the name, so that nobody can connect in between.
  ::fchmod(listener.get(), 0600);
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0) {
    return socket_error("open control socket", path);
  }
  ::chmod(path.c_str(), 0600);
  if (::listen(listener.get(), control_clients_max) != 0) return socket_error("listen on", path);
  return std::make_unique<Server>(path, std::move(listener), std::move(handler));
}

Result<std::string> control_request(const Context& context, const std::filesystem::path& path,
                                    const std::string& request) {
  const auto socket = connect_to(path);
  if (!socket) return std::unexpected(socket.error());
  if (auto sent = send_line(context, socket->get(), request); !sent) return std::unexpected(sent.error());
  return receive_line(context, socket->get(), control_answer_bytes_max);
}

}  // namespace litecluster::daemon
