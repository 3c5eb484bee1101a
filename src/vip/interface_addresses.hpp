// The addresses of a network interface, by rtnetlink (rtnetlink(7)). Each call takes a socket of its own and
// waits for the kernel's answer; none allocates. Needs CAP_NET_ADMIN to change anything.
#pragma once

#include <optional>
#include <string>

#include <litecluster/error.hpp>

#include "vip/address.hpp"

namespace litecluster::vip {

/// Succeeds when it is there already. Errors: not_found (no such interface), permission_denied, io.
[[nodiscard]] Status add_address(const std::string& interface, const Address& address);

/// The prefix with which exactly this address lies on the interface; nothing when it does not.
[[nodiscard]] Result<std::optional<std::uint8_t>> find_address(const std::string& interface,
                                                               const Address& address);

/// Removes it, under whatever prefix it is there; succeeds when it is not.
[[nodiscard]] Status remove_address(const std::string& interface, const Address& address);

/// Sends one round of announcements; nothing on interfaces without neighbours (loopback, tunnels).
[[nodiscard]] Status announce_address(const std::string& interface, const Address& address);

}  // namespace litecluster::vip
