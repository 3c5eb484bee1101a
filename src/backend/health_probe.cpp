#include "backend/health_probe.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

#include "backend/process.hpp"
#include "base/file_descriptor.hpp"

extern char** environ;

namespace litecluster::backend {

namespace {

using Clock = std::chrono::steady_clock;

std::unexpected<Error> unhealthy(std::string subject, std::string reason) {
  return failure(ErrorCode::unavailable, "check backend health", std::move(subject), std::move(reason));
}

std::unexpected<Error> too_slow(std::string subject) {
  return failure(ErrorCode::deadline_exceeded, "check backend health", std::move(subject),
                 "no answer in time");
}

int milliseconds_until(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
}

bool wait_for(int descriptor, short events, Clock::time_point deadline) {
  pollfd source{.fd = descriptor, .events = events, .revents = 0};
  int ready = 0;
  do {
    ready = ::poll(&source, 1, milliseconds_until(deadline));
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

Result<base::FileDescriptor> connect_to(const std::string& host, std::uint16_t port,
                                        Clock::time_point deadline) {
  const std::string subject = host + ":" + std::to_string(port);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
      error != 0) {
    return unhealthy(subject, ::gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, ::freeaddrinfo);
  int last_error = ECONNREFUSED;
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    base::FileDescriptor socket(
        ::socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, address->ai_protocol));
    if (!socket) continue;
    if (::connect(socket.get(), address->ai_addr, address->ai_addrlen) == 0) return socket;
    if (errno == EINPROGRESS) {
      if (!wait_for(socket.get(), POLLOUT, deadline)) return too_slow(subject);
      socklen_t size = sizeof last_error;
      ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &last_error, &size);
      if (last_error == 0) return socket;
    } else {
      last_error = errno;
    }
  }
  return unhealthy(subject, std::strerror(last_error));
}

Status check_http(const HttpProbe& probe, Clock::time_point deadline) {
  const std::string subject = "http://" + probe.host + ":" + std::to_string(probe.port) + probe.path;
  auto socket = connect_to(probe.host, probe.port, deadline);
  if (!socket) return std::unexpected(socket.error());
  const std::string request = "GET " + probe.path + " HTTP/1.1\r\nHost: " + probe.host + ":" +
                              std::to_string(probe.port) +
                              "\r\nUser-Agent: litecluster\r\nConnection: close\r\n\r\n";
  if (::send(socket->get(), request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size())) {
    return unhealthy(subject, "the request could not be sent");
  }
  std::string answer;
  std::array<char, 512> part{};
  // Only the status is of interest: "HTTP/1.1 200".
  while (answer.size() < 12) {
    if (!wait_for(socket->get(), POLLIN, deadline)) return too_slow(subject);
    const ssize_t size = ::recv(socket->get(), part.data(), part.size(), 0);
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (size <= 0) return unhealthy(subject, "the connection ended before an answer");
    answer.append(part.data(), static_cast<std::size_t>(size));
  }
  if (!answer.starts_with("HTTP/1.")) return unhealthy(subject, "the answer is not HTTP");
  const char status_class = answer[9];
  if (status_class != '2' && status_class != '3') return unhealthy(subject, "status " + answer.substr(9, 3));
  return {};
}

Status check_command(const CommandProbe& probe, Clock::time_point deadline) {
  std::vector<char*> arguments;
  arguments.reserve(probe.arguments.size() + 1);
  for (const std::string& argument : probe.arguments)
    arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  // NATS' library ignores SIGPIPE for the whole process.
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  ::posix_spawnattr_setsigdefault(&attributes, &pipe);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF);
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  // Libraries open descriptors that exec does not close: connections to NATS are nobody else's.
  ::posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, arguments[0], &files, &attributes, arguments.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files);
  const std::string& subject = probe.arguments.front();
  if (error != 0) return unhealthy(subject, std::strerror(error));
  const base::FileDescriptor handle(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const bool ended = wait_for(handle.get(), POLLIN, deadline);
  ::kill(-pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!ended) return too_slow(subject);
  if (status != 0) return unhealthy(subject, describe_wait_status(status));
  return {};
}

/// "host:port" or "[v6]:port"; without a port `port_default`, and 0 for none.
bool split_authority(std::string_view text, std::uint16_t port_default, std::string& host,
                     std::uint16_t& port) {
  port = port_default;
  std::size_t host_end = text.rfind(':');
  if (text.starts_with('[')) {
    const std::size_t bracket = text.find(']');
    if (bracket == std::string_view::npos) return false;
    host = text.substr(1, bracket - 1);
    host_end = bracket + 1 < text.size() ? bracket + 1 : std::string_view::npos;
    if (host_end != std::string_view::npos && text[host_end] != ':') return false;
  } else {
    host = text.substr(0, host_end);
  }
  if (host_end != std::string_view::npos) {
    const std::string_view digits = text.substr(host_end + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (error != std::errc() || end != digits.data() + digits.size()) return false;
  }
  return !host.empty() && port != 0;
}

}  // namespace

Result<HealthProbe> parse_health_probe(std::string_view text) {
  constexpr std::string_view tcp = "tcp://";
  constexpr std::string_view http = "http://";
  constexpr std::string_view command = "exec:";
  if (text.empty()) return ExitProbe{};
  if (text.starts_with(tcp)) {
    TcpProbe probe;
    if (split_authority(text.substr(tcp.size()), 0, probe.host, probe.port)) return probe;
  } else if (text.starts_with(http)) {
    const std::string_view rest = text.substr(http.size());
    const std::size_t slash = rest.find('/');
    HttpProbe probe;
    const bool clean = std::ranges::none_of(rest, [](char c) { return c <= ' ' || c == 0x7F; });
    if (slash != std::string_view::npos) probe.path = rest.substr(slash);
    if (clean && split_authority(rest.substr(0, slash), 80, probe.host, probe.port)) return probe;
  } else if (text.starts_with(command) && text.size() > command.size()) {
    return CommandProbe{{"/bin/sh", "-c", std::string(text.substr(command.size()))}};
  }
  return failure(ErrorCode::invalid_argument, "configure health check", std::string(text),
                 "expected tcp://host:port, http://host[:port][/path] or exec:command");
}

Status check_health(const HealthProbe& probe, std::chrono::nanoseconds timeout) {
  const Clock::time_point deadline = Clock::now() + timeout;
  if (const auto* tcp = std::get_if<TcpProbe>(&probe)) {
    const auto socket = connect_to(tcp->host, tcp->port, deadline);
    return socket ? Status() : Status(std::unexpected(socket.error()));
  }
  if (const auto* http = std::get_if<HttpProbe>(&probe)) return check_http(*http, deadline);
  if (const auto* command = std::get_if<CommandProbe>(&probe)) return check_command(*command, deadline);
  return {};
}

}  // namespace litecluster::backend
