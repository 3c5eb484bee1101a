#include "ring/request_frame.hpp"

#include <gtest/gtest.h>

namespace litecluster::ring {
namespace {

TEST(RequestFrame, ComesBackAsItWas) {
  const auto bytes = encode_request("key", std::string_view("a\0b", 3));
  const auto frame = decode_request(bytes);
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->key, "key");
  EXPECT_EQ(frame->payload, std::string_view("a\0b", 3));
  EXPECT_TRUE(decode_request(encode_request("", "")));
}

TEST(RequestFrame, RefusesATruncatedOrForeignOne) {
  const auto bytes = encode_request("key", "");
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(decode_request(base::ByteView(bytes).first(length)));
  }
  EXPECT_FALSE(decode_request(base::as_bytes("\x02\0\0\0\0")));
  EXPECT_FALSE(decode_request(base::as_bytes(std::string_view("\x01\xff\xff\xff\xff", 5))));
}

TEST(ReplyFrame, CarriesAnswersAndErrors) {
  EXPECT_EQ(decode_reply(encode_reply(ReplyStatus::done, "fine"))->answer, "fine");
  EXPECT_EQ(decode_reply(encode_reply(ReplyStatus::not_owner))->status, ReplyStatus::not_owner);
  const auto failed = decode_reply(encode_reply(Error(ErrorCode::busy, "serve", "key", "later")));
  ASSERT_TRUE(failed && failed->error);
  EXPECT_EQ(failed->error->code(), ErrorCode::busy);
  EXPECT_EQ(failed->error->reason(), "serve key: later");
}

TEST(ReplyFrame, RefusesAForeignOne) {
  EXPECT_FALSE(decode_reply({}));
  EXPECT_FALSE(decode_reply(base::as_bytes("\x09")));
  EXPECT_FALSE(decode_reply(base::as_bytes("\x02no zero byte")));
}

}  // namespace
}  // namespace litecluster::ring
