#include "backend/process.hpp"

#include <gtest/gtest.h>

namespace litecluster::backend {
namespace {

TEST(ProcessSpec, SurvivesTheWayThroughTheGuard) {
  const ProcessSpec spec{
      .arguments = {"/bin/sh", "-c", "", "a b"}, .environment = {"A=1", "B="}, .directory = ""};
  const auto decoded = decode_process_spec(*encode_process_spec(spec));
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_EQ(decoded->arguments, spec.arguments);
  EXPECT_EQ(decoded->environment, spec.environment);
  EXPECT_EQ(decoded->directory, spec.directory);
}

TEST(ProcessSpec, RefusesWhatCannotBeRun) {
  EXPECT_FALSE(encode_process_spec({}));
  EXPECT_FALSE(encode_process_spec({.arguments = {""}, .environment = {}, .directory = {}}));
  EXPECT_FALSE(
      encode_process_spec({.arguments = {std::string("a\0b", 3)}, .environment = {}, .directory = {}}));
  using namespace std::string_view_literals;
  for (const auto bytes :
       {""sv, "1\0"sv, "2\0\0a\0"sv, "1\0\0a"sv, "0\0\0a\0"sv, "x\0\0a\0"sv, "1\0\0\0"sv}) {
    EXPECT_FALSE(decode_process_spec(bytes));
  }
}

}  // namespace
}  // namespace litecluster::backend
