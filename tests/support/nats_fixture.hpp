// A nats-server for a test, in a directory of its own on a random port, and short ways to use it.
//
// The binary is the one that nats::find_server_binary() finds. When $LITECLUSTER_NATS_SERVER names one that
// is not there (the optional second server), the test is skipped with the reason.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <litecluster/context.hpp>

#include "nats/connection.hpp"
#include "nats/jetstream.hpp"
#include "nats/private_server.hpp"
#include "support/temporary_directory.hpp"

namespace litecluster::test {

/// What a Result or Status holds, or a failed test with the error's message.
#define ASSERT_OK(result)                                            \
  do {                                                               \
    const auto& asserted = (result);                                 \
    ASSERT_TRUE(asserted.has_value()) << asserted.error().message(); \
  } while (false)
#define EXPECT_OK(result)                                                  \
  do {                                                                     \
    const auto& expected_ok = (result);                                    \
    EXPECT_TRUE(expected_ok.has_value()) << expected_ok.error().message(); \
  } while (false)
#define EXPECT_ERROR(result, expected_code)                                                    \
  do {                                                                                         \
    const auto& expected_bad = (result);                                                       \
    EXPECT_FALSE(expected_bad.has_value());                                                    \
    if (!expected_bad) {                                                                       \
      EXPECT_EQ(expected_bad.error().code(), expected_code) << expected_bad.error().message(); \
    }                                                                                          \
  } while (false)

/// Why no server can be started; nullopt when one can.
inline std::optional<std::string> missing_server() {
  const char* named = std::getenv("LITECLUSTER_NATS_SERVER");
  if (named != nullptr && *named != '\0' && !std::filesystem::exists(named)) {
    return std::string(named) + " is not there; scripts/optional-partners installs it";
  }
  if (auto found = nats::find_server_binary(); !found) return found.error().message();
  return std::nullopt;
}

/// Ends every wait of a test that hangs.
inline Context soon(std::chrono::seconds timeout = std::chrono::seconds(30)) {
  return Context::background().with_timeout(timeout);
}

inline NatsOptions client_options(std::vector<std::string> urls) {
  NatsOptions options;
  options.urls = std::move(urls);
  options.reconnect_wait = std::chrono::milliseconds(20);
  options.reconnect_wait_max = std::chrono::milliseconds(200);
  return options;
}

/// One server per test. Derive, and override server_options() to change the server.
class NatsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto missing = missing_server()) GTEST_SKIP() << *missing;
    nats::PrivateServerOptions options = server_options();
    options.directory = directory_ / "nats";
    auto started = nats::PrivateServer::start(soon(), std::move(options));
    ASSERT_TRUE(started.has_value()) << started.error().message();
    server_.emplace(std::move(*started));
  }
  void TearDown() override { server_.reset(); }

  virtual nats::PrivateServerOptions server_options() {
    nats::PrivateServerOptions options;
    options.restart = false;
    return options;
  }

  [[nodiscard]] NatsOptions options() const { return client_options({server_->url()}); }
  /// A new connection; aborts the test program when there is none.
  [[nodiscard]] std::shared_ptr<nats::Connection> connect() const { return connect(options()); }
  [[nodiscard]] static std::shared_ptr<nats::Connection> connect(const NatsOptions& options) {
    auto connected = nats::Connection::connect(soon(), options);
    if (!connected) {
      ADD_FAILURE() << connected.error().message();
      std::abort();
    }
    return std::move(*connected);
  }
  /// stop() or kill() and start on the same port and store.
  void restart_server() {
    server_->stop();
    const auto started = server_->start_again(soon());
    ASSERT_TRUE(started.has_value()) << started.error().message();
  }

  TemporaryDirectory directory_;
  std::optional<nats::PrivateServer> server_;
};

/// With a server that has no JetStream.
class NoJetStreamTest : public NatsTest {
 protected:
  nats::PrivateServerOptions server_options() override {
    nats::PrivateServerOptions options = NatsTest::server_options();
    options.jetstream = false;
    return options;
  }
};

/// Three servers in a cluster.
class NatsClusterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto missing = missing_server()) GTEST_SKIP() << *missing;
    nats::PrivateServerOptions options;
    options.restart = false;
    auto started = nats::PrivateCluster::start(soon(), 3, directory_ / "cluster", options);
    ASSERT_TRUE(started.has_value()) << started.error().message();
    cluster_.emplace(std::move(*started));
    wait_for_jetstream();
  }
  void TearDown() override { cluster_.reset(); }

  [[nodiscard]] std::shared_ptr<nats::Connection> connect() const {
    auto connected = nats::Connection::connect(soon(), client_options(cluster_->urls()));
    if (!connected) {
      ADD_FAILURE() << connected.error().message();
      std::abort();
    }
    return std::move(*connected);
  }

  /// Until the cluster can place a stream with three replicas.
  void wait_for_jetstream() {
    const Context context = soon(std::chrono::seconds(60));
    const nats::JetStream jetstream(connect());
    nats::StreamConfig config;
    config.name = "wait-for-jetstream";
    config.subjects = {"wait-for-jetstream"};
    config.replicas = 3;
    while (!jetstream.create_stream(context, config)) {
      ASSERT_FALSE(context.wait_for(std::chrono::milliseconds(100)))
          << "the cluster elects no JetStream leader";
    }
    ASSERT_TRUE(jetstream.delete_stream(context, config.name).has_value());
  }

  TemporaryDirectory directory_;
  std::optional<nats::PrivateCluster> cluster_;
};

}  // namespace litecluster::test
