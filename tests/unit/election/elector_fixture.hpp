// Drives one elector by hand and keeps what it asked for.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "election/elector.hpp"

namespace litecluster::election {

using namespace std::chrono_literals;

class ElectorFixture : public ::testing::Test {
 protected:
  static constexpr Incarnation own{.family = 1, .number = 2};
  static constexpr Incarnation other{.family = 9, .number = 1};

  static ElectorConfig config_of(std::string node) {
    ElectorConfig config;
    config.node = std::move(node);
    config.incarnation = own;
    return config;
  }

  static LeaderRecord held_by(std::string node, Incarnation incarnation, std::uint64_t epoch,
                              std::uint64_t sequence = 1) {
    LeaderRecord record;
    record.node = std::move(node);
    record.incarnation = incarnation;
    record.epoch = Epoch(epoch);
    record.lease_ttl = 10s;
    record.heartbeat = 3s;
    record.sequence = sequence;
    return record;
  }
  static LeaderRecord released(LeaderRecord record, std::string successor = {}) {
    record.state = LeaseState::released;
    record.successor = std::move(successor);
    return record;
  }

  [[nodiscard]] base::BootTime at(base::Duration since_start) const {
    return base::BootTime(1000s) + since_start;
  }

  void take(Elector::Actions span) { last_.assign(span.begin(), span.end()); }

  template <typename Kind>
  [[nodiscard]] std::optional<Kind> get() const {
    for (const Action& action : last_) {
      if (const Kind* found = std::get_if<Kind>(&action)) return *found;
    }
    return std::nullopt;
  }
  [[nodiscard]] std::optional<base::Duration> timer() const {
    const auto set = get<SetTimer>();
    return set ? std::optional(set->at - at(0s)) : std::nullopt;
  }

  /// Starts the elector as an eligible standby that saw `record` under `revision` at time 0.
  void begin(std::uint64_t revision, std::optional<LeaderRecord> record) {
    take(elector_.start(at(0s)));
    take(elector_.set_eligible(true, at(0s)));
    take(elector_.record_observed(Revision(revision), std::move(record), at(0s)));
  }
  /// Makes it the leader of epoch 1 at time 0, under revision 1.
  void become_leader() {
    begin(0, std::nullopt);
    ASSERT_TRUE(get<WriteRecord>());
    take(elector_.write_finished(1, WriteOutcome::stored, Revision(1), at(0s)));
    ASSERT_TRUE(get<BecameLeader>());
  }

  Elector elector_{config_of("a")};
  std::vector<Action> last_;
};

}  // namespace litecluster::election
