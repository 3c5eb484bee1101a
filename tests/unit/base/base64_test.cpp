#include "base/base64.hpp"

#include <gtest/gtest.h>

#include <string>

namespace litecluster::base {
namespace {

std::string decoded(std::string_view text) {
  const auto bytes = parse_base64url(text);
  return bytes ? std::string(as_text(*bytes)) : "<refused>";
}

TEST(Base64, EncodesTheVectorsOfRfc4648) {
  EXPECT_EQ(to_base64url(as_bytes("")), "");
  EXPECT_EQ(to_base64url(as_bytes("f")), "Zg==");
  EXPECT_EQ(to_base64url(as_bytes("fo")), "Zm8=");
  EXPECT_EQ(to_base64url(as_bytes("foo")), "Zm9v");
  EXPECT_EQ(to_base64url(as_bytes("foobar")), "Zm9vYmFy");
  EXPECT_EQ(to_base64url(as_bytes("\xFB\xFF\xFE")), "-__-");
}

TEST(Base64, EncodesAnObjectNameAsLitestreamDoes) {
  EXPECT_EQ(to_base64url(as_bytes("ltx/0/0000000000000001-0000000000000001.ltx")),
            "bHR4LzAvMDAwMDAwMDAwMDAwMDAwMS0wMDAwMDAwMDAwMDAwMDAxLmx0eA==");
}

TEST(Base64, DecodesWhatItEncodes) {
  std::string text;
  for (int length = 0; length < 300; ++length) {
    EXPECT_EQ(decoded(to_base64url(as_bytes(text))), text);
    text += static_cast<char>(length * 7);
  }
}

TEST(Base64, RefusesWhatIsNotCanonical) {
  for (const char* bad :
       {"Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zm+v", "Zm/v", "=", "====", "Zg==Zg==", "Z=g="}) {
    EXPECT_EQ(decoded(bad), "<refused>") << bad;
  }
}

}  // namespace
}  // namespace litecluster::base
