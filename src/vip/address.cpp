#include "vip/address.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace litecluster::vip {

namespace {

constexpr std::uint16_t ether_type_arp = 0x0806;
constexpr std::uint16_t ether_type_ipv6 = 0x86DD;
constexpr std::uint8_t next_header_icmpv6 = 58;
constexpr std::uint8_t type_solicitation = 135;
constexpr std::uint8_t type_advertisement = 136;

std::unexpected<Error> bad(std::string_view text, std::string reason) {
  return failure(ErrorCode::invalid_argument, "parse address", std::string(text), std::move(reason));
}

void append_byte(base::Bytes& frame, std::uint8_t value) {
  frame.push_back(static_cast<std::byte>(value));
}

void append_repeated(base::Bytes& frame, std::size_t count, std::uint8_t value) {
  frame.insert(frame.end(), count, static_cast<std::byte>(value));
}

bool usable(const Address& address) {
  const auto first = std::to_integer<unsigned>(address.bytes[0]);
  const bool zero = std::ranges::all_of(address.view(), [](std::byte b) { return b == std::byte{0}; });
  // 224.0.0.0 and above: multicast, reserved and broadcast.
  const bool shared = address.family == Family::ipv4 ? first >= 224 : first == 0xFF;
  return !zero && !shared;
}

/// The internet checksum (RFC 1071).
std::uint16_t checksum(base::ByteView bytes) {
  std::uint32_t sum = 0;
  for (std::size_t index = 0; index < bytes.size(); index += 2) {
    sum += std::to_integer<std::uint32_t>(bytes[index]) << 8U;
    if (index + 1 < bytes.size()) sum += std::to_integer<std::uint32_t>(bytes[index + 1]);
  }
  while (sum > 0xFFFF) sum = (sum & 0xFFFF) + (sum >> 16U);
  return static_cast<std::uint16_t>(~sum);
}

/// ARP over Ethernet and IPv4 from `sender` about `target`, to everybody.
base::Bytes arp_frame(const HardwareAddress& hardware, ArpForm form, base::ByteView sender,
                      base::ByteView target) {
  base::Bytes frame;
  append_repeated(frame, 6, 0xFF);
  base::append_bytes(frame, hardware);
  base::append_big_endian(frame, ether_type_arp);
  base::append_big_endian(frame, std::uint16_t{1});       // Ethernet
  base::append_big_endian(frame, std::uint16_t{0x0800});  // IPv4
  append_byte(frame, 6);
  append_byte(frame, 4);
  base::append_big_endian(frame, static_cast<std::uint16_t>(form));
  base::append_bytes(frame, hardware);
  base::append_bytes(frame, sender);
  append_repeated(frame, 6, form == ArpForm::request ? 0 : 0xFF);
  base::append_bytes(frame, target);
  return frame;
}

/// A neighbour discovery message over Ethernet to a multicast group.
base::Bytes icmpv6_frame(const HardwareAddress& hardware, base::ByteView source, base::ByteView group,
                         std::uint8_t type, base::ByteView body) {
  base::Bytes message;
  append_byte(message, type);
  append_byte(message, 0);
  base::append_big_endian(message, std::uint16_t{0});  // checksum, below
  base::append_bytes(message, body);

  base::Bytes pseudo_header(source.begin(), source.end());
  base::append_bytes(pseudo_header, group);
  base::append_big_endian(pseudo_header, static_cast<std::uint32_t>(message.size()));
  base::append_big_endian(pseudo_header, std::uint32_t{next_header_icmpv6});
  base::append_bytes(pseudo_header, message);
  base::store_big_endian(message.data() + 2, checksum(pseudo_header));

  base::Bytes frame;
  base::append_big_endian(frame, std::uint16_t{0x3333});
  base::append_bytes(frame, group.last(4));
  base::append_bytes(frame, hardware);
  base::append_big_endian(frame, ether_type_ipv6);
  base::append_big_endian(frame, std::uint32_t{0x6000'0000});
  base::append_big_endian(frame, static_cast<std::uint16_t>(message.size()));
  append_byte(frame, next_header_icmpv6);
  append_byte(frame, 255);  // neighbours drop any other hop limit
  base::append_bytes(frame, source);
  base::append_bytes(frame, group);
  base::append_bytes(frame, message);
  return frame;
}

}  // namespace

Result<Address> parse_address(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::string host(text.substr(0, slash));
  Address address;
  if (::inet_pton(AF_INET, host.c_str(), address.bytes.data()) == 1) {
    address.family = Family::ipv4;
  } else if (::inet_pton(AF_INET6, host.c_str(), address.bytes.data()) == 1) {
    address.family = Family::ipv6;
  } else {
    return bad(text, "neither an IPv4 nor an IPv6 address");
  }
  if (!usable(address)) return bad(text, "not an address that one host can have");
  const auto prefix_max = static_cast<std::uint8_t>(address.size() * 8);
  address.prefix = prefix_max;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), address.prefix);
    if (error != std::errc() || end != digits.data() + digits.size() || address.prefix > prefix_max) {
      return bad(text, "bad prefix length");
    }
  }
  return address;
}

std::string to_string(const Address& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(address.family == Family::ipv4 ? AF_INET : AF_INET6, address.bytes.data(), text.data(),
              text.size());
  return std::string(text.data()) + "/" + std::to_string(address.prefix);
}

base::Bytes gratuitous_arp(const Address& address, const HardwareAddress& hardware, ArpForm form) {
  return arp_frame(hardware, form, address.view(), address.view());
}

base::Bytes neighbour_advertisement(const Address& address, const HardwareAddress& hardware) {
  base::Bytes body;
  base::append_big_endian(body, std::uint32_t{0x2000'0000});  // override
  base::append_bytes(body, address.view());
  append_byte(body, 2);  // option: target's link-layer address
  append_byte(body, 1);  // in units of 8 bytes
  base::append_bytes(body, hardware);

  base::Bytes all_nodes;  // ff02::1
  append_byte(all_nodes, 0xFF);
  append_byte(all_nodes, 0x02);
  append_repeated(all_nodes, 13, 0);
  append_byte(all_nodes, 1);
  return icmpv6_frame(hardware, address.view(), all_nodes, type_advertisement, body);
}

base::Bytes address_probe(const Address& address, const HardwareAddress& hardware) {
  base::Bytes nobody;
  append_repeated(nobody, address.size(), 0);
  if (address.family == Family::ipv4) return arp_frame(hardware, ArpForm::request, nobody, address.view());
  base::Bytes body;
  base::append_big_endian(body, std::uint32_t{0});
  base::append_bytes(body, address.view());
  // The solicited-node group ff02::1:ff00:0/104, with the last three bytes of the address.
  base::Bytes group;
  append_byte(group, 0xFF);
  append_byte(group, 0x02);
  append_repeated(group, 9, 0);
  append_byte(group, 1);
  append_byte(group, 0xFF);
  base::append_bytes(group, address.view().last(3));
  return icmpv6_frame(hardware, nobody, group, type_solicitation, body);
}

}  // namespace litecluster::vip
