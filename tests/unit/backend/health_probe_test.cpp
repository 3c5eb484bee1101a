#include "backend/health_probe.hpp"

#include <gtest/gtest.h>

namespace litecluster::backend {
namespace {

TEST(HealthProbe, IsReadFromItsText) {
  EXPECT_TRUE(std::holds_alternative<ExitProbe>(*parse_health_probe("")));
  const auto tcp = std::get<TcpProbe>(*parse_health_probe("tcp://[::1]:80"));
  EXPECT_EQ(tcp.host, "::1");
  EXPECT_EQ(tcp.port, 80);
  const auto http = std::get<HttpProbe>(*parse_health_probe("http://localhost:8080/health?deep=1"));
  EXPECT_EQ(http.host, "localhost");
  EXPECT_EQ(http.port, 8080);
  EXPECT_EQ(http.path, "/health?deep=1");
  EXPECT_EQ(std::get<HttpProbe>(*parse_health_probe("http://localhost")).port, 80);
  EXPECT_EQ(std::get<CommandProbe>(*parse_health_probe("exec:test -f /x")).arguments.back(), "test -f /x");
}

TEST(HealthProbe, RefusesWhatItDoesNotUnderstand) {
  for (const char* text : {"tcp://localhost", "tcp://:80", "tcp://h:0", "tcp://h:70000", "tcp://h:8x",
                           "https://h/", "exec:", "localhost:80", "tcp://[::1", "http://h:1/a b"}) {
    EXPECT_FALSE(parse_health_probe(text)) << text;
  }
}

}  // namespace
}  // namespace litecluster::backend
