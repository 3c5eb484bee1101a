// Messages between guard and agent (guard.hpp), one per packet.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include <litecluster/error.hpp>

#include "base/file_descriptor.hpp"

namespace litecluster::backend {

enum class GuardVerb : std::uint32_t {
  // From the agent.
  arm = 1,
  disarm,
  start,   ///< with three descriptors: spec, output, error output
  signal,  ///< number: signal
  // From the guard.
  started,
  failed,  ///< number: errno; 0: refused
  exited,  ///< number: wait status
  fenced,
};

struct GuardMessage {
  GuardVerb verb = GuardVerb::arm;
  std::uint32_t reserved = 0;
  std::int64_t number = 0;
};
static_assert(sizeof(GuardMessage) == 16);

using GuardDescriptors = std::array<base::FileDescriptor, 3>;

/// Sends one message, with the descriptors of `start` (nullptr: none). Does not block: a full socket is an
/// error.
[[nodiscard]] Status send_message(int socket, const GuardMessage& message,
                                  const std::array<int, 3>* descriptors);
/// Receives one message; nullopt at the end of the connection or on a malformed packet. `flags` as
/// recvmsg(2).
[[nodiscard]] std::optional<GuardMessage> receive_message(int socket, GuardDescriptors& descriptors,
                                                          int flags);

}  // namespace litecluster::backend
