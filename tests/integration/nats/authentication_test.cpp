// Credentials, permissions and TLS: what is right connects, what is wrong is said at once and as such.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "nats/connection_core.hpp"
#include "support/nats_fixture.hpp"

namespace litecluster::nats {
namespace {

using test::soon;

class AuthenticationTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto missing = test::missing_server()) GTEST_SKIP() << *missing;
  }
  void start(const std::string& configuration) {
    PrivateServerOptions options;
    options.directory = directory_ / "nats";
    options.restart = false;
    options.extra_configuration = configuration;
    auto started = PrivateServer::start(soon(), std::move(options));
    ASSERT_OK(started);
    server_.emplace(std::move(*started));
  }
  [[nodiscard]] NatsOptions options() const { return test::client_options({server_->url()}); }
  std::string write(const std::string& name, const std::string& text) const {
    const auto path = directory_ / name;
    std::ofstream(path) << text;
    return path.native();
  }

  test::TemporaryDirectory directory_;
  std::optional<PrivateServer> server_;
};

TEST_F(AuthenticationTest, UserAndPassword) {
  start("authorization { user: somebody, password: secret }");
  NatsOptions right = options();
  right.user = "somebody";
  right.password = "secret";
  EXPECT_OK(Connection::connect(soon(), right));
  NatsOptions wrong = right;
  wrong.password = "guess";
  EXPECT_ERROR(Connection::connect(soon(), wrong), ErrorCode::permission_denied);
  EXPECT_ERROR(Connection::connect(soon(), options()), ErrorCode::permission_denied);
}

TEST_F(AuthenticationTest, ErrorsDoNotTellWhatIsSecretInTheUrl) {
  start("authorization { user: somebody, password: secret }");
  for (const std::string secret : {"somebody:guess", "guess"}) {
    NatsOptions wrong = options();
    wrong.urls.front().insert(wrong.urls.front().find("//") + 2, secret + "@");
    const auto refused = Connection::connect(soon(), wrong);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ErrorCode::permission_denied);
    EXPECT_EQ(refused.error().message().find("guess"), std::string::npos) << refused.error().message();
    EXPECT_NE(refused.error().message().find(server_->url()), std::string::npos) << refused.error().message();
  }
}

TEST_F(AuthenticationTest, TheServerThatOneIsConnectedToIsToldWithoutWhatIsSecret) {
  start("authorization { user: somebody, password: secret }");
  NatsOptions right = options();
  right.urls.front().insert(right.urls.front().find("//") + 2, "somebody:secret@");
  ConnectionCore core(right);
  ASSERT_OK(core.connect_once());
  EXPECT_EQ(core.connected_url(), server_->url());
  core.close();
  EXPECT_EQ(core.connected_url(), "");
}

TEST_F(AuthenticationTest, Token) {
  start("authorization { token: secret }");
  NatsOptions right = options();
  right.token = "secret";
  EXPECT_OK(Connection::connect(soon(), right));
  right.token = "guess";
  EXPECT_ERROR(Connection::connect(soon(), right), ErrorCode::permission_denied);
}

TEST_F(AuthenticationTest, Nkey) {
  // A pair made for this test, known to everybody.
  const std::string user = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
  start("authorization { users: [ { nkey: " + user + " } ] }");
  NatsOptions right = options();
  right.nkey = user;
  right.nkey_seed_file = write("user.nk", "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\n");
  EXPECT_OK(Connection::connect(soon(), right));
  right.nkey_seed_file = (directory_ / "missing.nk").native();
  EXPECT_ERROR(Connection::connect(soon(), right), ErrorCode::invalid_argument);
  EXPECT_ERROR(Connection::connect(soon(), options()), ErrorCode::permission_denied);
}

TEST_F(AuthenticationTest, APublishThatIsNotPermittedFailsAndTheReasonIsTold) {
  start("authorization { users: [ { user: u, password: p, permissions: { publish: [\"allowed\"] } } ] }");
  NatsOptions restricted = options();
  restricted.user = "u";
  restricted.password = "p";
  const auto connection = Connection::connect(soon(), restricted);
  ASSERT_OK(connection);
  // The server says both that it is not permitted and that nobody answers, and either may be noticed first.
  const auto reply = (*connection)->request(soon(), "forbidden", {});
  ASSERT_FALSE(reply.has_value());
  EXPECT_TRUE(reply.error().code() == ErrorCode::permission_denied ||
              reply.error().code() == ErrorCode::unavailable);
  const Context context = soon();
  while ((*connection)->last_problem().find("ermissions") == std::string::npos) {
    ASSERT_FALSE(context.wait_for(std::chrono::milliseconds(5))) << (*connection)->last_problem();
  }
}

TEST_F(AuthenticationTest, TlsWithAuthorityAndClientCertificate) {
  const std::string base = directory_.path().native();
  const std::string script =
      "cd '" + base +
      "' && exec > /dev/null 2>&1 && "
      "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca && "
      "for who in server client; do "
      "openssl req -newkey rsa:2048 -nodes -keyout $who.key -out $who.csr -subj /CN=$who && "
      "printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\\n' > ext && "
      "openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out $who.pem -days 2 "
      "-extfile ext; "
      "done";
  if (std::system(script.c_str()) != 0) GTEST_SKIP() << "openssl makes no certificates";
  start("tls { cert_file: \"" + base + "/server.pem\", key_file: \"" + base + "/server.key\", ca_file: \"" +
        base + "/ca.pem\", verify: true }");
  NatsOptions right = options();
  right.tls.ca_file = base + "/ca.pem";
  right.tls.certificate_file = base + "/client.pem";
  right.tls.key_file = base + "/client.key";
  right.tls.expected_hostname = "localhost";
  const auto connection = Connection::connect(soon(), right);
  ASSERT_OK(connection);
  EXPECT_OK((*connection)->flush(soon()));
  const JetStream jetstream(*connection);
  EXPECT_OK(jetstream.account_info(soon()));

  NatsOptions stranger = right;
  stranger.connect_timeout = std::chrono::milliseconds(300);
  stranger.tls.expected_hostname = "somebody.else";
  EXPECT_FALSE(Connection::connect(soon(), stranger).has_value());
  NatsOptions without = right;
  without.tls.certificate_file.clear();
  without.tls.key_file.clear();
  without.connect_timeout = std::chrono::milliseconds(300);
  const auto refused = Connection::connect(soon(), without);
  ASSERT_FALSE(refused);
  // TLS 1.3 lets a client find out only when it reads.
  EXPECT_NE(refused.error().message().find("certificate"), std::string::npos) << refused.error().message();
  NatsOptions half = right;
  half.tls.key_file.clear();
  EXPECT_ERROR(Connection::connect(soon(), half), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace litecluster::nats
