// The text form of an object's time: Go's RFC3339Nano in UTC, which is RFC 3339 with the trailing zeros of
// the fraction left out ("2026-11-22T20:23:26.43Z", "2026-11-22T20:23:26Z"). Litestream writes it into the
// object header Litestream-Timestamp and decides restores and retention by it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.hpp"

namespace litecluster::log {

/// `time` lies in the years 0 to 9999.
[[nodiscard]] std::string format_timestamp(base::WallTime time);

/// RFC 3339 with any UTC offset and any number of fraction digits; what is finer than a millisecond is cut
/// off (towards the past). Nothing when the text is not a valid time.
[[nodiscard]] std::optional<base::WallTime> parse_timestamp(std::string_view text);

}  // namespace litecluster::log
