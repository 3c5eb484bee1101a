// How far a standby is behind.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace litecluster {

/// Both are unset while nobody can know: before the log was read, and while NATS cannot be reached.
struct Lag {
  /// TXIDs in the log that are not applied.
  std::optional<std::uint64_t> txids;
  /// Since the oldest object that is not applied was first seen, by this node's own clock; 0 when all are.
  std::optional<std::chrono::nanoseconds> time;

  friend bool operator==(const Lag&, const Lag&) = default;
};

}  // namespace litecluster
