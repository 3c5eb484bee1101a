#include "daemon/control_socket.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "base/file_descriptor.hpp"
#include "support/temporary_directory.hpp"

namespace litecluster::daemon {
namespace {

using namespace std::chrono_literals;

std::string echo(const Context& /*context*/, const std::string& request) {
  return "echo " + request;
}

class ControlSocket : public testing::Test {
 protected:
  test::TemporaryDirectory directory;
  std::filesystem::path path = directory / "control.sock";
  Context context = Context::background().with_timeout(30s);
};

TEST_F(ControlSocket, AnswersManyClientsAtOnce) {
  const auto server = ControlServer::start(path, echo);
  ASSERT_TRUE(server) << server.error().message();
  std::vector<std::thread> clients;
  std::atomic<int> right = 0;
  for (int number = 0; number < 40; ++number) {
    clients.emplace_back([&, number] {
      // More clients than workers: some see a full backlog and come again.
      while (!context.done()) {
        const auto answer = control_request(context, path, std::to_string(number));
        if (answer) {
          right += *answer == "echo " + std::to_string(number) ? 1 : 0;
          return;
        }
        std::this_thread::yield();
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(right, 40);
}

TEST_F(ControlSocket, AFileOfThatNameStays) {
  std::ofstream(path) << "somebody's database";
  const auto server = ControlServer::start(path, echo);
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().code(), ErrorCode::already_exists);
  EXPECT_TRUE(std::filesystem::is_regular_file(path));
  EXPECT_EQ(std::filesystem::file_size(path), 19U);
}

TEST_F(ControlSocket, ABusyNodeKeepsItsSocket) {
  // Listens, and its backlog is full.
  const base::FileDescriptor listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(::listen(listener.get(), 0), 0);
  std::vector<base::FileDescriptor> clients;
  while (true) {
    base::FileDescriptor client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) break;
    clients.push_back(std::move(client));
    ASSERT_LT(clients.size(), 1000U);
  }
  const auto server = ControlServer::start(path, echo);
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().code(), ErrorCode::already_exists);
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST_F(ControlSocket, IsForItsOwnerAlone) {
  const auto server = ControlServer::start(path, echo);
  ASSERT_TRUE(server);
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST_F(ControlSocket, RefusesToTakeOverALiveOneButReplacesADeadOne) {
  {
    const auto first = ControlServer::start(path, echo);
    ASSERT_TRUE(first);
    const auto second = ControlServer::start(path, echo);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code(), ErrorCode::already_exists);
  }
  // What a killed node leaves behind: a bound name that nobody listens on.
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  {
    const base::FileDescriptor dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }
  ASSERT_TRUE(std::filesystem::exists(path));
  EXPECT_TRUE(ControlServer::start(path, echo));
}

TEST_F(ControlSocket, SaysThatNobodyIsThere) {
  EXPECT_EQ(control_request(context, path, "x").error().code(), ErrorCode::not_found);
}

TEST_F(ControlSocket, RefusesAPathThatDoesNotFit) {
  const auto server = ControlServer::start(directory / std::string(120, 'x'), echo);
  EXPECT_EQ(server.error().code(), ErrorCode::too_large);
}

TEST_F(ControlSocket, StoppingCancelsAHandlerThatWaits) {
  std::atomic<bool> inside = false;
  auto server =
      ControlServer::start(path, [&](const Context& handler_context, const std::string& /*request*/) {
        inside = true;
        return handler_context.wait_for(1h) ? "cancelled" : "waited";
      });
  ASSERT_TRUE(server);
  std::thread client([&] { static_cast<void>(control_request(context, path, "wait")); });
  while (!inside) std::this_thread::yield();
  server->reset();
  client.join();
}

TEST_F(ControlSocket, AClientThatGivesUpGetsItsOwnDeadline) {
  const auto server = ControlServer::start(
      path, [](const Context& handler_context, const std::string& /*request*/) -> std::string {
        handler_context.wait_for(1h);
        return "";
      });
  ASSERT_TRUE(server);
  const auto answer = control_request(Context::background().with_timeout(20ms), path, "wait");
  EXPECT_EQ(answer.error().code(), ErrorCode::deadline_exceeded);
}

}  // namespace
}  // namespace litecluster::daemon
