// `litecluster kv` and `litecluster lock run` as a script sees them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <string>

#include <fmt/format.h>

#include "lock_command.hpp"

namespace litecluster {
namespace {

using namespace std::chrono_literals;
using test::LockCommand;
using test::Output;
using testing::AllOf;
using testing::HasSubstr;

TEST_F(LockCommand, KvSpeaksToScripts) {
  EXPECT_EQ(run("kv put config/max-conn 100").text, "1\n");
  EXPECT_EQ(run("kv get config/max-conn").text, "100");
  EXPECT_EQ(run("kv put from-stdin -", "printf 'a\\n\\0b' | ").text, "2\n");
  EXPECT_EQ(run("kv get from-stdin").text, std::string("a\n\0b", 4));
  EXPECT_EQ(run("kv create config/max-conn 1").status, 3);
  EXPECT_EQ(run("kv update config/max-conn 200 --revision 7").status, 3);
  EXPECT_EQ(run("kv update config/max-conn 200 --revision 1").text, "3\n");
  EXPECT_EQ(run("kv keys 'config/>'").text, "config/max-conn\n");
  EXPECT_THAT(run("kv get config/max-conn --json").text, HasSubstr(R"("value":"200")"));
  EXPECT_EQ(run("kv del config/max-conn").status, 0);
  EXPECT_EQ(run("kv get config/max-conn").status, 3);
  EXPECT_THAT(run("kv history config/max-conn --json").text, HasSubstr(R"("operation":"delete")"));
  EXPECT_EQ(run("kv purge config/max-conn").status, 0);
  EXPECT_EQ(run("kv get 'a b'").status, 2);
  EXPECT_EQ(run("kv get").status, 2);
  EXPECT_EQ(run("kv get a --nats nats://127.0.0.1:1").status, 1);
}

TEST_F(LockCommand, KvWatchPrintsWhatIsThereThenEachChange) {
  ASSERT_EQ(run("kv put config/max-conn 100").status, 0);
  const pid_t watcher = start(fmt::format("kv watch --json 'config/>' > {}", file("changes")));
  EXPECT_THAT(line_of(file("changes"), 0), AllOf(HasSubstr(R"("key":"config/max-conn")"), HasSubstr("100")));
  EXPECT_EQ(line_of(file("changes"), 1), R"({"initial_values":"complete"})");
  EXPECT_EQ(run("kv put other 1").status, 0);
  EXPECT_EQ(run("kv del config/max-conn").status, 0);
  EXPECT_THAT(line_of(file("changes"), 2), HasSubstr(R"("operation":"delete")"));
  ::kill(watcher, SIGTERM);
  EXPECT_EQ(wait(watcher), 128 + SIGTERM);
}

TEST_F(LockCommand, ErrorsSayWhatToDo) {
  const Output unreachable = run("kv get a --nats nats://127.0.0.1:1 --nats-connect-timeout 200ms");
  EXPECT_EQ(unreachable.status, 1);
  EXPECT_THAT(unreachable.text, HasSubstr("is nats-server running"));
  const Output locked_out =
      run("lock run job --nats nats://127.0.0.1:1 --nats-connect-timeout 200ms -- true");
  EXPECT_EQ(locked_out.status, 1);
  EXPECT_THAT(locked_out.text, HasSubstr("is nats-server running"));
  EXPECT_EQ(run("kv put a 1 --creds /nonexistent").status, 2);
  EXPECT_EQ(run("kv put a 1 2").status, 2);
  EXPECT_EQ(run("kv update a 1").status, 2) << "a revision has to be given";
  EXPECT_EQ(run("kv watch 'a*'").status, 2);
  EXPECT_EQ(run("kv history none").status, 3);
  EXPECT_EQ(run("lock run 'a b' -- true").status, 2);
  EXPECT_EQ(run("lock run job --ttl 10ms -- true").status, 2);
  EXPECT_EQ(run("lock run job").status, 2) << "a command has to be given";
  EXPECT_EQ(run("lock run job --bucket other -- true").status, 2) << "locks lie in the cluster's bucket";
  EXPECT_EQ(run("lock --bucket other run job -- true").status, 2);
  const Output large = run("kv put a -", "head -c 2000000 /dev/zero | ");
  EXPECT_EQ(large.status, 1);
  EXPECT_THAT(large.text, HasSubstr("max_payload"));
}

TEST_F(LockCommand, TheCommandGetsAGrowingTokenAndItsExitStatusIsOurs) {
  const Output first = run("lock run job -- sh -c 'echo $LITECLUSTER_FENCING_TOKEN; exit 7'");
  EXPECT_EQ(first.status, 7);
  const Output second = run("lock run job -- sh -c 'echo $LITECLUSTER_FENCING_TOKEN'");
  EXPECT_EQ(second.status, 0);
  EXPECT_GT(std::stoi(second.text), std::stoi(first.text));
  EXPECT_EQ(run("lock run job -- sh -c 'kill -9 $$'").status, 128 + SIGKILL);
  EXPECT_EQ(run("lock run job -- /nonexistent").status, 127);
  EXPECT_EQ(run("lock run job --wait 0 -- true").status, 0);
}

TEST_F(LockCommand, OthersWaitOrAreTurnedAway) {
  const pid_t holder =
      start(fmt::format("lock run job -- sh -c 'echo x > {}; while [ ! -e {} ]; do sleep 0.05; done'",
                        file("started"), file("enough")));
  ASSERT_EQ(first_line(file("started")), "x");
  EXPECT_EQ(run("lock run job --wait 0 -- true").status, 3);
  EXPECT_EQ(run("lock run job --wait 50ms -- true").status, 3);
  std::ofstream(file("enough")) << "x";
  EXPECT_EQ(run("lock run job -- echo got it").text, "got it\n");
  EXPECT_EQ(wait(holder), 0);
}

TEST_F(LockCommand, SignalsReachTheCommandAndTheLockIsGivenBack) {
  const pid_t holder = start(
      fmt::format("lock run job -- sh -c 'trap \"exit 9\" TERM; echo x > {}; while :; do sleep 0.05; done'",
                  file("started")));
  ASSERT_EQ(first_line(file("started")), "x");
  ::kill(holder, SIGTERM);
  EXPECT_EQ(wait(holder), 9);
  EXPECT_EQ(run("lock run job --wait 0 -- true").status, 0);
}

TEST_F(LockCommand, TheCommandDiesWithUsAndTheLockIsFreeAfterOneLease) {
  const pid_t holder =
      start(fmt::format("lock run job --ttl 1s -- sh -c 'echo $$ > {}; exec sleep 60'", file("started")));
  const pid_t command = std::stoi(first_line(file("started")));
  ::kill(holder, SIGKILL);
  EXPECT_TRUE(ends_within(command, 20s));
  EXPECT_EQ(wait(holder), 128 + SIGKILL);
  EXPECT_EQ(run("lock run job --wait 10s -- true").status, 0);
}

TEST_F(LockCommand, TheCommandIsStoppedBeforeTheLeaseOfALostLockRunsOut) {
  // It does not react to TERM.
  const pid_t holder = start(fmt::format(
      "lock run job --ttl 10s -- sh -c 'trap \"\" TERM; echo $$ > {}; while :; do sleep 0.05; done'",
      file("started")));
  const pid_t command = std::stoi(first_line(file("started")));
  server_->stop();
  EXPECT_TRUE(ends_within(command, 10s));
  EXPECT_EQ(wait(holder), 1);
}

TEST_F(LockCommand, TheCommandIsStoppedAlsoWhenWeAreSuspended) {
  const pid_t holder =
      start(fmt::format("lock run job --ttl 3s -- sh -c 'echo $$ > {}; exec sleep 60'", file("started")));
  const pid_t command = std::stoi(first_line(file("started")));
  ::kill(holder, SIGSTOP);
  // By the time that somebody else gets the lock, however busy the machine.
  EXPECT_EQ(run("lock run job --wait 60s -- true").status, 0);
  EXPECT_TRUE(ends_within(command, 100ms));
  ::kill(holder, SIGCONT);
  EXPECT_NE(wait(holder), 0);
}

}  // namespace
}  // namespace litecluster
