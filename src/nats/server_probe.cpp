#include "nats/server_probe.hpp"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "base/file_descriptor.hpp"
#include "nats/json_fields.hpp"

namespace litecluster::nats {
namespace {

constexpr std::string_view operation = "ask for server information";
constexpr std::size_t line_max = std::size_t{64} << 10U;

struct HostPort {
  std::string host;
  std::string port = "4222";
};

HostPort split(std::string_view url) {
  if (const auto scheme = url.find("://"); scheme != std::string_view::npos) url.remove_prefix(scheme + 3);
  if (const auto user = url.rfind('@'); user != std::string_view::npos) url.remove_prefix(user + 1);
  url = url.substr(0, url.find('/'));
  HostPort result;
  const auto colon = url.rfind(':');
  const bool has_port = colon != std::string_view::npos && url.find(']', colon) == std::string_view::npos;
  std::string_view host = has_port ? url.substr(0, colon) : url;
  if (has_port) result.port = std::string(url.substr(colon + 1));
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  result.host = std::string(host);
  return result;
}

// Waits in slices, so that cancelling is noticed.
Status wait_ready(const Context& context, int descriptor, short events) {
  while (true) {
    if (auto status = context.status(operation); !status) return status;
    pollfd entry{descriptor, events, 0};
    const int ready = ::poll(&entry, 1, 50);
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) {
      return failure(ErrorCode::io, std::string(operation), {}, std::generic_category().message(errno));
    }
  }
}

Result<base::FileDescriptor> connect_to(const Context& context, const addrinfo& address) {
  base::FileDescriptor socket(
      ::socket(address.ai_family, address.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address.ai_protocol));
  int problem = socket ? 0 : errno;
  if (socket && ::connect(socket.get(), address.ai_addr, address.ai_addrlen) != 0 && errno != EINPROGRESS) {
    problem = errno;
  }
  if (problem == 0) {
    if (auto status = wait_ready(context, socket.get(), POLLOUT); !status)
      return std::unexpected(status.error());
    socklen_t size = sizeof(problem);
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &problem, &size);
  }
  if (problem != 0) {
    return failure(ErrorCode::unavailable, std::string(operation), {},
                   std::generic_category().message(problem));
  }
  return socket;
}

Result<std::string> read_line(const Context& context, int descriptor) {
  std::string line;
  std::array<char, 4096> buffer{};
  while (line.find('\n') == std::string::npos) {
    if (line.size() > line_max)
      return failure(ErrorCode::corrupt, std::string(operation), {}, "not a NATS server");
    if (auto status = wait_ready(context, descriptor, POLLIN); !status)
      return std::unexpected(status.error());
    const ssize_t count = ::recv(descriptor, buffer.data(), buffer.size(), 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (count <= 0) {
      return failure(ErrorCode::unavailable, std::string(operation), {}, "the server closed the connection");
    }
    line.append(buffer.data(), static_cast<std::size_t>(count));
  }
  return line.substr(0, line.find('\n'));
}

}  // namespace

std::string without_credentials(std::string_view url) {
  const auto scheme = url.find("://");
  const std::size_t begin = scheme == std::string_view::npos ? 0 : scheme + 3;
  const auto at = url.rfind('@');
  const bool secret = at != std::string_view::npos && at >= begin;
  return std::string(url.substr(0, begin)) + std::string(url.substr(secret ? at + 1 : begin));
}

Result<ServerInfo> parse_server_info(std::string_view line) {
  const auto bad = [] {
    return failure(ErrorCode::corrupt, std::string(operation), {},
                   "what answers does not speak the NATS protocol");
  };
  if (!line.starts_with("INFO ")) return bad();
  const auto json = parse_object(line.substr(5));
  if (!json) return bad();
  const auto fits = [&json](const char* name, bool (Json::*has_type)() const noexcept) {
    const Json& value = member(*json, name);
    return value.is_null() || (value.*has_type)();
  };
  const bool fine = fits("version", &Json::is_string) && fits("server_name", &Json::is_string) &&
                    fits("server_id", &Json::is_string) && fits("cluster", &Json::is_string) &&
                    fits("max_payload", &Json::is_number_unsigned) && fits("jetstream", &Json::is_boolean) &&
                    fits("headers", &Json::is_boolean);
  if (!fine) return bad();
  ServerInfo info;
  info.version = text_of(*json, "version");
  info.name = text_of(*json, "server_name");
  info.id = text_of(*json, "server_id");
  info.cluster = text_of(*json, "cluster");
  info.max_payload = count_of(*json, "max_payload");
  info.jetstream = flag_of(*json, "jetstream");
  info.headers = flag_of(*json, "headers");
  return info;
}

Result<ServerInfo> probe_server(const Context& context, std::string_view url) {
  const Context limited = context.with_timeout(std::chrono::seconds(5));
  const HostPort target = split(url);
  const std::string shown = without_credentials(url);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int problem = ::getaddrinfo(target.host.c_str(), target.port.c_str(), &hints, &found);
      problem != 0) {
    return failure(ErrorCode::unavailable, std::string(operation), shown, ::gai_strerror(problem));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, &::freeaddrinfo);
  Error last(ErrorCode::unavailable, std::string(operation), shown, "no address");
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    auto socket = connect_to(limited, *address);
    if (!socket) {
      last = std::move(socket.error());
      continue;
    }
    auto line = read_line(limited, socket->get());
    if (!line) return std::unexpected(line.error());
    return parse_server_info(*line);
  }
  return std::unexpected(Error(last.code(), std::string(operation), shown, last.reason()));
}

}  // namespace litecluster::nats
