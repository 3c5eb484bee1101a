// Names of buckets and keys, and patterns over keys. Pure.
//
// In a pattern `*` stands for one part and a final `>` for the rest, at least one part. Parts end at `.` or
// `/`; on the wire only `.` separates, so that `config/max-conn` is a single token there. The filter that the
// server gets is therefore broader than the pattern where that holds a `/`, and each key is matched here once
// more.
#pragma once

#include <string>
#include <string_view>

#include <litecluster/error.hpp>

namespace litecluster::nats {

/// Letters, digits, `-`, `_`; not empty.
[[nodiscard]] bool valid_bucket_name(std::string_view name);
/// Letters, digits and `- / _ = .`; no part between dots is empty.
[[nodiscard]] bool valid_key(std::string_view key);
/// A key in which whole parts may be `*`, and the last one `>`.
[[nodiscard]] bool valid_key_pattern(std::string_view pattern);

/// Separators match themselves only: `config/>` matches `config/a` and `config/a.b`, not `config.a`. A part
/// of
/// `*` holds neither separator.
[[nodiscard]] bool matches(std::string_view pattern, std::string_view key);
/// The narrowest subject behind `$KV.<bucket>.` that covers the pattern.
[[nodiscard]] std::string wire_filter(std::string_view pattern);

}  // namespace litecluster::nats
