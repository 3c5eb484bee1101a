#include "locks/lock_record.hpp"

#include "base/json_fields.hpp"

namespace litecluster::locks {
namespace {

std::unexpected<Error> corrupt(std::string_view reason) {
  return failure(ErrorCode::corrupt, "read lock record", {},
                 std::string(reason) + "; if nobody holds the lock, delete the key to start afresh");
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
  base::JsonFields fields(object);
  if (fields.number("version") != 1) fields.fail("the version is not 1");
  const std::string state = fields.text("state");
  if (state != "held" && state != "released") fields.fail("the state is neither held nor released");
  const std::uint64_t token = fields.number("token", UINT64_MAX - 1);
  if (token == 0) fields.fail("the token is out of range");
  std::string node = fields.text("node");
  std::string hold = fields.text("hold");
  const std::uint64_t lease = fields.number("lease_ms", static_cast<std::uint64_t>(lease_max.count()));
  if (lease < static_cast<std::uint64_t>(lease_min.count())) fields.fail("the lease is out of range");
  const std::uint64_t renewals = fields.number("renewals");
  if (fields.failed()) return corrupt(fields.reason());
  return LockRecord{.held = state == "held",
                    .token = FencingToken(token),
                    .node = std::move(node),
                    .hold = std::move(hold),
                    .lease = std::chrono::milliseconds(lease),
                    .renewals = renewals};
}

}  // namespace litecluster::locks
