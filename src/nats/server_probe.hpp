// What a server says in the line that it sends first on a connection.
#pragma once

#include <string>
#include <string_view>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "nats/connection.hpp"

namespace litecluster::nats {

/// Connects by TCP to the host and port of the URL and reads the INFO line. Blocks for at most 5 s and the
/// Context's deadline; cancelling is noticed within 50 ms. Errors: unavailable, corrupt (not a NATS server).
[[nodiscard]] Result<ServerInfo> probe_server(const Context& context, std::string_view url);

/// The URL without user, password or token: what messages may say of it.
[[nodiscard]] std::string without_credentials(std::string_view url);

/// Parses "INFO {...}".
[[nodiscard]] Result<ServerInfo> parse_server_info(std::string_view line);

}  // namespace litecluster::nats
