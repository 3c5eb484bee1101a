#include "daemon/status_text.hpp"

#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>

namespace litecluster::daemon {

namespace {

using nlohmann::json;

json lag_json(const Lag& lag) {
  json object = json::object();
  object["txids"] = lag.txids ? json(*lag.txids) : json();
  object["seconds"] = lag.time ? json(std::chrono::duration<double>(*lag.time).count()) : json();
  return object;
}

json health_json(const Health& health) {
  json checks = json::array();
  for (const HealthCheck& check : health.checks) {
    checks.push_back(
        {{"name", check.name}, {"level", to_string(check.result.level)}, {"reason", check.result.reason}});
  }
  return {{"level", to_string(health.level)}, {"checks", checks}};
}

json position_json(const std::optional<Position>& position) {
  if (!position) return nullptr;
  return {{"txid", to_string(position->txid)}, {"checksum", to_string(position->checksum)}};
}

json member_json(const Member& member) {
  return {{"node", member.id.node},
          {"incarnation", member.id.incarnation},
          {"joined", member.id.joined.value()},
          {"mode", to_string(member.mode)},
          {"role", to_string(member.role)},
          {"epoch", member.epoch.value()},
          {"position", position_json(member.position)},
          {"health", to_string(member.health)},
          {"reason", member.health_reason},
          {"addresses", member.addresses},
          {"labels", member.labels},
          {"version", member.version}};
}

json members_array(const std::vector<Member>& members) {
  json list = json::array();
  for (const Member& member : members) list.push_back(member_json(member));
  return list;
}

json ring_json(const std::optional<RingStatus>& ring) {
  if (!ring) return nullptr;
  return {{"version", ring->version.value()},
          {"partitions", ring->partitions},
          {"owned", ring->owned},
          {"moving", ring->moving}};
}

// A label's value with what the text format wants escaped.
std::string escaped(std::string_view text) {
  std::string result;
  for (const char character : text) {
    if (character == '\\' || character == '"') result += '\\';
    if (character == '\n') {
      result += "\\n";
    } else {
      result += character;
    }
  }
  return result;
}

class Exposition {
 public:
  explicit Exposition(const NodeStatus& status)
      : labels_(fmt::format("cluster=\"{}\",node=\"{}\"", escaped(status.cluster), escaped(status.node))) {}

  void gauge(std::string_view name, std::string_view help, double value, std::string_view more_labels = {}) {
    if (name != last_) text_ += fmt::format("# HELP {0} {1}\n# TYPE {0} gauge\n", name, help);
    last_ = name;
    text_ +=
        fmt::format("{}{{{}{}{}}} {}\n", name, labels_, more_labels.empty() ? "" : ",", more_labels, value);
  }
  [[nodiscard]] std::string text() && { return std::move(text_); }

 private:
  std::string labels_;
  std::string last_;
  std::string text_;
};

}  // namespace

std::string status_json(const NodeStatus& status, const std::vector<Member>& members, int process_id) {
  const json object = {{"ok", true},
                       {"cluster", status.cluster},
                       {"node", status.node},
                       {"mode", to_string(status.mode)},
                       {"role", to_string(status.role)},
                       {"stage", status.stage},
                       {"leader", status.leader},
                       {"epoch", status.epoch.value()},
                       {"position", position_json(status.position)},
                       {"lag", lag_json(status.lag)},
                       {"health", health_json(status.health)},
                       {"diverged", status.diverged},
                       {"ring", ring_json(status.ring)},
                       {"members", members_array(members)},
                       {"pid", process_id}};
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string members_json(const std::vector<Member>& members) {
  return members_array(members).dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string metrics_text(const NodeStatus& status, const std::vector<Member>& members) {
  Exposition out(status);
  out.gauge("litecluster_leader", "1 on the node that serves", status.stage == "active" ? 1 : 0);
  out.gauge("litecluster_epoch", "term of leadership", static_cast<double>(status.epoch.value()));
  if (status.position) {
    out.gauge("litecluster_txid", "last transaction acknowledged or applied",
              static_cast<double>(status.position->txid.value()));
  }
  // What is not known is left out: a gap in the graph is true, a zero would not be.
  if (status.lag.txids) {
    out.gauge("litecluster_lag_txids", "transactions in the log that are not applied",
              static_cast<double>(*status.lag.txids));
  }
  if (status.lag.time) {
    out.gauge("litecluster_lag_seconds", "age of the oldest transaction that is not applied",
              std::chrono::duration<double>(*status.lag.time).count());
  }
  out.gauge("litecluster_health", "0 passing, 1 warning, 2 critical",
            static_cast<double>(status.health.level));
  for (const HealthCheck& check : status.health.checks) {
    out.gauge("litecluster_health_check", "0 passing, 1 warning, 2 critical",
              static_cast<double>(check.result.level), fmt::format("check=\"{}\"", escaped(check.name)));
  }
  if (status.ring) {
    out.gauge("litecluster_ring_version", "version of the assignment of partitions",
              static_cast<double>(status.ring->version.value()));
    out.gauge("litecluster_ring_owned", "partitions that this node owns", status.ring->owned);
    out.gauge("litecluster_ring_moving", "partitions that somebody has to release first",
              status.ring->moving);
  }
  out.gauge("litecluster_members", "live members seen", static_cast<double>(members.size()));
  out.gauge("litecluster_diverged", "directories with commits that never reached the log",
            static_cast<double>(status.diverged.size()));
  return std::move(out).text();
}

std::string error_json(const Error& error) {
  const json object = {{"ok", false}, {"code", to_string(error.code())}, {"message", error.message()}};
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace litecluster::daemon
