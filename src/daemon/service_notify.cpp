#include "daemon/service_notify.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "base/file_descriptor.hpp"
#include "daemon/scalar.hpp"

namespace litecluster::daemon {

void notify_service_manager(std::string_view state) {
  const char* name = std::getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  if (name == nullptr || *name == '\0' || std::strlen(name) >= sizeof(address.sun_path)) return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name, std::strlen(name));
  // A leading @ stands for the abstract name space.
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  const base::FileDescriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(name));
  static_cast<void>(::sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL,
                             reinterpret_cast<const sockaddr*>(&address), length));
}

std::optional<std::chrono::microseconds> watchdog_interval() {
  const char* interval = std::getenv("WATCHDOG_USEC");
  const char* process = std::getenv("WATCHDOG_PID");
  if (interval == nullptr) return std::nullopt;
  if (process != nullptr && parse_number(process, 1U << 30U) != static_cast<std::uint64_t>(::getpid())) {
    return std::nullopt;
  }
  const auto microseconds = parse_number(interval, 86'400'000'000ULL);
  if (!microseconds || *microseconds < 2) return std::nullopt;
  return std::chrono::microseconds(*microseconds / 2);
}

}  // namespace litecluster::daemon
