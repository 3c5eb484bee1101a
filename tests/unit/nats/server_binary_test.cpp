// Where a nats-server is looked for, and what counts as one.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "nats/private_server.hpp"
#include "support/temporary_directory.hpp"

namespace litecluster::nats {
namespace {

// Sets a variable for as long as it lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    ::setenv(name, value.c_str(), 1);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() {
    if (before_) {
      ::setenv(name_, before_->c_str(), 1);
    } else {
      ::unsetenv(name_);
    }
  }

 private:
  const char* name_;
  std::optional<std::string> before_;
};

class ServerBinary : public ::testing::Test {
 protected:
  // A program that prints `text`.
  [[nodiscard]] std::filesystem::path program(const std::string& name, const std::string& text) const {
    const auto path = directory_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << "#!/bin/sh\necho '" << text << "'\n";
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  }
  test::TemporaryDirectory directory_;
};

TEST_F(ServerBinary, TheOneThatIsNamedIsTakenOrNone) {
  const auto named = program("named", "");
  {
    const Variable variable("LITECLUSTER_NATS_SERVER", named);
    EXPECT_EQ(find_server_binary().value(), named);
  }
  std::filesystem::permissions(named, std::filesystem::perms::owner_read);
  for (const auto& wrong : {named, directory_ / "missing"}) {
    const Variable variable("LITECLUSTER_NATS_SERVER", wrong);
    const auto found = find_server_binary();
    ASSERT_FALSE(found) << "not another one in silence";
    EXPECT_EQ(found.error().code(), ErrorCode::not_found);
  }
}

TEST_F(ServerBinary, OtherwiseTheFirstOfThePath) {
  const Variable none("LITECLUSTER_NATS_SERVER", "");
  const auto first = program("one/nats-server", "");
  (void)program("two/nats-server", "");
  const Variable path("PATH", (directory_ / "zero").string() + "::" + (directory_ / "one").string() + ":" +
                                  (directory_ / "two").string());
  EXPECT_EQ(find_server_binary().value(), first);
}

TEST_F(ServerBinary, TellsItsVersionIfItIsOne) {
  EXPECT_EQ(server_binary_version(program("server", "nats-server: v2.9.10")).value(), "2.9.10");
  EXPECT_EQ(server_binary_version(program("beta", "nats-server: v2.14.0-RC.1 (go1.25)")).value(),
            "2.14.0-RC.1");
  const auto other = server_binary_version(program("other", "hello"));
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code(), ErrorCode::failed_precondition);
  EXPECT_FALSE(server_binary_version(directory_ / "missing"));
}

}  // namespace
}  // namespace litecluster::nats
