// `litecluster kv`: which commands make a bucket, and what there is to read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include <fmt/format.h>

#include "integration/cli/program_run.hpp"
#include "support/nats_fixture.hpp"

namespace litecluster {
namespace {

using test::ProgramRun;
using test::soon;
using testing::HasSubstr;
using testing::StartsWith;

class KvCommand : public test::NatsTest {
 protected:
  /// Standard error goes with standard output.
  ProgramRun kv(const std::string& arguments) const {
    return test::run_shell("$program kv " + arguments + " 2>&1",
                           fmt::format("export LITECLUSTER_NATS_URLS={};", server_->url()));
  }
};

TEST_F(KvCommand, AReadMakesNoBucketAndSaysThatThereIsNone) {
  for (const char* command : {"get a", "keys", "history a", "watch"}) {
    const ProgramRun read = kv(fmt::format("{} --cluster typo", command));
    EXPECT_EQ(read.status, 3) << command << ": " << read.text;
    EXPECT_THAT(read.text, HasSubstr("typo-kv")) << command;
    EXPECT_THAT(read.text, HasSubstr("no such bucket")) << command;
  }
  EXPECT_ERROR(nats::JetStream(connect()).stream_info(soon(), "KV_typo-kv"), ErrorCode::not_found);
  EXPECT_EQ(kv("get 'a b' --cluster typo").status, 2);
  EXPECT_EQ(kv("keys 'a*' --cluster typo").status, 2);
  EXPECT_EQ(kv("put a 1 --cluster myapp").text, "1\n");
  EXPECT_EQ(kv("get a --cluster myapp").text, "1");
  EXPECT_EQ(kv("keys --cluster myapp").text, "a\n");
}

TEST_F(KvCommand, ARevisionThatDeletedTheKeyHasNoValue) {
  EXPECT_EQ(kv("put a 1 --cluster myapp --keep 5").status, 0);
  EXPECT_EQ(kv("del a --cluster myapp").status, 0);
  const ProgramRun deleted = kv("get a --revision 2 --cluster myapp");
  EXPECT_EQ(deleted.status, 3);
  EXPECT_THAT(deleted.text, HasSubstr("deleted"));
  EXPECT_EQ(kv("get a --revision 1 --cluster myapp").text, "1");
  EXPECT_THAT(kv("history a --cluster myapp").text, StartsWith("1 "));
}

}  // namespace
}  // namespace litecluster
