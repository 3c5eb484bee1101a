// Members of JSON objects from outside, without exceptions: one that is absent or of another type yields the
// type's default.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

namespace litecluster::nats {

using Json = nlohmann::json;

/// nullopt when `text` is not one JSON object.
[[nodiscard]] inline std::optional<Json> parse_object(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  return json;
}

/// null when there is none. Valid as long as `json`.
[[nodiscard]] inline const Json& member(const Json& json, const char* name) {
  static const Json none;
  const auto found = json.find(name);
  return found == json.end() ? none : *found;
}

[[nodiscard]] inline std::string text_of(const Json& json, const char* name, std::string fallback = {}) {
  const Json& value = member(json, name);
  return value.is_string() ? value.get<std::string>() : std::move(fallback);
}

[[nodiscard]] inline std::uint64_t count_of(const Json& json, const char* name) {
  const Json& value = member(json, name);
  return value.is_number_unsigned() ? value.get<std::uint64_t>() : 0;
}

[[nodiscard]] inline std::int64_t number_of(const Json& json, const char* name, std::int64_t fallback) {
  const Json& value = member(json, name);
  return value.is_number_integer() ? value.get<std::int64_t>() : fallback;
}

[[nodiscard]] inline bool flag_of(const Json& json, const char* name) {
  const Json& value = member(json, name);
  return value.is_boolean() && value.get<bool>();
}

}  // namespace litecluster::nats
