#include "ltx/verified_object.hpp"

#include <gtest/gtest.h>

#include "unit/ltx/ltx_support.hpp"

namespace litecluster::ltx {
namespace {

using namespace ltx::test;  // NOLINT: the helpers of these tests

TEST(VerifiedObject, HandsOutItsPagesInOrderAndAgainAfterRewind) {
  const Pages pages = {{1, filled(512, 'a')}, {7, filled(512, 'b')}};
  for (const auto encoding : {PageEncoding::block, PageEncoding::frame}) {
    const Bytes file = encode(make_header(2, 2, 9), pages, encoding);
    auto object = VerifiedObject::verify(file, "key");
    ASSERT_TRUE(object) << object.error().message();
    EXPECT_EQ(object->header().commit, 9U);
    EXPECT_EQ(object->info().page_count, 2U);
    for (int round = 0; round < 2; ++round) {
      Pages seen;
      while (const auto page = *object->next_page()) {
        seen.emplace(page->number.value(), Bytes(page->bytes.begin(), page->bytes.end()));
      }
      EXPECT_EQ(seen, pages);
      EXPECT_FALSE(*object->next_page());
      object->rewind();
    }
  }
}

TEST(VerifiedObject, IsNotMadeOfABadFile) {
  Bytes file = encode(make_header(2, 2, 9), {{1, filled(512, 'a')}});
  file.back() ^= std::byte{1};
  const auto object = VerifiedObject::verify(file, "ltx/0000/x.ltx");
  ASSERT_FALSE(object);
  EXPECT_EQ(object.error().code(), ErrorCode::corrupt);
  EXPECT_EQ(object.error().subject(), "ltx/0000/x.ltx");
}

}  // namespace
}  // namespace litecluster::ltx
