// JSON of the assignment. Owners are written as base64url of big-endian 16-bit indexes into `members`: 4,096
// partitions then take 11 KiB, twice.
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/base64.hpp"
#include "base/bytes.hpp"
#include "base/json_fields.hpp"
#include "membership/record.hpp"
#include "ring/assignment.hpp"

namespace litecluster::ring {
namespace {

using base::JsonFields;
using nlohmann::json;

json to_json(const MemberId& id) {
  return {{"node", id.node}, {"incarnation", id.incarnation}, {"joined", id.joined.value()}};
}

std::optional<MemberId> parse_member(const json& object) {
  JsonFields fields(object);
  MemberId id;
  id.node = fields.text("node", membership::name_bytes_max);
  id.incarnation = fields.text("incarnation", membership::text_bytes_max);
  id.joined = Revision(fields.number("joined"));
  if (fields.failed() || !membership::valid_node_name(id.node)) return std::nullopt;
  return id;
}

std::string pack(const Assignment& assignment, std::uint16_t Slot::* field) {
  base::Bytes bytes;
  bytes.reserve(assignment.slots.size() * 2);
  for (const Slot& slot : assignment.slots) base::append_big_endian(bytes, slot.*field);
  return base::to_base64url(bytes);
}

void unpack(JsonFields& fields, const char* name, Assignment& assignment, std::uint16_t Slot::* field) {
  const auto bytes = base::parse_base64url(fields.text(name, std::size_t{4} * partitions_max));
  if (!bytes || bytes->size() != assignment.slots.size() * 2) {
    return fields.fail(std::string("bad list ") + name);
  }
  base::ByteReader reader(*bytes);
  for (Slot& slot : assignment.slots) {
    slot.*field = reader.read_big_endian<std::uint16_t>().value_or(nobody);
    if (slot.*field != nobody && slot.*field >= assignment.members.size()) {
      return fields.fail(std::string("unknown member in ") + name);
    }
  }
}

void parse_leaving(JsonFields& fields, Assignment& assignment) {
  const json* leaving = fields.find("leaving");
  if (leaving == nullptr) return;
  if (!leaving->is_array() || leaving->size() > assignment.slots.size()) return fields.fail("bad leaving");
  for (const json& pair : *leaving) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number_unsigned() ||
        !pair[1].is_number_unsigned() || pair[0].get<std::uint64_t>() >= assignment.slots.size()) {
      return fields.fail("bad leaving");
    }
    assignment.slots[pair[0].get<std::size_t>()].leaving_since = RingVersion(pair[1].get<std::uint64_t>());
  }
}

// What the decision makers rely on.
bool consistent(const Assignment& assignment) {
  for (const Slot& slot : assignment.slots) {
    const bool leaving = slot.holder != slot.target;
    if (leaving != !slot.leaving_since.is_zero()) return false;
    if (slot.leaving_since > assignment.version) return false;
    if (slot.holder == nobody && slot.target != nobody) return false;
  }
  return true;
}

}  // namespace

std::string encode(const Assignment& assignment) {
  json members = json::array();
  for (const MemberId& id : assignment.members) members.push_back(to_json(id));
  json leaving = json::array();
  for (std::size_t partition = 0; partition < assignment.slots.size(); ++partition) {
    const Slot& slot = assignment.slots[partition];
    if (!slot.leaving_since.is_zero()) leaving.push_back({partition, slot.leaving_since.value()});
  }
  const json object = {{"version", assignment.version.value()},
                       {"partitions", assignment.slots.size()},
                       {"coordinator", to_json(assignment.coordinator)},
                       {"members", std::move(members)},
                       {"holders", pack(assignment, &Slot::holder)},
                       {"targets", pack(assignment, &Slot::target)},
                       {"leaving", std::move(leaving)}};
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<Assignment> decode(std::string_view text) {
  const auto corrupt = [](std::string reason) {
    return failure(ErrorCode::corrupt, "read ring assignment", {}, std::move(reason));
  };
  if (text.size() > assignment_bytes_max) return corrupt("larger than 1 MiB");
  const json object = json::parse(text, nullptr, false);
  JsonFields fields(object);
  Assignment assignment;
  assignment.version = RingVersion(fields.number("version"));
  if (assignment.version.is_zero()) fields.fail("no version");
  assignment.slots.resize(fields.number("partitions", partitions_max));
  if (assignment.slots.empty()) fields.fail("no partitions");
  if (const json* coordinator = fields.find("coordinator"); coordinator != nullptr) {
    const auto id = parse_member(*coordinator);
    if (!id) return corrupt("bad coordinator");
    assignment.coordinator = *id;
  }
  const json* members = fields.find("members");
  if (members == nullptr || !members->is_array() || members->size() > members_max) {
    return corrupt("bad members");
  }
  for (const json& member : *members) {
    auto id = parse_member(member);
    if (!id) return corrupt("bad member");
    assignment.members.push_back(std::move(*id));
  }
  unpack(fields, "holders", assignment, &Slot::holder);
  unpack(fields, "targets", assignment, &Slot::target);
  parse_leaving(fields, assignment);
  if (fields.failed()) return corrupt(fields.reason());
  if (!consistent(assignment)) return corrupt("a partition that leaves nobody, or leaves without a version");
  return assignment;
}

}  // namespace litecluster::ring
