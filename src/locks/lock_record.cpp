#include "locks/lock_record.hpp"

#include <optional>

#include <nlohmann/json.hpp>

namespace litecluster::locks {
namespace {

std::unexpected<Error> corrupt(std::string_view reason) {
  return failure(ErrorCode::corrupt, "read lock record", {},
                 std::string(reason) + "; if nobody holds the lock, delete the key to start afresh");
}

template <typename Value>
std::optional<Value> number(const nlohmann::json& object, const char* name) {
  const auto field = object.find(name);
  if (field == object.end() || !field->is_number_unsigned()) return std::nullopt;
  return field->get<Value>();
}

std::optional<std::string> text_field(const nlohmann::json& object, const char* name) {
  const auto field = object.find(name);
  if (field == object.end() || !field->is_string()) return std::nullopt;
  return field->get<std::string>();
}

}  // namespace

std::string encode(const LockRecord& record) {
  const nlohmann::json object = {{"version", 1},
                                 {"state", record.held ? "held" : "released"},
                                 {"token", record.token.value()},
                                 {"node", record.node},
                                 {"hold", record.hold},
                                 {"lease_ms", record.lease.count()},
                                 {"renewals", record.renewals}};
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<LockRecord> parse_lock_record(std::string_view text) {
  const nlohmann::json object = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return corrupt("the value is not a JSON object");
  if (number<std::uint64_t>(object, "version") != 1) return corrupt("the version is not 1");
  const auto state = text_field(object, "state");
  const auto token = number<std::uint64_t>(object, "token");
  const auto node = text_field(object, "node");
  const auto hold = text_field(object, "hold");
  const auto lease = number<std::uint64_t>(object, "lease_ms");
  const auto renewals = number<std::uint64_t>(object, "renewals");
  if (!state || !token || !node || !hold || !lease || !renewals) return corrupt("a field is missing");
  if (*state != "held" && *state != "released") return corrupt("the state is neither held nor released");
  if (*token == 0 || *token == UINT64_MAX) return corrupt("the token is out of range");
  if (*lease < static_cast<std::uint64_t>(lease_min.count()) ||
      *lease > static_cast<std::uint64_t>(lease_max.count())) {
    return corrupt("the lease is out of range");
  }
  return LockRecord{.held = *state == "held",
                    .token = FencingToken(*token),
                    .node = *node,
                    .hold = *hold,
                    .lease = std::chrono::milliseconds(*lease),
                    .renewals = *renewals};
}

}  // namespace litecluster::locks
