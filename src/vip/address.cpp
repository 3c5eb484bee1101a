#include "vip/address.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace litecluster::vip {

namespace {

constexpr std::uint16_t ether_type_arp = 0x0806;
constexpr std::uint16_t ether_type_ipv6 = 0x86DD;
constexpr std::uint8_t next_header_icmpv6 = 58;
constexpr std::uint16_t advertisement_size = 32;

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
  base::append_bytes(frame, address.view());
  if (form == ArpForm::request) {
    append_repeated(frame, 6, 0);
  } else {
    append_repeated(frame, 6, 0xFF);
  }
  base::append_bytes(frame, address.view());
  return frame;
}

base::Bytes neighbour_advertisement(const Address& address, const HardwareAddress& hardware) {
  base::Bytes all_nodes;  // ff02::1
  append_byte(all_nodes, 0xFF);
  append_byte(all_nodes, 0x02);
  append_repeated(all_nodes, 13, 0);
  append_byte(all_nodes, 1);

  base::Bytes message;
  append_byte(message, 136);
  append_byte(message, 0);
  base::append_big_endian(message, std::uint16_t{0});            // checksum, below
  base::append_big_endian(message, std::uint32_t{0x2000'0000});  // override
  base::append_bytes(message, address.view());
  append_byte(message, 2);  // option: target's link-layer address
  append_byte(message, 1);  // in units of 8 bytes
  base::append_bytes(message, hardware);

  base::Bytes pseudo_header(address.view().begin(), address.view().end());
  base::append_bytes(pseudo_header, all_nodes);
  base::append_big_endian(pseudo_header, std::uint32_t{advertisement_size});
  base::append_big_endian(pseudo_header, std::uint32_t{next_header_icmpv6});
  base::append_bytes(pseudo_header, message);
  base::store_big_endian(message.data() + 2, checksum(pseudo_header));

  base::Bytes frame;
  base::append_big_endian(frame, std::uint16_t{0x3333});
  base::append_big_endian(frame, std::uint32_t{1});
  base::append_bytes(frame, hardware);
  base::append_big_endian(frame, ether_type_ipv6);
  base::append_big_endian(frame, std::uint32_t{0x6000'0000});
  base::append_big_endian(frame, advertisement_size);
  append_byte(frame, next_header_icmpv6);
  append_byte(frame, 255);  // neighbours drop any other hop limit
  base::append_bytes(frame, address.view());
  base::append_bytes(frame, all_nodes);
  base::append_bytes(frame, message);
  return frame;
}

}  // namespace litecluster::vip
