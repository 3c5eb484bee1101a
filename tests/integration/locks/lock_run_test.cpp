// `litecluster lock run` and the processes around it: what the command starts, the shell, what they hand
// down.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <fstream>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "lock_command.hpp"

namespace litecluster {
namespace {

using namespace std::chrono_literals;
using test::Output;
using testing::HasSubstr;

/// An interactive shell with job control at a terminal of its own.
class InteractiveShell {
 public:
  InteractiveShell() {
    process_ = ::forkpty(&terminal_, nullptr, nullptr, nullptr);
    if (process_ == 0) {
      ::execlp("bash", "bash", "--norc", "--noprofile", "--noediting", "-i", nullptr);
      ::_exit(127);
    }
  }
  InteractiveShell(const InteractiveShell&) = delete;
  InteractiveShell& operator=(const InteractiveShell&) = delete;
  ~InteractiveShell() {
    ::close(terminal_);  // hangs up: the jobs end
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }

  void type(const std::string& text) const { (void)!::write(terminal_, text.data(), text.size()); }
  /// Whether the text appears on the screen, behind what was waited for before.
  bool shows(const std::string& text) {
    const auto end = std::chrono::steady_clock::now() + 20s;
    while (std::chrono::steady_clock::now() < end) {
      if (const std::size_t place = screen_.find(text); place != std::string::npos) {
        screen_.erase(0, place + text.size());
        return true;
      }
      pollfd output{.fd = terminal_, .events = POLLIN, .revents = 0};
      if (::poll(&output, 1, 100) <= 0) continue;
      std::array<char, 4096> buffer{};
      const ssize_t size = ::read(terminal_, buffer.data(), buffer.size());
      if (size <= 0) break;
      screen_.append(buffer.data(), static_cast<std::size_t>(size));
    }
    ADD_FAILURE() << "not '" << text << "' but: " << screen_;
    return false;
  }

 private:
  int terminal_ = -1;
  pid_t process_ = 0;
  std::string screen_;
};

/// Takes connections and says nothing.
class SilentServer {
 public:
  SilentServer() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    if (::bind(socket_, reinterpret_cast<sockaddr*>(&address), size) == 0 && ::listen(socket_, 5) == 0 &&
        ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) == 0) {
      port_ = ntohs(address.sin_port);
    }
  }
  SilentServer(const SilentServer&) = delete;
  SilentServer& operator=(const SilentServer&) = delete;
  ~SilentServer() { ::close(socket_); }

  int port() const { return port_; }
  void await_connection() const { ::close(::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC)); }

 private:
  int socket_;
  int port_ = 0;
};

class LockRun : public test::LockCommand {
 protected:
  /// A command that starts a process which does not react to TERM, writes its number to the file, and waits.
  std::string with_stubborn_child() const {
    return fmt::format(R"(sh -c 'sh -c "trap \"\" TERM; echo \$\$ > {}; exec sleep 97" & wait')",
                       file("started"));
  }
  /// What is typed is not what is printed: the terminal shows both.
  std::string line_that_reads_a_word() const {
    return program() +
           R"( lock run job --ttl 10m -- sh -c 'echo job" "started; read word; echo got" "$word')";
  }
};

TEST_F(LockRun, WhatTheCommandHasStartedDiesWithUs) {
  const pid_t holder = start("lock run job --ttl 1s -- " + with_stubborn_child());
  const pid_t started = std::stoi(first_line(file("started")));
  ::kill(holder, SIGKILL);
  EXPECT_EQ(wait(holder), 128 + SIGKILL);
  EXPECT_EQ(run("lock run job --wait 60s -- true").status, 0);
  EXPECT_TRUE(ends_within(started, 20s));
}

TEST_F(LockRun, WhatTheCommandHasStartedIsKilledWhenTheLockIsLost) {
  const pid_t holder = start("lock run job --ttl 3s -- " + with_stubborn_child());
  const pid_t started = std::stoi(first_line(file("started")));
  server_->stop();
  EXPECT_EQ(wait(holder), 1);
  EXPECT_TRUE(ends_within(started, 20s));
}

TEST_F(LockRun, WhatTheCommandHasStartedInTheBackgroundMayGoOnAfterACleanEnd) {
  const Output output =
      run(fmt::format("lock run job -- sh -c 'sleep 97 > {} 2>&1 & echo $!'", file("started")));
  EXPECT_EQ(output.status, 0);
  const pid_t started = std::stoi(output.text);
  EXPECT_EQ(::kill(started, 0), 0);
  ::kill(started, SIGKILL);
}

TEST_F(LockRun, ASignalThatMeansTheEndReachesACommandThatIsStopped) {
  const pid_t holder = start(fmt::format(
      "lock run job --ttl 10m -- sh -c 'echo x > {}; kill -STOP $$' < /dev/null", file("started")));
  ASSERT_EQ(first_line(file("started")), "x");
  ::kill(holder, SIGTERM);
  EXPECT_EQ(wait(holder), 128 + SIGTERM);
}

TEST_F(LockRun, CtrlZStopsUsWithTheCommandAndFgContinuesBoth) {
  InteractiveShell shell;
  shell.type(line_that_reads_a_word() + "\n");
  ASSERT_TRUE(shell.shows("job started"));
  shell.type("\x1a");
  ASSERT_TRUE(shell.shows("Stopped")) << "the shell goes on";
  shell.type("fg\n");
  ASSERT_TRUE(shell.shows("lock run"));
  shell.type("first\n");
  EXPECT_TRUE(shell.shows("got first"));
  shell.type("echo status $?\n");
  EXPECT_TRUE(shell.shows("status 0"));
}

TEST_F(LockRun, CtrlZStopsAlsoTheScriptAroundUs) {
  std::ofstream(file("script")) << line_that_reads_a_word() + "\necho end of script\n";
  InteractiveShell shell;
  shell.type(fmt::format("sh {}\n", file("script")));
  ASSERT_TRUE(shell.shows("job started"));
  shell.type("\x1a");
  ASSERT_TRUE(shell.shows("Stopped"));
  shell.type("fg\n");
  ASSERT_TRUE(shell.shows("sh "));
  shell.type("first\n");
  EXPECT_TRUE(shell.shows("got first"));
  EXPECT_TRUE(shell.shows("end of script"));
}

TEST_F(LockRun, AJobInTheBackgroundLeavesTheShellTheTerminal) {
  InteractiveShell shell;
  shell.type(line_that_reads_a_word() + " &\n");
  ASSERT_TRUE(shell.shows("job started"));
  shell.type("echo the\" \"shell\n");
  ASSERT_TRUE(shell.shows("the shell"));
  shell.type("fg\n");
  ASSERT_TRUE(shell.shows("lock run"));
  shell.type("first\n");
  EXPECT_TRUE(shell.shows("got first"));
}

TEST_F(LockRun, TheCommandInheritsWhatWeInherited) {
  const std::string breaks_pipe = "lock run job -- sh -c 'kill -PIPE $$; echo goes on'";
  EXPECT_EQ(run(breaks_pipe, "env --default-signal=PIPE ").status, 128 + SIGPIPE);
  EXPECT_EQ(run(breaks_pipe, "env --ignore-signal=PIPE ").text, "goes on\n");
  // Listed in the shell first, then in the command.
  const Output listed = run("lock run job -- ls /proc/self/fd", "exec 9< /dev/null; ls /proc/self/fd; ");
  const std::string there = listed.text.substr(0, listed.text.size() / 2);
  EXPECT_THAT(there, HasSubstr("9\n"));
  EXPECT_EQ(listed.text, there + there);
}

TEST_F(LockRun, SignalsIgnoredFromTheStartStayIgnored) {
  const pid_t holder =
      start(fmt::format("lock run job -- sh -c 'echo x > {}; while [ ! -e {} ]; do sleep 0.05; done'",
                        file("started"), file("enough")));
  ASSERT_EQ(first_line(file("started")), "x");
  const pid_t waiter = start("lock run job -- sh -c 'kill -HUP $$; exit 7'", "env --ignore-signal=HUP");
  EXPECT_FALSE(ends_within(waiter, 500ms));
  ::kill(waiter, SIGHUP);
  EXPECT_FALSE(ends_within(waiter, 500ms));
  std::ofstream(file("enough")) << "x";
  EXPECT_EQ(wait(holder), 0);
  EXPECT_EQ(wait(waiter), 7);
}

TEST_F(LockRun, ASignalWhileWeConnectIsToldByTheExitStatus) {
  std::optional<SilentServer> silent(std::in_place);
  const pid_t process = start(fmt::format(
      "lock run job --nats nats://127.0.0.1:{} --nats-connect-timeout 5s -- true", silent->port()));
  silent->await_connection();
  ::kill(process, SIGTERM);
  silent.reset();
  int status = 0;
  ::waitpid(process, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 128 + SIGTERM);
}

}  // namespace
}  // namespace litecluster
