#include "replication/position_beacon.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/bytes.hpp"

namespace litecluster::replication {

namespace {

bool is_subject_token(std::string_view text) {
  return !text.empty() && std::ranges::none_of(text, [](unsigned char c) {
    return c <= ' ' || c == 0x7F || c == '.' || c == '*' || c == '>';
  });
}

}  // namespace

std::string position_subject(std::string_view cluster, std::string_view node) {
  return std::string(cluster) + ".position." + std::string(node);
}

std::string position_message(std::string_view node, const StandbyReport& report) {
  using Json = nlohmann::ordered_json;
  Json json;
  json["node"] = node;
  json["txid"] = to_string(report.position.txid);
  json["checksum"] = to_string(report.position.checksum);
  json["epoch"] = report.position.epoch.value();
  json["lag_txids"] = report.lag.txids ? Json(*report.lag.txids) : Json();
  json["lag_ms"] = report.lag.time
                       ? Json(std::chrono::duration_cast<std::chrono::milliseconds>(*report.lag.time).count())
                       : Json();
  json["problem"] = report.problem ? Json(report.problem->message()) : Json();
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<std::unique_ptr<PositionBeacon>> PositionBeacon::start(std::shared_ptr<nats::Connection> connection,
                                                              const std::string& cluster, std::string node) {
  for (const std::string& part : {cluster, node}) {
    if (is_subject_token(part)) continue;
    return failure(ErrorCode::invalid_argument, "publish the position", part,
                   "a name without spaces, dots and wildcards is needed");
  }
  return std::unique_ptr<PositionBeacon>(new PositionBeacon(std::move(connection), cluster, std::move(node)));
}

PositionBeacon::PositionBeacon(std::shared_ptr<nats::Connection> connection, const std::string& cluster,
                               std::string node)
    : connection_(std::move(connection)),
      node_(std::move(node)),
      subject_(position_subject(cluster, node_)),
      thread_([this] { run(); }) {}

PositionBeacon::~PositionBeacon() {
  stop_.cancel();
  {
    const base::MutexLock lock(mutex_);
    wake_.notify_one();
  }
  thread_.join();
}

void PositionBeacon::moved(const db::ReplicaPosition& position) {
  const base::MutexLock lock(mutex_);
  report_.position = position;
  changed_ = true;
  wake_.notify_one();
}

void PositionBeacon::report(const StandbyReport& report) {
  const base::MutexLock lock(mutex_);
  if (report == report_) return;
  report_ = report;
  changed_ = true;
  wake_.notify_one();
}

void PositionBeacon::run() {
  while (!stop_.done()) {
    StandbyReport report;
    {
      base::MutexLock lock(mutex_);
      if (!changed_ && !stop_.done()) wake_.wait_for(lock, interval_max);
      if (stop_.done()) return;
      changed_ = false;
      report = report_;
    }
    const std::string message = position_message(node_, report);
    static_cast<void>(connection_->publish(subject_, base::as_bytes(message)));
    stop_.wait_for(interval_min);
  }
}

}  // namespace litecluster::replication
