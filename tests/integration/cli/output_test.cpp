// What is printed and cannot be written, or that nobody reads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "integration/cli/program_run.hpp"
#include "membership/service.hpp"
#include "nats/kv_bucket.hpp"
#include "support/nats_fixture.hpp"

namespace litecluster {
namespace {

using test::ProgramRun;
using test::soon;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

class OutputTest : public test::NatsTest {
 protected:
  nats::KeyValue bucket(const nats::KeyValueOptions& options) {
    auto opened = nats::KeyValue::open_or_create(soon(), nats::JetStream(connect()), options);
    if (!opened) {
      ADD_FAILURE() << opened.error().message();
      std::abort();
    }
    return std::move(*opened);
  }
  ProgramRun run(const std::string& line) const {
    return test::run_shell(
        line, fmt::format("export LITECLUSTER_NATS_URLS={} LITECLUSTER_CLUSTER=myapp;", server_->url()));
  }
};

TEST_F(OutputTest, AWatchEndsWhenItsReaderHasGoneAlsoWithoutAnotherChange) {
  ASSERT_OK(bucket({.bucket = "myapp-kv"}).put(soon(), "config", "100"));
  // First what `head` lets through, then what the watch says and ends with.
  const ProgramRun all =
      run("{ { $program kv watch config; echo \"status $?\" >&2; } 2>&3 | head -1 >&3; } 3>&1 | cat");
  EXPECT_THAT(all.text, StartsWith("1 "));
  EXPECT_THAT(all.text, HasSubstr("config 100\n"));
  EXPECT_THAT(all.text, HasSubstr("standard output"));
  EXPECT_THAT(all.text, EndsWith("status 1\n"));
}

TEST_F(OutputTest, AWatchEndsWhenWhatItPrintsCannotBeWritten) {
  ASSERT_OK(bucket({.bucket = "myapp-kv"}).put(soon(), "config", "100"));
  for (const char* flags : {"", "--json"}) {
    const ProgramRun run = this->run(fmt::format("$program kv watch config {} 2>&1 >/dev/full", flags));
    EXPECT_EQ(run.status, 1) << run.text;
    EXPECT_THAT(run.text, HasSubstr("write standard output: No space left on device"));
  }
}

TEST_F(OutputTest, StatusThatIsWatchedEndsWhenItCannotBeWritten) {
  (void)bucket(membership::coordination_bucket("myapp"));
  const ProgramRun full = run("$program status --watch --json 2>&1 >/dev/full");
  EXPECT_EQ(full.status, 1) << full.text;
  EXPECT_THAT(full.text, HasSubstr("write standard output: No space left on device"));
  EXPECT_EQ(run("$program status --watch --json 2>/dev/null | head -1").text, "[]\n");
}

TEST_F(OutputTest, AnOutputThatIsLongerThanABufferFailsLikeAShortOne) {
  const nats::KeyValue kv = bucket({.bucket = "myapp-kv"});
  for (int number = 0; number < 100; ++number) {
    ASSERT_OK(kv.put(soon(), fmt::format("{:0100}", number), "x"));
  }
  const ProgramRun keys = run("$program kv keys 2>&1 >/dev/full");
  EXPECT_EQ(keys.status, 1) << keys.text;
  EXPECT_THAT(keys.text, StartsWith("litecluster: write standard output: No space left on device"));
  EXPECT_EQ(std::ranges::count(keys.text, '\n'), 1) << keys.text;
}

TEST_F(OutputTest, AnExceptionOfALibraryIsOneLineAndTheStatusOfAFailure) {
  std::string files;
  for (int number = 0; number < 100; ++number)
    files += " " LITECLUSTER_TEST_DATA "/ltx/genuine-v0517-real1.ltx";
  const ProgramRun verified = run("$program ltx verify" + files + " 2>&1 >/dev/full");
  EXPECT_EQ(verified.status, 1) << verified.text;
  EXPECT_THAT(verified.text, StartsWith("litecluster: "));
  EXPECT_THAT(verified.text, HasSubstr("No space left on device"));
  EXPECT_EQ(std::ranges::count(verified.text, '\n'), 1) << verified.text;
}

}  // namespace
}  // namespace litecluster
