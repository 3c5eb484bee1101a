#include "base/sha256.hpp"

#include <gtest/gtest.h>

#include "base/base64.hpp"

namespace litecluster::base {
namespace {

TEST(Sha256, HashesAnEmptyTextAndAKnownOne) {
  EXPECT_EQ(to_base64url(sha256({})), "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=");
  EXPECT_EQ(to_base64url(sha256(as_bytes("abc"))), "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0=");
}

TEST(Sha256, PiecesGiveTheSameAsTheWholeAndItStartsAnew) {
  Sha256 hash;
  for (int round = 0; round < 2; ++round) {
    hash.update(as_bytes("a"));
    hash.update(as_bytes("bc"));
    EXPECT_EQ(hash.finish(), sha256(as_bytes("abc")));
  }
}

}  // namespace
}  // namespace litecluster::base
