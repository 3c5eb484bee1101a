#include "log/object.hpp"

#include <gtest/gtest.h>

#include "unit/log/make_object.hpp"

namespace litecluster::log {
namespace {

TEST(ObjectHeaders, CarryAuthorChecksumAndTime) {
  const auto headers = make_headers(
      {.created_at = test::at_second(5), .author = test::author(7, "a"), .checksum = Checksum(0xABC)});
  EXPECT_EQ(headers.at("Litestream-Timestamp"), "2023-11-20T00:00:05Z");
  EXPECT_EQ(headers.at("Litecluster-Epoch"), "7");
  EXPECT_EQ(headers.at("Litecluster-Node"), "a");
  EXPECT_EQ(headers.at("Litecluster-Checksum"), "8000000000000abc");
  Object object;
  read_headers(headers, test::at_second(99), object);
  EXPECT_EQ(object.created_at, test::at_second(5));
  EXPECT_EQ(object.author, test::author(7, "a"));
  EXPECT_EQ(object.checksum, Checksum(0xABC));
}

TEST(ObjectHeaders, SayWhichFileARawObjectIs) {
  Object object;
  read_headers(make_headers({.created_at = test::at_second(5),
                             .author = test::author(7, "a"),
                             .checksum = Checksum(0xABC),
                             .file_checksum = Checksum(0xDEF)}),
               test::at_second(99), object);
  EXPECT_EQ(object.file_checksum, Checksum(0xDEF));
  for (const Headers& proves_nothing : {Headers{}, Headers{{"Litecluster-File-Checksum", "1"}}}) {
    read_headers(proves_nothing, test::at_second(99), object);
    EXPECT_FALSE(object.file_checksum);
    EXPECT_EQ(object.defect, "");
  }
}

TEST(ObjectHeaders, SayOnWhichStateAnObjectWasMade) {
  const NewObject made{.created_at = test::at_second(5),
                       .checksum = Checksum(0xABC),
                       .pre_apply = Checksum(0xDEF),
                       .previous_file = Checksum(0x123)};
  EXPECT_EQ(make_headers(made).at("Litecluster-Pre-Apply-Checksum"), "8000000000000def");
  Object object;
  read_headers(make_headers(made), test::at_second(99), object);
  EXPECT_EQ(object.pre_apply, Checksum(0xDEF));
  EXPECT_EQ(object.previous_file, Checksum(0x123));
  read_headers({}, test::at_second(99), object);
  EXPECT_FALSE(object.pre_apply);
  EXPECT_FALSE(object.previous_file);
  EXPECT_EQ(object.defect, "");
  for (const char* name : {"Litecluster-Pre-Apply-Checksum", "Litecluster-Previous-File-Checksum"}) {
    read_headers({{name, "x"}}, test::at_second(99), object);
    EXPECT_NE(object.defect, "") << "taking it for absent would take the check away";
  }
}

TEST(ObjectHeaders, OfLitestreamAloneGiveNoAuthor) {
  Object object;
  object.author = test::author(1);
  object.checksum = Checksum(1);
  read_headers(make_headers({.created_at = test::at_second(5)}), test::at_second(99), object);
  EXPECT_EQ(object.created_at, test::at_second(5));
  EXPECT_FALSE(object.author);
  EXPECT_FALSE(object.checksum);
}

TEST(ObjectHeaders, ThatCannotBeReadFallBackToTheServerTime) {
  Object object;
  read_headers({}, test::at_second(99), object);
  EXPECT_EQ(object.created_at, test::at_second(99));
  read_headers(
      {{"Litestream-Timestamp", "yesterday"}, {"Litecluster-Epoch", "x"}, {"Litecluster-Checksum", "1"}},
      test::at_second(98), object);
  EXPECT_EQ(object.created_at, test::at_second(98));
  EXPECT_FALSE(object.author);
  EXPECT_FALSE(object.checksum);
}

TEST(ObjectHeaders, OfOursThatCannotBeReadAreADefectAndNotAbsent) {
  Object object;
  for (const char* epoch : {"0", "x", "-1", "1 ", "99999999999999999999", ""}) {
    read_headers({{"Litecluster-Epoch", epoch}}, test::at_second(98), object);
    EXPECT_FALSE(object.author);
    EXPECT_NE(object.defect, "") << epoch;
  }
  for (const char* checksum : {"1", "", "800000000000000g", "0000000000000001"}) {
    read_headers({{"Litecluster-Checksum", checksum}}, test::at_second(98), object);
    EXPECT_FALSE(object.checksum);
    EXPECT_NE(object.defect, "") << checksum;
  }
  read_headers({{"Litecluster-Epoch", "1"}, {"Litecluster-Checksum", "8000000000000001"}},
               test::at_second(98), object);
  EXPECT_EQ(object.defect, "");
}

}  // namespace
}  // namespace litecluster::log
