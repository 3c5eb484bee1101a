#include "backend/guard_message.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/file.hpp"

namespace litecluster::backend {

namespace {

struct Ancillary {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(3 * sizeof(int))> bytes{};
};

}  // namespace

Status send_message(int socket, const GuardMessage& message, const std::array<int, 3>* descriptors) {
  GuardMessage copy = message;
  iovec part{.iov_base = &copy, .iov_len = sizeof copy};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  Ancillary ancillary;
  if (descriptors != nullptr) {
    header.msg_control = ancillary.bytes.data();
    header.msg_controllen = ancillary.bytes.size();
    cmsghdr* control = CMSG_FIRSTHDR(&header);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(sizeof *descriptors);
    std::memcpy(CMSG_DATA(control), descriptors->data(), sizeof *descriptors);
  }
  ssize_t sent = -1;
  do {
    sent = ::sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return std::unexpected(base::errno_error(errno, "send to guard", {}));
  return {};
}

std::optional<GuardMessage> receive_message(int socket, GuardDescriptors& descriptors, int flags) {
  GuardMessage message;
  iovec part{.iov_base = &message, .iov_len = sizeof message};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  Ancillary ancillary;
  header.msg_control = ancillary.bytes.data();
  header.msg_controllen = ancillary.bytes.size();
  ssize_t received = -1;
  do {
    received = ::recvmsg(socket, &header, flags | MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received != sizeof message) return std::nullopt;
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr;
       control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t index = 0; index < count; ++index) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(control) + index * sizeof(int), sizeof descriptor);
      if (index < descriptors.size()) descriptors[index].reset(descriptor);
    }
  }
  return message;
}

}  // namespace litecluster::backend
