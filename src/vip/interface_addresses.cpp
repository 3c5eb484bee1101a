#include "vip/interface_addresses.hpp"

#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/file.hpp"
#include "base/file_descriptor.hpp"

namespace litecluster::vip {

namespace {

constexpr std::size_t answer_size_max = 32 * 1024;

std::unexpected<Error> failed(int error_number, const char* operation, const std::string& interface,
                              const Address& address) {
  const ErrorCode code =
      error_number == ENODEV ? ErrorCode::not_found : base::errno_error(error_number, operation, {}).code();
  std::string reason = std::strerror(error_number);
  if (code == ErrorCode::permission_denied) reason += "; the process needs CAP_NET_ADMIN and CAP_NET_RAW";
  return failure(code, operation, to_string(address) + " on " + interface, std::move(reason));
}

unsigned char family_of(const Address& address) {
  return address.family == Family::ipv4 ? AF_INET : AF_INET6;
}

/// One request with room for its attributes.
struct Request {
  nlmsghdr header{};
  ifaddrmsg message{};
  std::array<std::byte, 64> attributes{};

  void add(unsigned short type, base::ByteView value) {
    const std::size_t offset = header.nlmsg_len - NLMSG_LENGTH(sizeof(ifaddrmsg));
    const rtattr attribute{.rta_len = static_cast<unsigned short>(RTA_LENGTH(value.size())),
                           .rta_type = type};
    std::memcpy(attributes.data() + offset, &attribute, sizeof attribute);
    std::memcpy(attributes.data() + offset + RTA_LENGTH(0), value.data(), value.size());
    header.nlmsg_len += static_cast<std::uint32_t>(RTA_SPACE(value.size()));
  }
};

base::FileDescriptor open_netlink() {
  base::FileDescriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  // The kernel answers at once; this is for the day on which it does not.
  const timeval timeout{.tv_sec = 2, .tv_usec = 0};
  if (socket) ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  return socket;
}

Request address_request(unsigned short type, unsigned short flags, unsigned index, const Address& address,
                        std::uint8_t prefix) {
  Request request;
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof(ifaddrmsg));
  request.header.nlmsg_type = type;
  request.header.nlmsg_flags = static_cast<unsigned short>(NLM_F_REQUEST | NLM_F_ACK | flags);
  request.message.ifa_family = family_of(address);
  request.message.ifa_prefixlen = prefix;
  request.message.ifa_index = index;
  // Without duplicate address detection: it would keep the address unusable for a second, and who had it
  // before has been fenced.
  if (address.family == Family::ipv6) request.message.ifa_flags = IFA_F_NODAD;
  request.add(IFA_LOCAL, address.view());
  request.add(IFA_ADDRESS, address.view());
  return request;
}

/// Sends the request and returns the kernel's errno; 0: done.
int transact(const Request& request) {
  const base::FileDescriptor socket = open_netlink();
  if (!socket) return errno;
  if (::send(socket.get(), &request, request.header.nlmsg_len, 0) < 0) return errno;
  std::array<std::byte, 1024> answer{};
  const ssize_t size = ::recv(socket.get(), answer.data(), answer.size(), 0);
  if (size < 0) return errno;
  if (static_cast<std::size_t>(size) < NLMSG_LENGTH(sizeof(nlmsgerr))) return EPROTO;
  nlmsghdr header{};
  std::memcpy(&header, answer.data(), sizeof header);
  if (header.nlmsg_type != NLMSG_ERROR) return EPROTO;
  nlmsgerr error{};
  std::memcpy(&error, answer.data() + NLMSG_HDRLEN, sizeof error);
  return -error.error;
}

/// The prefix when the message describes the address.
std::optional<std::uint8_t> match(base::ByteView message, unsigned index, const Address& address) {
  ifaddrmsg body{};
  if (message.size() < sizeof body) return std::nullopt;
  std::memcpy(&body, message.data(), sizeof body);
  if (body.ifa_index != index || body.ifa_family != family_of(address)) return std::nullopt;
  message = message.subspan(std::min<std::size_t>(NLMSG_ALIGN(sizeof body), message.size()));
  // IPv6 has IFA_ADDRESS alone; on IPv4 links IFA_LOCAL is the one that counts.
  const unsigned short wanted = address.family == Family::ipv4 ? IFA_LOCAL : IFA_ADDRESS;
  while (message.size() >= sizeof(rtattr)) {
    rtattr attribute{};
    std::memcpy(&attribute, message.data(), sizeof attribute);
    if (attribute.rta_len < RTA_LENGTH(0) || attribute.rta_len > message.size()) return std::nullopt;
    const base::ByteView value = message.subspan(RTA_LENGTH(0), attribute.rta_len - RTA_LENGTH(0));
    if (attribute.rta_type == wanted && value.size() == address.size() &&
        std::memcmp(value.data(), address.bytes.data(), value.size()) == 0) {
      return body.ifa_prefixlen;
    }
    message = message.subspan(std::min<std::size_t>(RTA_ALIGN(attribute.rta_len), message.size()));
  }
  return std::nullopt;
}

/// Walks over one datagram of a dump; returns the kernel's errno, 0 for more to come, -1 for the end.
int walk_dump(base::ByteView datagram, unsigned index, const Address& address,
              std::optional<std::uint8_t>& found) {
  while (datagram.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header{};
    std::memcpy(&header, datagram.data(), sizeof header);
    if (header.nlmsg_len < NLMSG_HDRLEN || header.nlmsg_len > datagram.size()) return EPROTO;
    if (header.nlmsg_type == NLMSG_DONE) return -1;
    if (header.nlmsg_type == NLMSG_ERROR) return EPROTO;
    if (header.nlmsg_type == RTM_NEWADDR && !found) {
      found = match(datagram.subspan(NLMSG_HDRLEN, header.nlmsg_len - NLMSG_HDRLEN), index, address);
    }
    datagram = datagram.subspan(std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), datagram.size()));
  }
  return 0;
}

/// errno, or 0 with what was found.
int look_for(unsigned index, const Address& address, std::optional<std::uint8_t>& found) {
  const base::FileDescriptor socket = open_netlink();
  if (!socket) return errno;
  Request request;
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof(ifaddrmsg));
  request.header.nlmsg_type = RTM_GETADDR;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.message.ifa_family = family_of(address);
  if (::send(socket.get(), &request, request.header.nlmsg_len, 0) < 0) return errno;
  std::array<std::byte, answer_size_max> datagram;  // NOLINT: filled by recv
  while (true) {
    const ssize_t size = ::recv(socket.get(), datagram.data(), datagram.size(), 0);
    if (size < 0) return errno;
    const int outcome = walk_dump({datagram.data(), static_cast<std::size_t>(size)}, index, address, found);
    if (outcome != 0) return outcome < 0 ? 0 : outcome;
  }
}

}  // namespace

Status add_address(const std::string& interface, const Address& address) {
  const unsigned index = ::if_nametoindex(interface.c_str());
  if (index == 0) return failed(ENODEV, "add address", interface, address);
  const int error =
      transact(address_request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, address, address.prefix));
  if (error != 0 && error != EEXIST) return failed(error, "add address", interface, address);
  return {};
}

Result<std::optional<std::uint8_t>> find_address(const std::string& interface, const Address& address) {
  const unsigned index = ::if_nametoindex(interface.c_str());
  if (index == 0) return failed(ENODEV, "look for address", interface, address);
  std::optional<std::uint8_t> found;
  if (const int error = look_for(index, address, found); error != 0) {
    return failed(error, "look for address", interface, address);
  }
  return found;
}

Status remove_address(const std::string& interface, const Address& address) {
  const unsigned index = ::if_nametoindex(interface.c_str());
  if (index == 0) return {};
  std::optional<std::uint8_t> prefix;
  if (const int error = look_for(index, address, prefix); error != 0) {
    return failed(error, "look for address", interface, address);
  }
  if (!prefix) return {};
  const int error = transact(address_request(RTM_DELADDR, 0, index, address, *prefix));
  if (error != 0 && error != EADDRNOTAVAIL) return failed(error, "remove address", interface, address);
  return {};
}

Status announce_address(const std::string& interface, const Address& address) {
  const base::FileDescriptor socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!socket) return failed(errno, "announce address", interface, address);
  ifreq request{};
  interface.copy(request.ifr_name, sizeof request.ifr_name - 1);
  if (::ioctl(socket.get(), SIOCGIFHWADDR, &request) != 0) {
    return failed(errno, "announce address", interface, address);
  }
  if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER) return {};
  HardwareAddress hardware{};
  std::memcpy(hardware.data(), request.ifr_hwaddr.sa_data, hardware.size());

  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
  const auto send = [&](const base::Bytes& frame) {
    return ::sendto(socket.get(), frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to),
                    sizeof to) == static_cast<ssize_t>(frame.size());
  };
  const bool sent = address.family == Family::ipv4
                        ? send(gratuitous_arp(address, hardware, ArpForm::request)) &&
                              send(gratuitous_arp(address, hardware, ArpForm::reply))
                        : send(neighbour_advertisement(address, hardware));
  if (!sent) return failed(errno, "announce address", interface, address);
  return {};
}

}  // namespace litecluster::vip
