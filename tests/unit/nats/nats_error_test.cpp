#include "nats/nats_error.hpp"

#include <gtest/gtest.h>

#include "nats/jetstream.hpp"

namespace litecluster::nats {
namespace {

Error api(int code, int err_code, std::string_view description = "text") {
  return jetstream_error(code, err_code, description, "publish", "s");
}

TEST(NatsError, TellsKindsOfJetStreamErrorsApart) {
  EXPECT_EQ(api(400, 10071).code(), ErrorCode::conflict);
  EXPECT_EQ(api(404, 10059).code(), ErrorCode::not_found);
  EXPECT_EQ(api(503, 10008).code(), ErrorCode::unavailable);
  EXPECT_EQ(api(503, 10076).code(), ErrorCode::unavailable);
  EXPECT_EQ(api(503, 10077, "maximum bytes exceeded").code(), ErrorCode::resource_exhausted);
  EXPECT_EQ(api(400, 10054).code(), ErrorCode::too_large);
}

// As nats-server 2.9.10 and 2.15.1 say it.
TEST(NatsError, AFailedDeletionMeansThatThereIsNothingOnlyWhereTheServerSaysSo) {
  EXPECT_EQ(api(500, 10057, "no message found").code(), ErrorCode::not_found);
  EXPECT_EQ(api(500, 10057, "stream store EOF").code(), ErrorCode::not_found);
  EXPECT_EQ(api(400, 10043, "sequence 2 not found").code(), ErrorCode::not_found);
  EXPECT_EQ(api(500, 10057, "snapshot in progress").code(), ErrorCode::unavailable);
  EXPECT_EQ(api(500, 10057, "message delete not permitted").code(), ErrorCode::failed_precondition);
  EXPECT_EQ(api(500, 10057, "input/output error").code(), ErrorCode::internal);
  EXPECT_EQ(api_error_code(api(500, 10057, "snapshot in progress")), 10057);
}

TEST(NatsError, FallsBackToTheStatusOfErrorsThatItDoesNotKnow) {
  EXPECT_EQ(api(404, 19999).code(), ErrorCode::not_found);
  EXPECT_EQ(api(400, 19999).code(), ErrorCode::invalid_argument);
  EXPECT_EQ(api(403, 19999).code(), ErrorCode::permission_denied);
  EXPECT_EQ(api(408, 19999).code(), ErrorCode::unavailable);
  EXPECT_EQ(api(500, 19999).code(), ErrorCode::internal);
  EXPECT_EQ(api(400, 19999, "resource limits exceeded").code(), ErrorCode::resource_exhausted);
}

TEST(NatsError, SaysWhatToDo) {
  EXPECT_NE(api(503, 10076, "JetStream not enabled").message().find("-js"), std::string::npos);
  EXPECT_NE(no_responders_error("publish", "s").message().find("JetStream is off"), std::string::npos);
}

TEST(NatsError, KeepsTheNumberForCallersThatAsk) {
  EXPECT_EQ(api_error_code(api(400, 10071)), 10071);
  EXPECT_EQ(api_error_code(api(400, 0)), 0);
  EXPECT_EQ(api_error_code(no_responders_error("publish", "s")), 0);
}

}  // namespace
}  // namespace litecluster::nats
