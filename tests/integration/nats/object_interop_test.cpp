// An independent client, @nats-io/obj from npm, reads what we write and the reverse. Skipped where it is not
// installed (scripts/optional-partners).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "nats/object_store.hpp"
#include "support/nats_fixture.hpp"
#include "support/npm_partner.hpp"

namespace litecluster::nats {
namespace {

using test::soon;

base::Bytes pattern(std::size_t size, std::uint32_t seed) {
  base::Bytes bytes(size);
  for (std::byte& byte : bytes) {
    seed = seed * 1664525U + 1013904223U;
    byte = static_cast<std::byte>(seed >> 24U);
  }
  return bytes;
}

std::string hex(const base::Sha256Digest& digest) {
  std::string text;
  for (const std::byte byte : digest) text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return text;
}

class ObjectInteropTest : public test::NatsTest {
 protected:
  static constexpr std::uint64_t any_size = ~std::uint64_t{0};

  void SetUp() override {
    if (const auto missing = test::missing_npm_package("@nats-io/obj")) GTEST_SKIP() << *missing;
    NatsTest::SetUp();
  }

  static std::string shell_quoted(const std::string& text) {
    std::string result = "'";
    for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return result + "'";
  }

  /// Lines that the script prints; a failed test when it fails.
  std::vector<nlohmann::json> node(const std::string& command, const std::vector<std::string>& names = {}) {
    std::string line = fmt::format("node {}/tests/integration/nats/objects.cjs {} {} b {}",
                                   shell_quoted(LITECLUSTER_SOURCE_DIR), shell_quoted(test::npm_directory()),
                                   server_->url(), command);
    for (const std::string& name : names) line += " " + shell_quoted(name);
    const auto [status, output] = test::run_script(line);
    EXPECT_EQ(status, 0) << line;
    std::vector<nlohmann::json> lines;
    std::size_t begin = 0;
    while (begin < output.size()) {
      const std::size_t end = std::min(output.find('\n', begin), output.size());
      lines.push_back(nlohmann::json::parse(output.substr(begin, end - begin), nullptr, false));
      begin = end + 1;
    }
    return lines;
  }
};

// Names are ASCII: the JavaScript client encodes others as Latin-1 or not at all.
const std::map<std::string, base::Bytes>& samples() {
  static const std::map<std::string, base::Bytes> all = {
      {"binary", pattern(300'000, 1)},   {"empty", {}},
      {"tiny chunks", pattern(5000, 2)}, {"odd/.*> $%\\\"|~", pattern(10, 3)},
      {"replaced", pattern(2000, 5)},    {"64 MiB", pattern(64 << 20, 7)},
      {"with headers", pattern(5, 8)},
  };
  return all;
}

TEST_F(ObjectInteropTest, ReadsWhatTheJavaScriptClientWrote) {
  node("write");
  if (HasFailure()) return;
  auto store = open_object_store(soon(), JetStream(connect()), "b");
  ASSERT_OK(store);
  const auto all = (*store)->list(soon(), 100);
  ASSERT_OK(all);
  EXPECT_EQ(all->size(), samples().size());
  for (const ObjectInfo& info : *all) {
    ASSERT_TRUE(samples().contains(info.name)) << info.name;
    const auto bytes = (*store)->get(soon(), info, any_size);
    ASSERT_OK(bytes);
    EXPECT_TRUE(*bytes == samples().at(info.name)) << info.name;
    EXPECT_TRUE(info.digest.has_value());
    if (info.name == "tiny chunks") {
      EXPECT_EQ(info.chunks, (5000 + 6) / 7);
    }
    if (info.name == "with headers") {
      EXPECT_EQ(info.header("Litestream-Timestamp"), "2026-11-22T20:23:26.43Z");
      EXPECT_EQ(info.metadata.at("key"), "value");
    }
  }
  EXPECT_ERROR((*store)->info(soon(), "deleted"), ErrorCode::not_found);
  // What it deleted and what it replaced can be removed and created by us.
  PutOptions create;
  create.create_only = true;
  EXPECT_ERROR((*store)->put(soon(), "deleted", pattern(5, 1), create), ErrorCode::already_exists);
  EXPECT_EQ((*store)->remove_orphans(soon(), std::chrono::nanoseconds(0)), 1) << "the tombstone";
  ASSERT_OK((*store)->put(soon(), "deleted", pattern(5, 1), create));
}

TEST_F(ObjectInteropTest, TheJavaScriptClientReadsWhatWeWrote) {
  auto store = create_object_store(soon(), JetStream(connect()), "b");
  ASSERT_OK(store);
  std::vector<std::string> names;
  for (const auto& [name, bytes] : samples()) {
    PutOptions options;
    if (name == "tiny chunks") options.chunk_size = 7;
    if (name == "with headers") options.headers["Litestream-Timestamp"] = {"2026-11-22T20:23:26.43Z"};
    if (name == "replaced") {
      ASSERT_OK((*store)->put(soon(), name, pattern(1000, 4), options));
    }
    ASSERT_OK((*store)->put(soon(), name, bytes, options));
    names.push_back(name);
  }
  ASSERT_OK((*store)->put(soon(), "removed", pattern(100, 9)));
  ASSERT_OK((*store)->remove(soon(), "removed"));
  names.push_back("removed");

  const auto lines = node("read", names);
  ASSERT_EQ(lines.size(), names.size());
  for (const auto& line : lines) {
    const std::string name = line.at("name");
    if (name == "removed") {
      EXPECT_TRUE(line.contains("missing"));
      continue;
    }
    const base::Bytes& bytes = samples().at(name);
    EXPECT_EQ(line.at("size"), bytes.size()) << name;
    EXPECT_EQ(line.at("sha256"), hex(base::sha256(bytes))) << name;
    if (name == "with headers") {
      EXPECT_EQ(line.at("timestamp"), "2026-11-22T20:23:26.43Z");
    }
  }
  const auto list = node("list");
  ASSERT_EQ(list.size(), 1);
  EXPECT_EQ(list[0].size(), samples().size());
  node("delete", {"binary"});
  EXPECT_ERROR((*store)->info(soon(), "binary"), ErrorCode::not_found);
  EXPECT_EQ((*store)->list(soon(), 100)->size(), samples().size() - 1);
}

}  // namespace
}  // namespace litecluster::nats
