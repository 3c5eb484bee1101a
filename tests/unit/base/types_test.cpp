#include <litecluster/types.hpp>

#include <gtest/gtest.h>

#include <concepts>

#include <litecluster/error.hpp>

namespace litecluster {
namespace {

static_assert(!std::equality_comparable_with<Txid, Epoch>);
static_assert(!std::convertible_to<std::uint64_t, Txid>);
static_assert(!std::convertible_to<PageNo, Revision>);

TEST(Txid, PrintsAndParsesSixteenDigits) {
  EXPECT_EQ(to_string(Txid(0x1e)), "000000000000001e");
  EXPECT_EQ(parse_txid("000000000000001e"), Txid(0x1e));
  EXPECT_EQ(parse_txid("1e"), Txid(0x1e));
  for (const char* bad : {"", "g", "0x1", "-1", " 1", "1 ", "00000000000000001"}) {
    EXPECT_FALSE(parse_txid(bad).has_value()) << bad;
  }
}

TEST(Checksum, OfAnEmptyDatabaseIsTheFlagAlone) {
  EXPECT_EQ(to_string(Checksum()), "8000000000000000");
}

TEST(Checksum, TogglingAPageTwiceChangesNothing) {
  const Checksum page(0x1234);
  const Checksum database = Checksum().toggled(Checksum(0xABCD)).toggled(page);
  EXPECT_NE(database, database.toggled(page));
  EXPECT_EQ(database, database.toggled(page).toggled(page));
}

TEST(Checksum, ParsesOnlyWhatCanBeOne) {
  EXPECT_EQ(parse_checksum("eb1a999231044ddd"), Checksum(0xeb1a999231044dddULL));
  EXPECT_FALSE(parse_checksum("6b1a999231044ddd").has_value());
  EXPECT_FALSE(parse_checksum("eb1a999231044dd").has_value());
}

TEST(Position, PrintsThirtyThreeCharacters) {
  EXPECT_EQ(to_string(Position{Txid(5), Checksum()}), "0000000000000005/8000000000000000");
}

TEST(Error, MessageSaysWhatWasTriedOnWhatAndWhy) {
  const Error error(ErrorCode::conflict, "update key", "leader", "revision 7 expected, found 9");
  EXPECT_EQ(error.message(), "update key leader: revision 7 expected, found 9");
  const Error outer = error.within("renew lease");
  EXPECT_EQ(outer.code(), ErrorCode::conflict);
  EXPECT_EQ(outer.message(), "renew lease: update key leader: revision 7 expected, found 9");
}

}  // namespace
}  // namespace litecluster
