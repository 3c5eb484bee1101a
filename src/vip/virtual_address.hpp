// The address that moves with leadership.
//
// acquire() puts it on the interface and tells the neighbours, at once and then again and again: an
// announcement is one unacknowledged packet, and a switch that was away when it was sent would keep the old
// way for minutes. While it is held it is also put back when somebody takes it off the interface.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include <litecluster/error.hpp>

#include "backend/guard.hpp"
#include "base/mutex.hpp"
#include "vip/address.hpp"

namespace litecluster::vip {

/// The pause after the n-th announcement, counted from 0: close together at first, then every ten seconds.
[[nodiscard]] std::chrono::milliseconds announcement_pause(std::size_t count);

/// For the guard: takes the address off the interface; no thread, no allocation.
class AddressFence final : public backend::Fence {
 public:
  AddressFence(std::string interface, Address address)
      : interface_(std::move(interface)), address_(address) {}
  pid_t drop() noexcept override;

 private:
  std::string interface_;
  Address address_;
};

/// Thread-safe.
class VirtualAddress {
 public:
  /// `may_hold` is asked before each time the address is put on the interface: a process that was stopped
  /// past the end of its lease must not bring it back. Empty: always.
  VirtualAddress(std::string interface, Address address, std::function<bool()> may_hold = {});
  /// release().
  ~VirtualAddress();
  VirtualAddress(const VirtualAddress&) = delete;
  VirtualAddress& operator=(const VirtualAddress&) = delete;

  /// Whether it can be held: the interface is there. What an earlier process left behind is taken off; true
  /// when there was something. Call it at start.
  [[nodiscard]] Result<bool> remove_leftover();
  /// Returns when the address is there and announced once. Errors: not_found (interface), permission_denied,
  /// not_leader (may_hold says no), io.
  [[nodiscard]] Status acquire();
  /// Succeeds when it was not held.
  [[nodiscard]] Status release();

  /// Why the address may not lead to us although we hold it: another host answers for it as well, or it
  /// cannot be announced. Empty when all is well.
  [[nodiscard]] std::string problem() const;

  [[nodiscard]] const Address& address() const { return address_; }
  [[nodiscard]] std::string address_text() const { return to_string(address_); }

 private:
  void keep(const std::stop_token& stop);
  void set_problem(std::string problem);
  [[nodiscard]] Status put();

  const std::string interface_;
  const Address address_;
  const std::function<bool()> may_hold_;
  mutable base::Mutex problem_mutex_;
  std::string problem_ LITECLUSTER_GUARDED_BY(problem_mutex_);
  base::Mutex mutex_;
  /// The address may be on the interface on our account.
  bool acquired_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  std::jthread keeper_ LITECLUSTER_GUARDED_BY(mutex_);
};

}  // namespace litecluster::vip
