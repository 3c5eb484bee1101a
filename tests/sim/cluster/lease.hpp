// Drives the real Elector as election::LeaseStore does (src/election/lease_store.cpp), over the simulated
// key.
#pragma once

#include <functional>

#include "election/elector.hpp"
#include "sim/cluster/process.hpp"

namespace litecluster::test::cluster {

class Lease {
 public:
  struct Listener {
    std::function<void(Epoch)> won;
    std::function<void(const election::LostLeadership&)> lost;
  };

  Lease(Process& process, election::ElectorConfig config, Listener listener);

  void start();
  /// From a watch: the key has this revision, or had it a moment ago.
  void observed(std::uint64_t revision, std::optional<election::LeaderRecord> record);

  void set_eligible(bool eligible) { perform(elector_.set_eligible(eligible, local())); }
  void log_epoch_seen(Epoch epoch) { perform(elector_.log_epoch_seen(epoch, local())); }
  void position_changed(Txid txid) { perform(elector_.position_changed(txid, local())); }
  void peer_seen(const std::string& node, Txid txid) { perform(elector_.peer_seen(node, txid, local())); }
  void release(election::ReleaseOrder order) { perform(elector_.release(std::move(order), local())); }
  /// In a fiber.
  [[nodiscard]] Status release_and_wait(const Context& context, const election::ReleaseOrder& order);
  void connection_changed(bool connected) { perform(elector_.connection_changed(connected, local())); }
  [[nodiscard]] bool leads() const { return elector_.leads(process_.host().boot_time()); }

 private:
  [[nodiscard]] base::BootTime local() const { return process_.host().boot_time(); }
  void perform(election::Elector::Actions actions);
  void carry_out(const election::Action& action);
  void read();
  void write(const election::WriteRecord& wanted);
  void send_write(const election::WriteRecord& wanted);
  void led(base::BootTime deadline);
  void stop_at_a_bad_moment();

  Process& process_;
  Listener listener_;
  election::Elector elector_;
  std::uint64_t timer_ = 0;
  std::uint64_t releases_ = 0;
};

}  // namespace litecluster::test::cluster
