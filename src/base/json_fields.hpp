// Reads fields of a JSON object from outside without exceptions: a missing or wrong one makes the reader
// failed and yields the type's default, so that a decoder may check once at its end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace litecluster::base {

/// Not thread-safe. The object has to outlive it.
class JsonFields {
 public:
  explicit JsonFields(const nlohmann::json& object) : object_(object) {
    if (!object_.is_object()) fail("not an object");
  }

  [[nodiscard]] std::uint64_t number(const char* name,
                                     std::uint64_t max = std::numeric_limits<std::uint64_t>::max()) {
    const nlohmann::json* value = find(name);
    if (value == nullptr) return 0;
    if (!value->is_number_unsigned() || value->get<std::uint64_t>() > max) {
      fail(std::string("bad number ") + name);
      return 0;
    }
    return value->get<std::uint64_t>();
  }

  [[nodiscard]] std::string text(const char* name,
                                 std::size_t bytes_max = std::numeric_limits<std::size_t>::max()) {
    const nlohmann::json* value = find(name);
    if (value == nullptr) return {};
    if (!value->is_string() || value->get_ref<const std::string&>().size() > bytes_max) {
      fail(std::string("bad text ") + name);
      return {};
    }
    return value->get<std::string>();
  }

  /// nullptr when missing (failed then) or not there at all.
  [[nodiscard]] const nlohmann::json* find(const char* name) {
    const nlohmann::json* value = find_optional(name);
    if (value == nullptr) fail(std::string("no field ") + name);
    return value;
  }
  [[nodiscard]] const nlohmann::json* find_optional(const char* name) const {
    if (!object_.is_object()) return nullptr;
    const auto found = object_.find(name);
    return found == object_.end() ? nullptr : &*found;
  }

  void fail(std::string reason) {
    if (reason_.empty()) reason_ = std::move(reason);
  }
  [[nodiscard]] bool failed() const { return !reason_.empty(); }
  /// Of the first failure.
  [[nodiscard]] const std::string& reason() const { return reason_; }

 private:
  const nlohmann::json& object_;
  std::string reason_;
};

}  // namespace litecluster::base
