#include "nats/kv_pattern.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace litecluster::nats {
namespace {

TEST(KvPattern, KeysAreWhatOtherClientsAccept) {
  for (const char* key : {"a", "A.b-c_d/e=f", "config/max-conn", "/", "a/b/c", "-", "=", "0", "a//b"}) {
    EXPECT_TRUE(valid_key(key)) << key;
  }
  for (const char* key : {"", ".", ".a", "a.", "a..b", "a b", "a*", ">", "ä", "a\n", "a:b"}) {
    EXPECT_FALSE(valid_key(key)) << key;
  }
  EXPECT_FALSE(valid_key(std::string_view("a\0b", 3)));
  EXPECT_FALSE(valid_key(std::string(1025, 'a')));
}

TEST(KvPattern, WildcardsAreWholeParts) {
  for (const char* pattern : {"*", ">", "a.*", "a/*", "a/>", "*.b", "*/b.>", "a", "*/*/*"}) {
    EXPECT_TRUE(valid_key_pattern(pattern)) << pattern;
  }
  for (const char* pattern : {"", "a*", "*a", "a>", ">.a", ">/a", "a.>.b", "**", "a..b", ".>", "a b"}) {
    EXPECT_FALSE(valid_key_pattern(pattern)) << pattern;
  }
}

TEST(KvPattern, SlashSeparatesLikeADot) {
  EXPECT_TRUE(matches("config/>", "config/max-conn"));
  EXPECT_TRUE(matches("config/>", "config/a/b.c"));
  EXPECT_FALSE(matches("config/>", "config"));
  EXPECT_FALSE(matches("config/>", "config/"));
  EXPECT_FALSE(matches("config/>", "configuration/a"));
  EXPECT_FALSE(matches("config/>", "config.a"));
  EXPECT_TRUE(matches("config.>", "config.a/b"));
  EXPECT_TRUE(matches("*/name", "users/name"));
  EXPECT_FALSE(matches("*/name", "users/x/name"));
  EXPECT_TRUE(matches("a.*.c", "a.b.c"));
  EXPECT_FALSE(matches("a.*.c", "a.b/b.c"));
  EXPECT_FALSE(matches("a/*", "a/b/c"));
  EXPECT_TRUE(matches("a/*", "a/b"));
  EXPECT_FALSE(matches("a/*", "a/"));
  EXPECT_TRUE(matches(">", "anything/at.all"));
  EXPECT_TRUE(matches("a.b", "a.b"));
  EXPECT_FALSE(matches("a.b", "a/b"));
  EXPECT_FALSE(matches("a", "ab"));
  EXPECT_FALSE(matches("ab", "a"));
}

TEST(KvPattern, TheServersFilterIsAsNarrowAsDotsAllow) {
  EXPECT_EQ(wire_filter(">"), ">");
  EXPECT_EQ(wire_filter("a.b"), "a.b");
  EXPECT_EQ(wire_filter("a/b"), "a/b");
  EXPECT_EQ(wire_filter("a.*.c"), "a.*.c");
  EXPECT_EQ(wire_filter("config/>"), ">");
  EXPECT_EQ(wire_filter("app.config/>"), "app.>");
  EXPECT_EQ(wire_filter("app.config/*.x"), "app.*.x");
}

/// A NATS subject filter matched against a subject, for comparison.
bool subject_matches(std::string_view filter, std::string_view subject) {
  while (true) {
    const auto filter_end = std::min(filter.find('.'), filter.size());
    const auto subject_end = std::min(subject.find('.'), subject.size());
    const auto token = filter.substr(0, filter_end);
    if (token == ">") return true;
    if (token != "*" && token != subject.substr(0, subject_end)) return false;
    const bool filter_over = filter_end == filter.size();
    const bool subject_over = subject_end == subject.size();
    if (filter_over || subject_over) return filter_over && subject_over;
    filter.remove_prefix(filter_end + 1);
    subject.remove_prefix(subject_end + 1);
  }
}

TEST(KvPattern, TheServersFilterCoversWhateverMatches) {
  // All texts of up to five parts' worth of a small alphabet.
  const std::string alphabet = "a./*>";
  std::vector<std::string> patterns;
  std::vector<std::string> keys;
  for (int number = 0; number < 5 * 5 * 5 * 5 * 5 * 5; ++number) {
    std::string text;
    for (int rest = number + 1; rest > 0; rest /= 5) text += alphabet[static_cast<std::size_t>(rest % 5)];
    if (valid_key_pattern(text)) patterns.push_back(text);
    if (valid_key(text)) keys.push_back(text);
  }
  EXPECT_GT(patterns.size(), 200U);
  EXPECT_GT(keys.size(), 40U);
  for (const std::string& pattern : patterns) {
    for (const std::string& key : keys) {
      if (matches(pattern, key)) {
        EXPECT_TRUE(subject_matches(wire_filter(pattern), key)) << pattern << " " << key;
      }
    }
  }
}

}  // namespace
}  // namespace litecluster::nats
