#include "membership/record.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/json_fields.hpp"

namespace litecluster::membership {
namespace {

using base::JsonFields;
using nlohmann::json;

std::string_view name_of(RecordState state) {
  switch (state) {
    case RecordState::alive: return "alive";
    case RecordState::left: return "left";
    case RecordState::expelled: return "expelled";
  }
  return "unknown";
}

std::string_view name_of(Mode mode) {
  return to_string(mode);
}
std::string_view name_of(Role role) {
  return to_string(role);
}
std::string_view name_of(HealthLevel level) {
  return to_string(level);
}

template <typename Value, std::size_t count>
Value parse_enum(JsonFields& fields, const char* name, const std::array<Value, count>& values) {
  const std::string text = fields.text(name, text_bytes_max);
  for (const Value value : values) {
    if (name_of(value) == text) return value;
  }
  fields.fail(std::string("unknown ") + name);
  return values.front();
}

void parse_lists(JsonFields& fields, Member& member) {
  if (const json* addresses = fields.find_optional("addresses"); addresses != nullptr) {
    if (!addresses->is_array() || addresses->size() > addresses_max) return fields.fail("bad addresses");
    for (const json& address : *addresses) {
      if (!address.is_string() || address.get_ref<const std::string&>().size() > text_bytes_max) {
        return fields.fail("bad addresses");
      }
      member.addresses.push_back(address.get<std::string>());
    }
  }
  if (const json* labels = fields.find_optional("labels"); labels != nullptr) {
    if (!labels->is_object() || labels->size() > labels_max) return fields.fail("bad labels");
    for (const auto& [key, value] : labels->items()) {
      if (key.size() > text_bytes_max || !value.is_string() ||
          value.get_ref<const std::string&>().size() > text_bytes_max) {
        return fields.fail("bad labels");
      }
      member.labels.emplace(key, value.get<std::string>());
    }
  }
}

void parse_position(JsonFields& fields, Member& member) {
  if (fields.find_optional("txid") == nullptr) return;
  const auto txid = parse_txid(fields.text("txid", text_bytes_max));
  const auto checksum = parse_checksum(fields.text("checksum", text_bytes_max));
  if (!txid || !checksum) return fields.fail("bad position");
  member.position = Position{*txid, *checksum};
}

Status check_limits(const Record& record) {
  const Member& member = record.member;
  const auto refuse = [&](std::string reason) {
    return failure(ErrorCode::invalid_argument, "describe member", member.id.node, std::move(reason));
  };
  const auto long_text = [](std::string_view text) { return text.size() > text_bytes_max; };
  if (!valid_node_name(member.id.node)) {
    return refuse("a node's name is 1 to 64 letters, digits, '-' or '_'");
  }
  if (member.labels.size() > labels_max) return refuse("more than 64 labels");
  if (member.addresses.size() > addresses_max) return refuse("more than 64 addresses");
  for (const auto& [key, value] : member.labels) {
    if (long_text(key) || long_text(value)) return refuse("a label longer than 256 bytes: " + key);
  }
  if (std::ranges::any_of(member.addresses, long_text)) return refuse("an address longer than 256 bytes");
  if (long_text(member.version) || long_text(record.process) || long_text(member.id.incarnation)) {
    return refuse("version, process or incarnation longer than 256 bytes");
  }
  if (record.lease <= std::chrono::milliseconds::zero() || record.lease > lease_max) {
    return refuse("the lease (three heartbeats) has to lie between 1 ms and 1 h");
  }
  return {};
}

}  // namespace

MemberId life_of(const Record& record, Revision revision) {
  MemberId id = record.member.id;
  if (id.joined.is_zero()) id.joined = revision;
  return id;
}

bool valid_node_name(std::string_view name) {
  return !name.empty() && name.size() <= name_bytes_max && std::ranges::all_of(name, [](char character) {
    return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
           (character >= '0' && character <= '9') || character == '-' || character == '_';
  });
}

Result<std::string> encode(const Record& record) {
  if (const Status limits = check_limits(record); !limits) return std::unexpected(limits.error());
  const Member& member = record.member;
  json object = {
      {"node", member.id.node},
      {"incarnation", member.id.incarnation},
      {"joined", member.id.joined.value()},
      {"state", name_of(record.state)},
      {"heartbeat_ms", static_cast<std::uint64_t>(std::max<std::int64_t>(record.heartbeat.count(), 0))},
      {"lease_ms", static_cast<std::uint64_t>(record.lease.count())},
      {"mode", to_string(member.mode)},
      {"role", to_string(member.role)},
      {"epoch", member.epoch.value()},
      {"health", to_string(member.health)},
      {"health_reason", member.health_reason.substr(0, reason_bytes_max)},
      {"addresses", member.addresses},
      {"labels", member.labels},
      {"version", member.version},
      {"process", record.process}};
  if (member.position) {
    object["txid"] = litecluster::to_string(member.position->txid);
    object["checksum"] = litecluster::to_string(member.position->checksum);
  }
  if (record.ring.partitions != 0) {
    object["ring"] = {{"partitions", record.ring.partitions}, {"released", record.ring.released.value()}};
  }
  // Labels come from outside and may not be UTF-8: replaced rather than refused, they decide nothing.
  std::string text = object.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > record_bytes_max) {
    return failure(ErrorCode::too_large, "describe member", member.id.node,
                   "labels and addresses make a record of more than 64 KiB");
  }
  return text;
}

Result<Record> decode(std::string_view text) {
  const auto corrupt = [](std::string reason) {
    return failure(ErrorCode::corrupt, "read member record", {}, std::move(reason));
  };
  if (text.size() > record_bytes_max) return corrupt("larger than 64 KiB");
  const json object = json::parse(text, nullptr, false);
  JsonFields fields(object);
  Record record;
  Member& member = record.member;
  member.id.node = fields.text("node", name_bytes_max);
  if (!valid_node_name(member.id.node)) fields.fail("bad node name");
  member.id.incarnation = fields.text("incarnation", text_bytes_max);
  member.id.joined = Revision(fields.number("joined"));
  record.state =
      parse_enum(fields, "state", std::array{RecordState::alive, RecordState::left, RecordState::expelled});
  const auto lease_max_ms = static_cast<std::uint64_t>(lease_max.count());
  record.heartbeat = std::chrono::milliseconds(fields.number("heartbeat_ms", lease_max_ms));
  record.lease = std::chrono::milliseconds(fields.number("lease_ms", lease_max_ms));
  if (record.lease <= std::chrono::milliseconds::zero()) fields.fail("bad lease_ms");
  member.mode = parse_enum(fields, "mode", std::array{Mode::active_passive, Mode::pool, Mode::ring});
  member.role =
      parse_enum(fields, "role", std::array{Role::starting, Role::active, Role::passive, Role::worker});
  member.epoch = Epoch(fields.number("epoch"));
  member.health = parse_enum(fields, "health",
                             std::array{HealthLevel::passing, HealthLevel::warning, HealthLevel::critical});
  // Replacing what is not UTF-8 may have made it longer than what was cut.
  member.health_reason = fields.text("health_reason", 3 * reason_bytes_max);
  member.version = fields.text("version", 3 * text_bytes_max);
  record.process = fields.text("process", 3 * text_bytes_max);
  parse_position(fields, member);
  parse_lists(fields, member);
  if (const json* ring = fields.find_optional("ring"); ring != nullptr) {
    JsonFields part(*ring);
    record.ring.partitions =
        static_cast<std::uint32_t>(part.number("partitions", std::numeric_limits<std::uint32_t>::max()));
    record.ring.released = RingVersion(part.number("released"));
    if (part.failed()) fields.fail("ring: " + part.reason());
  }
  if (fields.failed()) return corrupt(fields.reason());
  return record;
}

}  // namespace litecluster::membership
