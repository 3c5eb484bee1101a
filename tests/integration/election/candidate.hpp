// One node of an election on a real server, which keeps what it was told.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/mutex.hpp"
#include "election/lease_store.hpp"
#include "support/nats_fixture.hpp"

namespace litecluster::election {

using namespace std::chrono_literals;

inline constexpr const char* coordination_bucket = "shop-coord";

inline nats::KeyValue open_bucket(const std::shared_ptr<nats::Connection>& connection) {
  nats::KeyValueOptions options;
  options.bucket = coordination_bucket;
  auto bucket = nats::KeyValue::open_or_create(test::soon(), nats::JetStream(connection), options);
  if (!bucket) {
    ADD_FAILURE() << bucket.error().message();
    std::abort();
  }
  return std::move(*bucket);
}

inline ElectorConfig quick_config(std::string node) {
  ElectorConfig config;
  config.node = std::move(node);
  config.incarnation = Incarnation::random();
  config.lease_ttl = 1500ms;
  config.heartbeat = 500ms;
  return config;
}

class Candidate {
 public:
  Candidate(std::shared_ptr<nats::Connection> connection, ElectorConfig config, bool demotes = true)
      : demotes_(demotes) {
    LeaseStoreOptions options;
    options.elector = std::move(config);
    options.listener = [this](const LeaseEvent& event) { heard(event); };
    options.shared_deadline = &shared_deadline;
    nats::KeyValue bucket = open_bucket(connection);
    auto started = LeaseStore::start(std::move(bucket), std::move(connection), std::move(options));
    if (!started) std::abort();
    store_ = std::move(*started);
    ready_ = true;
    store_->set_eligible(true);
  }

  LeaseStore& store() { return *store_; }
  [[nodiscard]] std::vector<Epoch> terms() {
    const base::MutexLock lock(mutex_);
    return terms_;
  }
  [[nodiscard]] std::vector<LossReason> losses() {
    const base::MutexLock lock(mutex_);
    return losses_;
  }
  [[nodiscard]] bool duplicate() {
    const base::MutexLock lock(mutex_);
    return duplicate_;
  }

  std::atomic<std::int64_t> shared_deadline{0};
  /// Boot time of the last BecameLeader, in nanoseconds.
  std::atomic<std::int64_t> began_at{0};

 private:
  void heard(const LeaseEvent& event) {
    if (const auto* began = std::get_if<BecameLeader>(&event)) {
      began_at = base::BootClock::now().time_since_epoch().count();
      const base::MutexLock lock(mutex_);
      terms_.push_back(began->epoch);
    } else if (const auto* lost = std::get_if<LostLeadership>(&event)) {
      {
        const base::MutexLock lock(mutex_);
        losses_.push_back(lost->reason);
      }
      if (demotes_ && ready_ && lost->reason != LossReason::given_back) store_->release({});
    } else if (std::holds_alternative<DuplicateNode>(event)) {
      const base::MutexLock lock(mutex_);
      duplicate_ = true;
    }
  }

  const bool demotes_;
  base::Mutex mutex_;
  std::vector<Epoch> terms_ LITECLUSTER_GUARDED_BY(mutex_);
  std::vector<LossReason> losses_ LITECLUSTER_GUARDED_BY(mutex_);
  bool duplicate_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  std::atomic<bool> ready_{false};
  std::unique_ptr<LeaseStore> store_;
};

}  // namespace litecluster::election
