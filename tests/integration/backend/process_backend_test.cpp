#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <fstream>

#include "backend/backend.hpp"
#include "base/file_descriptor.hpp"
#include "support/eventually.hpp"
#include "support/temporary_directory.hpp"

namespace litecluster::backend {
namespace {

using namespace std::chrono_literals;
using test::eventually;

Context soon() {
  return Context::background().with_timeout(60s);
}

bool alive(int pid) {
  return ::kill(pid, 0) == 0;
}

class ProcessBackendTest : public ::testing::Test {
 protected:
  std::unique_ptr<Backend> make(const std::string& script, HealthProbe probe = ExitProbe{},
                                SupervisorConfig supervisor = {}) {
    auto made = make_process_backend(
        *host_, {.process = {.arguments = {"/bin/sh", "-c", script},
                             .environment = {"OUT=" + directory_.path().string(), "FLAVOUR=vanilla"},
                             .directory = directory_.path()},
                 .probe = std::move(probe),
                 .probe_timeout = 2s,
                 .supervisor = supervisor});
    EXPECT_TRUE(made);
    return std::move(*made);
  }
  [[nodiscard]] int number_in(const std::string& name) const {
    int number = -1;
    std::ifstream(directory_ / name) >> number;
    return number;
  }
  [[nodiscard]] bool exists(const std::string& name) const {
    return std::filesystem::exists(directory_ / name);
  }

  test::TemporaryDirectory directory_;
  std::unique_ptr<ProcessHost> host_ = make_local_process_host();
};

TEST_F(ProcessBackendTest, RunsWithArgumentsEnvironmentAndDirectory) {
  auto backend = make("pwd > where; echo $FLAVOUR > what; exec sleep 1000");
  ASSERT_TRUE(backend->start(soon()));
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(directory_ / "what"); }));
  std::string where;
  std::ifstream(directory_ / "where") >> where;
  EXPECT_EQ(where, directory_.path());
  EXPECT_TRUE(backend->health());
  EXPECT_TRUE(backend->stop(soon()));
  EXPECT_FALSE(backend->health());
}

TEST_F(ProcessBackendTest, InheritsNoDescriptorsOfOurs) {
  const base::FileDescriptor ours(::fcntl(STDIN_FILENO, F_DUPFD, 100));
  ASSERT_TRUE(ours);
  const std::string path = "/proc/self/fd/" + std::to_string(ours.get());
  auto backend = make("test -e " + path + "; echo $? > code.tmp; mv code.tmp code; exec sleep 1000");
  ASSERT_TRUE(backend->start(soon()));
  ASSERT_TRUE(eventually([&] { return exists("code"); }));
  EXPECT_EQ(number_in("code"), 1);
  ASSERT_TRUE(backend->stop(soon()));
  EXPECT_TRUE(check_health(CommandProbe{{"/bin/sh", "-c", "test ! -e " + path}}, 60s));
}

TEST_F(ProcessBackendTest, KillsTheWholeGroupWithTheProcess) {
  auto backend = make("sleep 1000 & echo $! > child.tmp; mv child.tmp child; exec sleep 1000");
  ASSERT_TRUE(backend->start(soon()));
  ASSERT_TRUE(eventually([&] { return exists("child"); }));
  const int child = number_in("child");
  ASSERT_TRUE(alive(child));
  ASSERT_TRUE(backend->stop(soon()));
  // Reaped by init some time after; a zombie still answers kill(0).
  EXPECT_TRUE(eventually([&] {
    std::string state;
    std::ifstream file("/proc/" + std::to_string(child) + "/stat");
    for (int field = 0; field < 3 && file >> state; ++field) {
    }
    return !file || state == "Z";
  }));
}

TEST_F(ProcessBackendTest, KillsWhatIgnoresTermAfterTheGrace) {
  auto backend =
      make("trap '' TERM; touch ready; while :; do sleep 0.01; done", ExitProbe{}, {.grace = 200ms});
  ASSERT_TRUE(backend->start(soon()));
  ASSERT_TRUE(eventually([&] { return exists("ready"); }));
  EXPECT_TRUE(backend->stop(soon()));
}

TEST_F(ProcessBackendTest, LetsItEndByItselfAfterTerm) {
  auto backend = make("trap 'touch farewell; exit 0' TERM; touch ready; while :; do sleep 0.01; done");
  ASSERT_TRUE(backend->start(soon()));
  ASSERT_TRUE(eventually([&] { return exists("ready"); }));
  EXPECT_TRUE(backend->stop(soon()));
  EXPECT_TRUE(exists("farewell"));
}

TEST_F(ProcessBackendTest, IsStartedAgainAfterACrashAndTellsWhenItGivesUp) {
  auto backend = make("echo x >> starts; sleep 0.05; exit 1", ExitProbe{},
                      {.restart_delay = 5ms, .restart_delay_max = 10ms, .restarts_max = 2});
  std::atomic<bool> failed{false};
  backend->on_failure([&](const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unavailable);
    failed = true;
  });
  ASSERT_TRUE(backend->start(soon()));
  EXPECT_TRUE(eventually([&] { return failed.load(); }));
  EXPECT_EQ(std::filesystem::file_size(directory_ / "starts"), 3 * 2U);
}

TEST_F(ProcessBackendTest, IsReadyWhenItsPortAcceptsConnections) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  socklen_t size = sizeof address;
  ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const TcpProbe probe{.host = "127.0.0.1", .port = ntohs(address.sin_port)};

  // Bound, but nobody listens yet: refused.
  auto backend = make("exec sleep 1000", probe, {.start_timeout = 300ms});
  const Status refused = backend->start(soon());
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().reason().find("not healthy in time"), std::string::npos)
      << refused.error().message();

  ASSERT_EQ(::listen(listener, 5), 0);
  EXPECT_TRUE(backend->start(soon()));
  EXPECT_TRUE(backend->stop(soon()));
  ::close(listener);
}

TEST_F(ProcessBackendTest, IsReadyWhenItsCommandSaysSo) {
  auto backend = make("sleep 0.1; touch healthy; exec sleep 1000",
                      CommandProbe{{"/bin/sh", "-c", "test -f " + (directory_ / "healthy").string()}});
  ASSERT_TRUE(backend->start(soon()));
  EXPECT_TRUE(exists("healthy"));
}

TEST_F(ProcessBackendTest, SaysWhyAProgramCannotBeStarted) {
  auto made = make_process_backend(
      *host_, {.process = {.arguments = {"/nonexistent/program"}, .environment = {}, .directory = {}},
               .probe = ExitProbe{},
               .probe_timeout = 1s,
               .supervisor = {.start_timeout = 100ms}});
  ASSERT_TRUE(made);
  const Status status = (*made)->start(soon());
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().reason().find("/nonexistent/program"), std::string::npos)
      << status.error().message();
}

TEST_F(ProcessBackendTest, StopsWhatItStartedWhenTheStartIsCancelled) {
  auto backend = make("echo $$ > pid.tmp; mv pid.tmp pid; exec sleep 1000", CommandProbe{{"/bin/false"}});
  const Context context = soon().with_cancel();
  std::jthread canceller([&] {
    eventually([&] { return exists("pid"); });
    context.cancel();
  });
  const Status status = backend->start(context);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), ErrorCode::cancelled);
  canceller.join();
  EXPECT_FALSE(alive(number_in("pid")));
}

TEST_F(ProcessBackendTest, CanBeStartedAgainAfterAStop) {
  auto backend = make("exec sleep 1000");
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(backend->start(soon()));
    ASSERT_TRUE(backend->stop(soon()));
  }
}

TEST(HealthProbe, UnderstandsHttpStatus) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener, 5), 0);
  socklen_t size = sizeof address;
  ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  std::jthread server([&] {
    for (const std::string_view status : {"200 OK", "302 Found", "503 Service Unavailable", ""}) {
      const base::FileDescriptor client(::accept(listener, nullptr, nullptr));
      std::array<char, 1024> request{};
      [[maybe_unused]] const ssize_t ignored = ::recv(client.get(), request.data(), request.size(), 0);
      const std::string answer = status.empty() ? "" : "HTTP/1.1 " + std::string(status) + "\r\n\r\n";
      ::send(client.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
    }
  });
  const HttpProbe probe{.host = "127.0.0.1", .port = ntohs(address.sin_port), .path = "/health"};
  EXPECT_TRUE(check_health(probe, 10s));
  EXPECT_TRUE(check_health(probe, 10s));
  EXPECT_FALSE(check_health(probe, 10s));
  EXPECT_FALSE(check_health(probe, 10s));
  server.join();
  ::close(listener);
  EXPECT_EQ(check_health(CommandProbe{{"/bin/sleep", "1000"}}, 50ms).error().code(),
            ErrorCode::deadline_exceeded);
}

}  // namespace
}  // namespace litecluster::backend
