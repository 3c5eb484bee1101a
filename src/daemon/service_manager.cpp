#include "daemon/service_manager.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "base/file_descriptor.hpp"
#include "daemon/scalar.hpp"

namespace litecluster::daemon {

namespace {

std::string take(const char* name) {
  const char* value = std::getenv(name);
  std::string taken = value == nullptr ? "" : value;
  ::unsetenv(name);
  return taken;
}

}  // namespace

ServiceManager ServiceManager::take_from_environment() {
  ServiceManager manager;
  manager.socket_ = take("NOTIFY_SOCKET");
  const std::string interval = take("WATCHDOG_USEC");
  const std::string process = take("WATCHDOG_PID");
  if (!process.empty() && parse_number(process, 1U << 30U) != static_cast<std::uint64_t>(::getpid())) {
    return manager;
  }
  const auto microseconds = parse_number(interval, 86'400'000'000ULL);
  if (microseconds && *microseconds >= 2) {
    manager.watchdog_interval_ = std::chrono::microseconds(*microseconds / 2);
  }
  return manager;
}

void ServiceManager::notify(std::string_view state) const {
  sockaddr_un address{};
  if (socket_.empty() || socket_.size() >= sizeof(address.sun_path)) return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  // A leading @ stands for the abstract name space.
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  const base::FileDescriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
  static_cast<void>(::sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL,
                             reinterpret_cast<const sockaddr*>(&address), length));
}

}  // namespace litecluster::daemon
