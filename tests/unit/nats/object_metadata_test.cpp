#include "nats/object_metadata.hpp"

#include <gtest/gtest.h>

#include <set>

namespace litecluster::nats {
namespace {

// As written by Litestream 0.5.17.
constexpr std::string_view genuine =
    R"({"name":"ltx/0/0000000000000001-0000000000000001.ltx","headers":{"Litestream-Timestamp":["2026-11-22T20:23:26.43Z"]},"options":{"max_chunk_size":131072},"bucket":"labw","nuid":"SxE8O31KP80FM464or4hKz","size":360,"mtime":"0001-01-01T00:00:00Z","chunks":13,"digest":"SHA-256=lD5WWZ8e6k3gbA8mEeK2rW3iZ1wdGZqmrp3gn6Bq_B4="})";
constexpr std::string_view genuine_subject =
    "$O.labw.M.bHR4LzAvMDAwMDAwMDAwMDAwMDAwMS0wMDAwMDAwMDAwMDAwMDAxLmx0eA==";

TEST(ObjectMetadata, ReadsWhatLitestreamWrote) {
  const auto info = parse_object_info(genuine, genuine_subject);
  ASSERT_TRUE(info.has_value()) << info.error().message();
  EXPECT_EQ(info->name, "ltx/0/0000000000000001-0000000000000001.ltx");
  EXPECT_EQ(info->header("Litestream-Timestamp"), "2026-11-22T20:23:26.43Z");
  EXPECT_EQ(info->size, 360);
  EXPECT_EQ(info->chunks, 13);
  EXPECT_EQ(info->chunk_size, 131072);
  EXPECT_EQ(info->nuid, "SxE8O31KP80FM464or4hKz");
  ASSERT_TRUE(info->digest.has_value());
  EXPECT_EQ(digest_text(*info->digest), "SHA-256=lD5WWZ8e6k3gbA8mEeK2rW3iZ1wdGZqmrp3gn6Bq_B4=");
  EXPECT_FALSE(info->deleted);
}

TEST(ObjectMetadata, WritesTheSameTextAsLitestream) {
  const auto info = parse_object_info(genuine, genuine_subject);
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(metadata_subject("labw", info->name), genuine_subject);
  EXPECT_EQ(to_json(*info, "labw").value(), genuine);
}

TEST(ObjectMetadata, ReadsTombstonesAndLinks) {
  const auto deleted = parse_object_info(R"({"name":"x","nuid":"n","size":0,"deleted":true})", "$O.b.M.eA==");
  ASSERT_TRUE(deleted.has_value());
  EXPECT_TRUE(deleted->deleted);
  const auto link = parse_object_info(
      R"({"name":"x","nuid":"n","options":{"link":{"bucket":"o","name":"y"}}})", "$O.b.M.eA==");
  ASSERT_TRUE(link.has_value());
  EXPECT_EQ(link->link, "o/y");
}

TEST(ObjectMetadata, ReadsDigestsWithoutPaddingAndInSmallLetters) {
  const auto info = parse_object_info(
      R"({"name":"x","nuid":"n","size":1,"digest":"sha-256=lD5WWZ8e6k3gbA8mEeK2rW3iZ1wdGZqmrp3gn6Bq_B4"})",
      "$O.b.M.eA==");
  ASSERT_TRUE(info.has_value());
  EXPECT_TRUE(info->digest.has_value());
}

TEST(ObjectMetadata, RefusesWhatCannotBeTrusted) {
  const auto code = [](std::string_view json) {
    const auto info = parse_object_info(json, "$O.b.M.eA==");
    return info ? std::optional<ErrorCode>() : info.error().code();
  };
  EXPECT_EQ(code(""), ErrorCode::corrupt);
  EXPECT_EQ(code("[]"), ErrorCode::corrupt);
  EXPECT_EQ(code(R"({"name":"y","nuid":"n"})"), ErrorCode::corrupt) << "another name than the subject's";
  EXPECT_EQ(code(R"({"name":"x","nuid":">","size":1})"), ErrorCode::corrupt) << "all chunks of the bucket";
  EXPECT_EQ(code(R"({"name":"x","nuid":"a.b","size":1})"), ErrorCode::corrupt);
  EXPECT_EQ(code(R"({"name":"x","nuid":"a b","size":1})"), ErrorCode::corrupt);
  EXPECT_EQ(code(R"({"name":"x","size":1})"), ErrorCode::corrupt);
  EXPECT_EQ(code(R"({"name":"x","nuid":"n","digest":"MD5=abcd"})"), ErrorCode::corrupt);
  EXPECT_EQ(code(R"({"name":"x","nuid":"n","digest":"SHA-256=AAAA"})"), ErrorCode::corrupt);
  EXPECT_EQ(code(R"({"name":"x","nuid":"n","size":-5})"), std::nullopt) << "read as 0: no data is fetched";
}

TEST(ObjectMetadata, MakesNuidsThatDiffer) {
  std::set<std::string> seen;
  for (int count = 0; count < 1000; ++count) {
    const std::string nuid = new_nuid();
    EXPECT_EQ(nuid.size(), 22);
    EXPECT_TRUE(seen.insert(nuid).second);
  }
}

}  // namespace
}  // namespace litecluster::nats
