#include "vip/neighbours.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "base/file.hpp"

namespace litecluster::vip {

namespace {

std::unexpected<Error> failed(int error_number, const char* operation, const std::string& interface) {
  Error error = base::errno_error(error_number, operation, interface);
  if (error.code() != ErrorCode::permission_denied) return std::unexpected(std::move(error));
  return failure(ErrorCode::permission_denied, operation, interface, "the process needs CAP_NET_RAW");
}

bool holds_at(base::ByteView packet, std::size_t offset, base::ByteView wanted) {
  return packet.size() >= offset + wanted.size() &&
         std::memcmp(packet.data() + offset, wanted.data(), wanted.size()) == 0;
}

HardwareAddress hardware_at(base::ByteView packet, std::size_t offset) {
  HardwareAddress hardware{};
  std::memcpy(hardware.data(), packet.data() + offset, hardware.size());
  return hardware;
}

// Any interface of this host: with two of them on one link, Linux answers on both for every address that it
// has.
bool is_ours(const HardwareAddress& hardware) {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return false;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(all, ::freeifaddrs);
  for (const ifaddrs* entry = all; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_PACKET) continue;
    sockaddr_ll link{};
    std::memcpy(&link, entry->ifa_addr, sizeof link);
    if (link.sll_halen == hardware.size() &&
        std::memcmp(link.sll_addr, hardware.data(), hardware.size()) == 0) {
      return true;
    }
  }
  return false;
}

// Neighbour advertisements and nothing else, of one interface.
base::FileDescriptor open_control(const std::string& interface) {
  base::FileDescriptor socket(::socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMPV6));
  if (!socket) return socket;
  icmp6_filter filter{};
  ICMP6_FILTER_SETBLOCKALL(&filter);
  ICMP6_FILTER_SETPASS(ND_NEIGHBOR_ADVERT, &filter);
  const auto name_size = static_cast<socklen_t>(interface.size());
  if (::setsockopt(socket.get(), IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter) != 0 ||
      ::setsockopt(socket.get(), SOL_SOCKET, SO_BINDTODEVICE, interface.c_str(), name_size) != 0) {
    socket.reset();
  }
  return socket;
}

}  // namespace

std::string to_string(const HardwareAddress& hardware) {
  const auto part = [&](std::size_t index) { return std::to_integer<unsigned>(hardware[index]); };
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", part(0), part(1), part(2), part(3), part(4),
                     part(5));
}

Result<Neighbours> Neighbours::listen(const std::string& interface, const Address& address) {
  constexpr const char* operation = "listen to the neighbours on";
  Neighbours neighbours(interface, address);
  neighbours.index_ = static_cast<int>(::if_nametoindex(interface.c_str()));
  if (neighbours.index_ == 0)
    return failure(ErrorCode::not_found, operation, interface, "there is no such interface");
  const int protocol = address.family == Family::ipv4 ? htons(ETH_P_ARP) : 0;
  base::FileDescriptor frames(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
  if (!frames) return failed(errno, operation, interface);
  ifreq request{};
  interface.copy(request.ifr_name, sizeof request.ifr_name - 1);
  if (::ioctl(frames.get(), SIOCGIFHWADDR, &request) != 0) return failed(errno, operation, interface);
  if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER) return neighbours;
  std::memcpy(neighbours.own_.data(), request.ifr_hwaddr.sa_data, neighbours.own_.size());
  sockaddr_ll from{};
  from.sll_family = AF_PACKET;
  from.sll_protocol = static_cast<std::uint16_t>(protocol);
  from.sll_ifindex = neighbours.index_;
  if (::bind(frames.get(), reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0) {
    return failed(errno, operation, interface);
  }
  if (address.family == Family::ipv6) {
    neighbours.control_ = open_control(interface);
    if (!neighbours.control_) return failed(errno, operation, interface);
  }
  neighbours.frames_ = std::move(frames);
  return neighbours;
}

Status Neighbours::ask() const {
  if (!frames_) return {};
  const base::Bytes frame = address_probe(address_, own_);
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = index_;
  if (::sendto(frames_.get(), frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to),
               sizeof to) != static_cast<ssize_t>(frame.size())) {
    return failed(errno, "ask the neighbours on", interface_);
  }
  return {};
}

std::optional<HardwareAddress> Neighbours::claimed_by(base::ByteView packet) const {
  if (address_.family == Family::ipv4) {
    // The sender of any ARP message, request or reply, says that the address is its own.
    if (!holds_at(packet, 28, address_.view())) return std::nullopt;
    return hardware_at(packet, 22);
  }
  // Type, flags, target, and the option with its link-layer address.
  constexpr std::size_t option = 24;
  constexpr std::array link_layer{std::byte{2}, std::byte{1}};
  if (!holds_at(packet, 8, address_.view()) || !holds_at(packet, option, link_layer) ||
      packet.size() < option + 8) {
    return std::nullopt;
  }
  return hardware_at(packet, option + 2);
}

std::optional<HardwareAddress> Neighbours::other_holder() const {
  const int socket = address_.family == Family::ipv4 ? frames_.get() : control_.get();
  std::optional<HardwareAddress> other;
  std::array<std::byte, 2048> packet{};
  while (socket >= 0) {
    const ssize_t size = ::recv(socket, packet.data(), packet.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) break;
    const auto claimed = claimed_by({packet.data(), static_cast<std::size_t>(size)});
    if (claimed && !is_ours(*claimed)) other = claimed;
  }
  return other;
}

}  // namespace litecluster::vip
