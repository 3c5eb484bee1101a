#include "election/record.hpp"

#include <charconv>
#include <nlohmann/json.hpp>

#include "base/hex.hpp"
#include "base/random.hpp"

namespace litecluster::election {

namespace {

using nlohmann::json;

constexpr std::uint64_t duration_max_ms = 24ULL * 60 * 60 * 1000;

std::unexpected<Error> corrupt(std::string reason) {
  return failure(ErrorCode::corrupt, "decode leader record", "leader", std::move(reason));
}

std::optional<std::uint64_t> number(const json& object, const char* name) {
  const auto field = object.find(name);
  if (field == object.end() || !field->is_number_unsigned()) return std::nullopt;
  return field->get<std::uint64_t>();
}

const std::string* text(const json& object, const char* name) {
  const auto field = object.find(name);
  if (field == object.end() || !field->is_string()) return nullptr;
  return field->get_ptr<const std::string*>();
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
  if (!object.is_object()) return corrupt("not a JSON object");

  LeaderRecord record;
  const std::string* node = text(object, "node");
  if (node == nullptr || node->empty() || node->size() > node_name_size_max) return corrupt("bad node");
  record.node = *node;

  const std::string* incarnation = text(object, "incarnation");
  const auto parsed = incarnation == nullptr ? std::nullopt : parse_incarnation(*incarnation);
  if (!parsed) return corrupt("bad incarnation");
  record.incarnation = *parsed;

  const std::string* state = text(object, "state");
  if (state == nullptr || (*state != "held" && *state != "released")) return corrupt("bad state");
  record.state = *state == "held" ? LeaseState::held : LeaseState::released;

  const auto epoch = number(object, "epoch");
  // The largest number would leave no epoch to follow.
  if (!epoch || *epoch == 0 || *epoch == UINT64_MAX) return corrupt("bad epoch");
  record.epoch = Epoch(*epoch);

  const auto lease_ttl = number(object, "lease_ttl_ms");
  if (!lease_ttl || *lease_ttl == 0 || *lease_ttl > duration_max_ms) return corrupt("bad lease_ttl_ms");
  record.lease_ttl = std::chrono::milliseconds(*lease_ttl);
  const auto heartbeat = number(object, "heartbeat_ms");
  if (!heartbeat || *heartbeat > duration_max_ms) return corrupt("bad heartbeat_ms");
  record.heartbeat = std::chrono::milliseconds(*heartbeat);

  const auto sequence = number(object, "sequence");
  if (!sequence) return corrupt("bad sequence");
  record.sequence = *sequence;

  const std::string* txid = text(object, "txid");
  const std::string* checksum = text(object, "checksum");
  const auto parsed_txid = txid == nullptr ? std::nullopt : parse_txid(*txid);
  const auto parsed_checksum = checksum == nullptr ? std::nullopt : parse_checksum(*checksum);
  if (!parsed_txid || !parsed_checksum) return corrupt("bad position");
  record.position = {*parsed_txid, *parsed_checksum};

  if (object.contains("successor")) {
    const std::string* successor = text(object, "successor");
    if (successor == nullptr || successor->size() > node_name_size_max) return corrupt("bad successor");
    record.successor = *successor;
  }
  return record;
}

}  // namespace litecluster::election
