#include "membership/record.hpp"

#include <gtest/gtest.h>

namespace litecluster::membership {
namespace {

Record sample() {
  Record record;
  record.member.id = {"node-1", "abc", Revision(7)};
  record.member.mode = Mode::ring;
  record.member.role = Role::worker;
  record.member.position = Position{Txid(5), Checksum(9)};
  record.member.epoch = Epoch(3);
  record.member.health = HealthLevel::warning;
  record.member.health_reason = "disk: full";
  record.member.addresses = {"10.0.0.1:80"};
  record.member.labels = {{"zone", "x"}};
  record.member.version = "1.0";
  record.process = "boot/1/2/3";
  record.ring = {.partitions = 256, .released = RingVersion(12)};
  return record;
}

TEST(MemberRecord, ComesBackAsItWas) {
  const auto text = encode(sample());
  ASSERT_TRUE(text.has_value());
  const auto record = decode(*text);
  ASSERT_TRUE(record.has_value()) << record.error().message();
  EXPECT_EQ(*record, sample());
}

TEST(MemberRecord, ItsFirstRecordNamesALife) {
  Record record = sample();
  EXPECT_EQ(life_of(record, Revision(20)).joined, Revision(7));
  record.member.id.joined = Revision();
  EXPECT_EQ(life_of(record, Revision(20)).joined, Revision(20));
}

TEST(MemberRecord, RefusesWhatIsOutsideOfItsLimits) {
  Record record = sample();
  record.member.id.node = "a.b";
  EXPECT_EQ(encode(record).error().code(), ErrorCode::invalid_argument);
  record = sample();
  record.member.labels["key"] = std::string(text_bytes_max + 1, 'x');
  EXPECT_EQ(encode(record).error().code(), ErrorCode::invalid_argument);
  record = sample();
  record.member.addresses.resize(addresses_max + 1);
  EXPECT_EQ(encode(record).error().code(), ErrorCode::invalid_argument);
  record = sample();
  record.lease = std::chrono::milliseconds(0);
  EXPECT_EQ(encode(record).error().code(), ErrorCode::invalid_argument);
}

TEST(MemberRecord, RefusesWhatIsNotOneOfOurs) {
  for (const char* text : {"", "[]", "{", "null", "{}", R"({"node":"a"})", R"({"node":5})"}) {
    const auto record = decode(text);
    ASSERT_FALSE(record.has_value()) << text;
    EXPECT_EQ(record.error().code(), ErrorCode::corrupt);
  }
  const std::string text = *encode(sample());
  for (std::size_t length = 0; length < text.size(); ++length) {
    EXPECT_FALSE(decode(std::string_view(text).substr(0, length)).has_value());
  }
}

TEST(MemberRecord, WhatIsNoTextDoesNotBreakIt) {
  Record record = sample();
  record.member.labels["bad"] = "\xff\xfe";
  record.member.health_reason = std::string(5000, '\xff');
  const auto text = encode(record);
  ASSERT_TRUE(text.has_value());
  EXPECT_TRUE(decode(*text).has_value());
}

}  // namespace
}  // namespace litecluster::membership
