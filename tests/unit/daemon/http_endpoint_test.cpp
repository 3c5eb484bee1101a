// The HTTP endpoint as a load balancer and a monitor see it.
#include "daemon/http_endpoint.hpp"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <mutex>
#include <string>

#include "base/file_descriptor.hpp"

namespace litecluster::daemon {
namespace {

using testing::HasSubstr;

// A port of 127.0.0.1 that is in use for as long as this exists.
class TakenPort {
 public:
  TakenPort() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    if (::bind(socket_.get(), generic, size) == 0 && ::listen(socket_.get(), 1) == 0 &&
        ::getsockname(socket_.get(), generic, &size) == 0) {
      port_ = ntohs(address.sin_port);
    }
  }
  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  base::FileDescriptor socket_;
  int port_ = 0;
};

class HttpEndpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    status_.cluster = "c";
    status_.node = "a";
    status_.stage = "standby";
    // Somebody else may take a port between the two; then there is another one.
    for (int attempt = 0; attempt < 20 && !endpoint_; ++attempt) {
      port_ = TakenPort().port();
      auto started = HttpEndpoint::start("127.0.0.1:" + std::to_string(port_),
                                         {.status =
                                              [this] {
                                                const std::scoped_lock lock(mutex_);
                                                return status_;
                                              },
                                          .members = [] { return std::vector<Member>(); }});
      if (started) endpoint_ = std::move(*started);
    }
    ASSERT_TRUE(endpoint_);
  }

  httplib::Result get(const char* path) {
    httplib::Client client("127.0.0.1", port_);
    client.set_read_timeout(10);
    return client.Get(path);
  }
  void become(const std::string& stage, HealthLevel level, const std::string& reason = {}) {
    const std::scoped_lock lock(mutex_);
    status_.stage = stage;
    status_.health.level = level;
    status_.health.checks = {{"backend", {level, reason}}};
  }

  std::mutex mutex_;
  NodeStatus status_;
  int port_ = 0;
  std::unique_ptr<HttpEndpoint> endpoint_;
};

TEST_F(HttpEndpointTest, IsReadyOnlyWhereTheServiceIs) {
  for (const auto& [stage, code] :
       {std::pair("standby", 503), std::pair("promoting", 503), std::pair("active", 200),
        std::pair("demoting", 503), std::pair("working", 200), std::pair("stopped", 503)}) {
    become(stage, HealthLevel::passing);
    const auto answer = get("/ready");
    ASSERT_TRUE(answer) << httplib::to_string(answer.error());
    EXPECT_EQ(answer->status, code) << stage;
    EXPECT_EQ(answer->body, std::string(stage) + "\n");
  }
}

TEST_F(HttpEndpointTest, IsHealthyUnlessACheckIsCriticalAndSaysWhich) {
  become("standby", HealthLevel::warning, "slow disk");
  auto answer = get("/health");
  ASSERT_TRUE(answer) << httplib::to_string(answer.error());
  EXPECT_EQ(answer->status, 200);
  EXPECT_THAT(answer->body, HasSubstr("slow disk"));
  become("standby", HealthLevel::critical, "it does not answer");
  answer = get("/health");
  ASSERT_TRUE(answer) << httplib::to_string(answer.error());
  EXPECT_EQ(answer->status, 503);
  EXPECT_THAT(answer->body, HasSubstr("critical"));
  EXPECT_THAT(answer->body, HasSubstr("it does not answer"));
}

TEST_F(HttpEndpointTest, TellsStatusAndMetricsAndNothingElse) {
  become("active", HealthLevel::passing);
  const auto status = get("/status");
  ASSERT_TRUE(status) << httplib::to_string(status.error());
  EXPECT_EQ(status->get_header_value("Content-Type"), "application/json");
  EXPECT_THAT(status->body, HasSubstr(R"("node":"a")"));
  EXPECT_THAT(status->body, HasSubstr(R"("stage":"active")"));
  const auto metrics = get("/metrics");
  ASSERT_TRUE(metrics) << httplib::to_string(metrics.error());
  EXPECT_EQ(metrics->status, 200);
  EXPECT_THAT(metrics->get_header_value("Content-Type"), HasSubstr("text/plain"));
  EXPECT_THAT(metrics->body, HasSubstr("# TYPE litecluster_"));
  const auto nothing = get("/stepdown");
  ASSERT_TRUE(nothing) << httplib::to_string(nothing.error());
  EXPECT_EQ(nothing->status, 404);
}

TEST_F(HttpEndpointTest, AMonitorThatKeepsItsConnectionKeepsNobodyWaiting) {
  httplib::Client monitor("127.0.0.1", port_);
  monitor.set_keep_alive(true);
  const auto answer = monitor.Get("/metrics");
  ASSERT_TRUE(answer) << httplib::to_string(answer.error());
  EXPECT_EQ(answer->get_header_value("Connection"), "close");
}

TEST_F(HttpEndpointTest, DoesNotShareItsPortWithAnotherNode) {
  const auto second = HttpEndpoint::start("127.0.0.1:" + std::to_string(port_), {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::already_exists) << second.error().message();
}

TEST(HttpEndpoint, RefusesWhatIsNoAddressAndAPortThatIsTaken) {
  for (const char* wrong :
       {"9464", ":9464", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:http"}) {
    const auto started = HttpEndpoint::start(wrong, {});
    ASSERT_FALSE(started) << wrong;
    EXPECT_EQ(started.error().code(), ErrorCode::invalid_argument) << wrong;
  }
  const TakenPort taken;
  ASSERT_NE(taken.port(), 0);
  const auto started = HttpEndpoint::start(taken.address(), {});
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code(), ErrorCode::already_exists) << started.error().message();
}

}  // namespace
}  // namespace litecluster::daemon
