// Finding a nats-server binary and asking it for its version; finding a free port.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/file.hpp"
#include "base/file_descriptor.hpp"
#include "nats/private_server.hpp"

namespace litecluster::nats {
namespace {

bool is_program(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored) && ::access(path.c_str(), X_OK) == 0;
}

std::string read_all(int descriptor) {
  std::string text;
  std::array<char, 512> buffer{};
  while (text.size() < 4096) {
    const ssize_t count = ::read(descriptor, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  return text;
}

}  // namespace

Result<std::filesystem::path> find_server_binary() {
  if (const char* named = std::getenv("LITECLUSTER_NATS_SERVER"); named != nullptr && *named != '\0') {
    if (is_program(named)) return std::filesystem::path(named);
    return failure(ErrorCode::not_found, "find nats-server", named,
                   "LITECLUSTER_NATS_SERVER does not name a program");
  }
  std::string_view path = std::getenv("PATH") == nullptr ? std::string_view() : std::getenv("PATH");
  while (!path.empty()) {
    const std::size_t colon = std::min(path.find(':'), path.size());
    auto candidate = std::filesystem::path(path.substr(0, colon)) / "nats-server";
    if (colon > 0 && is_program(candidate)) return candidate;
    path.remove_prefix(std::min(path.size(), colon + 1));
  }
  std::filesystem::path packaged = "/usr/sbin/nats-server";
  if (is_program(packaged)) return packaged;
  return failure(ErrorCode::not_found, "find nats-server", {},
                 "not in $PATH and not at /usr/sbin/nats-server; install the package nats-server or set "
                 "LITECLUSTER_NATS_SERVER");
}

Result<std::string> server_binary_version(const std::filesystem::path& binary) {
  constexpr std::string_view operation = "ask nats-server for its version";
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return std::unexpected(base::errno_error(errno, std::string(operation), binary));
  const base::FileDescriptor reader(ends[0]);
  base::FileDescriptor writer(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, writer.get(), STDOUT_FILENO);
  std::string program = binary.native();
  std::string option = "--version";
  char* const arguments[] = {program.data(), option.data(), nullptr};
  pid_t child = 0;
  const int problem = ::posix_spawn(&child, program.c_str(), &actions, nullptr, arguments, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (problem != 0) return std::unexpected(base::errno_error(problem, std::string(operation), program));
  writer.reset();
  const std::string text = read_all(reader.get());
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  // "nats-server: v2.9.10"
  const std::size_t mark = text.find(": v");
  if (mark == std::string::npos) {
    return failure(ErrorCode::failed_precondition, std::string(operation), program,
                   "it does not say: " + text);
  }
  const std::string rest = text.substr(mark + 3);
  return rest.substr(0, rest.find_first_of(" \r\n"));
}

Result<std::uint16_t> find_free_port() {
  const base::FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (!socket || ::bind(socket.get(), generic, size) != 0 ||
      ::getsockname(socket.get(), generic, &size) != 0) {
    return std::unexpected(base::errno_error(errno, "find a free port", {}));
  }
  return ntohs(address.sin_port);
}

}  // namespace litecluster::nats
