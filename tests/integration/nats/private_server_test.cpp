#include "nats/private_server.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>

#include "support/nats_fixture.hpp"

namespace litecluster::nats {
namespace {

using test::soon;

class PrivateServerTest : public test::NatsTest {};

TEST_F(PrivateServerTest, AcceptsConnectionsOnceStarted) {
  const auto connection = connect();
  const auto info = connection->server_info(soon());
  ASSERT_OK(info);
  EXPECT_EQ(info->version, server_->version());
  EXPECT_TRUE(info->jetstream);
}

TEST_F(PrivateServerTest, KeepsPortAndStoreOverAStop) {
  const std::uint16_t port = server_->port();
  {
    const JetStream jetstream(connect());
    StreamConfig config;
    config.name = "kept";
    config.subjects = {"kept"};
    ASSERT_OK(jetstream.create_stream(soon(), config));
    ASSERT_OK(jetstream.publish(soon(), "kept", base::as_bytes("value")));
  }
  server_->stop();
  EXPECT_EQ(server_->process_id(), std::nullopt);
  ASSERT_OK(server_->start_again(soon()));
  EXPECT_EQ(server_->port(), port);
  const JetStream jetstream(connect());
  const auto message = jetstream.last_message(soon(), "kept", "kept");
  ASSERT_OK(message);
  EXPECT_EQ(base::as_text(message->data), "value");
}

TEST_F(PrivateServerTest, IsGoneAfterAKill) {
  const auto process = server_->process_id();
  ASSERT_TRUE(process.has_value());
  server_->kill();
  EXPECT_EQ(server_->process_id(), std::nullopt);
  EXPECT_EQ(::kill(*process, 0), -1);
}

TEST_F(PrivateServerTest, StopsAlsoWhenPaused) {
  server_->pause();
  server_->stop(std::chrono::milliseconds(50));
  EXPECT_EQ(server_->process_id(), std::nullopt);
}

class RestartedServerTest : public test::NatsTest {
 protected:
  PrivateServerOptions server_options() override { return {}; }
};

TEST_F(RestartedServerTest, ComesBackByItselfAfterACrash) {
  const auto connection = connect();
  const auto before = server_->process_id();
  server_->kill();
  const Context context = soon();
  while (connection->generation() < 2) ASSERT_FALSE(context.wait_for(std::chrono::milliseconds(5)));
  EXPECT_NE(server_->process_id(), before);
}

TEST(PrivateServer, QuotesTheServersLogWhenItDoesNotStart) {
  if (const auto missing = test::missing_server()) GTEST_SKIP() << *missing;
  const test::TemporaryDirectory directory;
  PrivateServerOptions options;
  options.directory = directory / "nats";
  options.extra_configuration = "no_such_setting_here: [";
  const auto started = PrivateServer::start(soon(), options);
  EXPECT_ERROR(started, ErrorCode::failed_precondition);
  EXPECT_NE(started.error().reason().find("Parse error"), std::string::npos) << started.error().message();
}

TEST(PrivateServer, SaysWhereItLookedForTheBinary) {
  const test::TemporaryDirectory directory;
  PrivateServerOptions options;
  options.directory = directory / "nats";
  options.binary = directory / "no-such-program";
  EXPECT_ERROR(PrivateServer::start(soon(), options), ErrorCode::failed_precondition);
}

}  // namespace
}  // namespace litecluster::nats
