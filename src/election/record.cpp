#include "election/record.hpp"

#include <charconv>

#include "base/hex.hpp"
#include "base/json_fields.hpp"
#include "base/random.hpp"

namespace litecluster::election {

namespace {

using nlohmann::json;

constexpr std::uint64_t duration_max_ms = 24ULL * 60 * 60 * 1000;
/// Of texts whose form is checked afterwards.
constexpr std::size_t text_size_max = 64;

std::unexpected<Error> corrupt(std::string reason) {
  return failure(ErrorCode::corrupt, "decode leader record", "leader", std::move(reason));
}

}  // namespace

Incarnation Incarnation::random() {
  return {.family = base::random_u64(), .number = 1};
}

std::string to_string(const Incarnation& incarnation) {
  return base::to_hex16(incarnation.family) + "." + std::to_string(incarnation.number);
}

std::optional<Incarnation> parse_incarnation(std::string_view text) {
  const std::size_t dot = text.find('.');
  if (dot != 16) return std::nullopt;
  const auto family = base::parse_hex(text.substr(0, dot));
  const std::string_view digits = text.substr(dot + 1);
  Incarnation incarnation;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), incarnation.number);
  if (!family || error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  incarnation.family = *family;
  return incarnation;
}

std::string encode_record(const LeaderRecord& record) {
  json object = {{"node", record.node},
                 {"incarnation", to_string(record.incarnation)},
                 {"epoch", record.epoch.value()},
                 {"state", record.state == LeaseState::held ? "held" : "released"},
                 {"lease_ttl_ms", static_cast<std::uint64_t>(record.lease_ttl.count())},
                 {"heartbeat_ms", static_cast<std::uint64_t>(record.heartbeat.count())},
                 {"sequence", record.sequence},
                 {"txid", litecluster::to_string(record.position.txid)},
                 {"checksum", litecluster::to_string(record.position.checksum)}};
  if (!record.successor.empty()) object["successor"] = record.successor;
  // A node name that is not UTF-8 must not throw here; the configuration refuses such names long before.
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<LeaderRecord> decode_record(std::string_view bytes) {
  if (bytes.size() > record_size_max) return corrupt("larger than any record of ours");
  const json object = json::parse(bytes, nullptr, false);
  base::JsonFields fields(object);

  LeaderRecord record;
  record.node = fields.text("node", node_name_size_max);
  if (record.node.empty()) fields.fail("bad node");
  const auto incarnation = parse_incarnation(fields.text("incarnation", text_size_max));
  if (!incarnation) fields.fail("bad incarnation");
  record.incarnation = incarnation.value_or(Incarnation());
  const std::string state = fields.text("state", text_size_max);
  if (state != "held" && state != "released") fields.fail("bad state");
  record.state = state == "held" ? LeaseState::held : LeaseState::released;
  // The largest number would leave no epoch to follow.
  record.epoch = Epoch(fields.number("epoch", UINT64_MAX - 1));
  if (record.epoch.is_zero()) fields.fail("bad epoch");
  record.lease_ttl = std::chrono::milliseconds(fields.number("lease_ttl_ms", duration_max_ms));
  if (record.lease_ttl.count() == 0) fields.fail("bad lease_ttl_ms");
  record.heartbeat = std::chrono::milliseconds(fields.number("heartbeat_ms", duration_max_ms));
  record.sequence = fields.number("sequence");
  const auto txid = parse_txid(fields.text("txid", text_size_max));
  const auto checksum = parse_checksum(fields.text("checksum", text_size_max));
  if (!txid || !checksum) fields.fail("bad position");
  if (fields.find_optional("successor") != nullptr) {
    record.successor = fields.text("successor", node_name_size_max);
  }
  if (fields.failed()) return corrupt(fields.reason());
  record.position = {*txid, *checksum};
  return record;
}

}  // namespace litecluster::election
