// An IP address with its prefix, and the frames that tell the neighbours where it lives now. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <litecluster/error.hpp>

#include "base/bytes.hpp"

namespace litecluster::vip {

enum class Family { ipv4, ipv6 };

struct Address {
  Family family = Family::ipv4;
  /// In network order; the first 4 for IPv4.
  std::array<std::byte, 16> bytes{};
  std::uint8_t prefix = 32;  ///< 0 to 32 or 128

  [[nodiscard]] std::size_t size() const { return family == Family::ipv4 ? 4 : 16; }
  [[nodiscard]] base::ByteView view() const { return {bytes.data(), size()}; }
  friend bool operator==(const Address&, const Address&) = default;
};

/// "10.0.0.5/24", "fd00::5/64"; without a prefix /32 and /128. invalid_argument otherwise, and for addresses
/// that no single host can have (unspecified, multicast, broadcast).
[[nodiscard]] Result<Address> parse_address(std::string_view text);
[[nodiscard]] std::string to_string(const Address& address);

using HardwareAddress = std::array<std::byte, 6>;

/// An ARP announcement (RFC 5227, section 3) as an Ethernet frame: request form, or reply form for
/// neighbours that listen to that alone.
enum class ArpForm : std::uint16_t { request = 1, reply = 2 };
[[nodiscard]] base::Bytes gratuitous_arp(const Address& address, const HardwareAddress& hardware,
                                         ArpForm form);
/// An unsolicited neighbour advertisement with the override flag (RFC 4861, section 7.2.6) as an Ethernet
/// frame.
[[nodiscard]] base::Bytes neighbour_advertisement(const Address& address, const HardwareAddress& hardware);
/// Asks who has the address without saying that we have it, as an Ethernet frame: an ARP probe (RFC 5227,
/// section 2.1), or for IPv6 the neighbour solicitation of duplicate address detection (RFC 4862,
/// section 5.4).
[[nodiscard]] base::Bytes address_probe(const Address& address, const HardwareAddress& hardware);

}  // namespace litecluster::vip
