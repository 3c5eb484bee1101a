#include "nats/kv_pattern.hpp"

#include <algorithm>

namespace litecluster::nats {
namespace {

constexpr std::size_t key_length_max = 1024;

bool alphanumeric(char character) {
  return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
         (character >= '0' && character <= '9');
}

bool key_character(char character) {
  return alphanumeric(character) || std::string_view("-/_=.").contains(character);
}

bool no_empty_token(std::string_view text) {
  return !text.empty() && text.front() != '.' && text.back() != '.' && !text.contains("..");
}

bool separator(char character) {
  return character == '.' || character == '/';
}

}  // namespace

bool valid_bucket_name(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char character) {
    return alphanumeric(character) || character == '-' || character == '_';
  });
}

bool valid_key(std::string_view key) {
  return key.size() <= key_length_max && no_empty_token(key) && std::ranges::all_of(key, key_character);
}

bool valid_key_pattern(std::string_view pattern) {
  if (pattern.size() > key_length_max || !no_empty_token(pattern)) return false;
  for (std::size_t index = 0; index < pattern.size(); ++index) {
    const char character = pattern[index];
    if (character == '*' || character == '>') {
      const bool starts_part = index == 0 || separator(pattern[index - 1]);
      const bool last = index + 1 == pattern.size();
      if (!starts_part || !(last || (character == '*' && separator(pattern[index + 1])))) return false;
    } else if (!key_character(character)) {
      return false;
    }
  }
  return true;
}

bool matches(std::string_view pattern, std::string_view key) {
  std::size_t at = 0;
  for (std::size_t index = 0; index < pattern.size(); ++index) {
    const bool starts_part = index == 0 || separator(pattern[index - 1]);
    if (starts_part && pattern[index] == '>') return at < key.size();
    if (starts_part && pattern[index] == '*') {
      const std::size_t end = std::min(key.find_first_of("./", at), key.size());
      if (end == at) return false;
      at = end;
    } else {
      if (at == key.size() || key[at] != pattern[index]) return false;
      ++at;
    }
  }
  return at == key.size();
}

std::string wire_filter(std::string_view pattern) {
  std::string filter;
  while (true) {
    const std::size_t end = std::min(pattern.find('.'), pattern.size());
    const std::string_view token = pattern.substr(0, end);
    if (token.ends_with('>')) return filter + ">";
    filter += token.contains('*') ? "*" : token;
    if (end == pattern.size()) return filter;
    filter += '.';
    pattern.remove_prefix(end + 1);
  }
}

}  // namespace litecluster::nats
