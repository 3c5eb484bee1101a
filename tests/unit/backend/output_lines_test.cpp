#include "backend/output_lines.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace litecluster::backend {
namespace {

std::vector<std::string> lines_of(const std::vector<std::string>& pieces) {
  std::vector<std::string> lines;
  const auto sink = [&](std::string_view line) { lines.emplace_back(line); };
  OutputLines output;
  for (const std::string& piece : pieces) output.feed(piece, sink);
  output.flush(sink);
  return lines;
}

TEST(OutputLines, JoinsWhatCameInPieces) {
  EXPECT_EQ(lines_of({"on", "e\ntw", "o\n\nthree"}), (std::vector<std::string>{"one", "two", "three"}));
}

TEST(OutputLines, CutsALineThatDoesNotEnd) {
  const auto lines = lines_of({std::string(output_line_size_max + 5, 'x') + "\nnext\n"});
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0].size(), output_line_size_max);
  EXPECT_EQ(lines[1], "xxxxx");
  EXPECT_EQ(lines[2], "next");
}

}  // namespace
}  // namespace litecluster::backend
