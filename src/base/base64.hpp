// Base64 with the URL alphabet and padding: names and digests of the NATS object store.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"

namespace litecluster::base {

[[nodiscard]] std::string to_base64url(ByteView bytes);
/// Strict: the padding has to be there, and nothing outside of the alphabet is accepted.
[[nodiscard]] std::optional<Bytes> parse_base64url(std::string_view text);

}  // namespace litecluster::base
