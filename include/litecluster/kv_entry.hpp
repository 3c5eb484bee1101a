// One entry of a KV bucket, as read or as delivered to a watcher.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <litecluster/types.hpp>

namespace litecluster {

/// What the change behind an entry was.
enum class KvOperation {
  put,
  remove,  ///< deleted; older values stay in the history
  purge,   ///< deleted together with the history
};

/// "put", "delete" or "purge".
[[nodiscard]] std::string_view to_string(KvOperation operation);

struct KvEntry {
  std::string key;
  /// Any bytes. Empty after remove and purge.
  std::string value;
  /// Grows with every change in the whole bucket, not only of this key.
  Revision revision;
  KvOperation operation = KvOperation::put;
  /// The server's wall clock when it stored the change. For people; decides nothing.
  std::chrono::sys_time<std::chrono::nanoseconds> time{};

  friend bool operator==(const KvEntry&, const KvEntry&) = default;
};

}  // namespace litecluster
