// Finds out whether another host of the link answers for an address.
#pragma once

#include <optional>
#include <string>

#include <litecluster/error.hpp>

#include "base/file_descriptor.hpp"
#include "vip/address.hpp"

namespace litecluster::vip {

/// Not thread-safe. No call waits.
class Neighbours {
 public:
  /// Interfaces without neighbours (loopback, tunnels) are fine; nobody ever answers there. Errors: not_found
  /// (interface), permission_denied (CAP_NET_RAW), io.
  [[nodiscard]] static Result<Neighbours> listen(const std::string& interface, const Address& address);

  /// Asks who has the address; whoever does answers within a moment, and is found by a later other_holder().
  [[nodiscard]] Status ask() const;
  /// The hardware address of a host, not ours, that has said since the last call that it has the address.
  [[nodiscard]] std::optional<HardwareAddress> other_holder() const;

 private:
  Neighbours(std::string interface, Address address) : interface_(std::move(interface)), address_(address) {}
  [[nodiscard]] std::optional<HardwareAddress> claimed_by(base::ByteView packet) const;

  std::string interface_;
  Address address_;
  int index_ = 0;
  HardwareAddress own_{};
  base::FileDescriptor frames_;   // sends; and receives ARP
  base::FileDescriptor control_;  // receives neighbour advertisements of IPv6
};

/// "02:11:22:33:44:55"
[[nodiscard]] std::string to_string(const HardwareAddress& hardware);

}  // namespace litecluster::vip
