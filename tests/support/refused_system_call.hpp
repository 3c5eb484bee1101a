// A kernel or file system that lacks something, played by a filter on this process's system calls.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace litecluster::test {

struct RefusedCall {
  std::uint32_t number;
  std::uint32_t error;
  /// Only calls that have one of these bits in their third argument; 0: every call.
  std::uint32_t third_argument_bits = 0;
};

/// For good, so do it in a child process. False where the kernel has no such filters.
inline bool refuse(const RefusedCall& call) {
  constexpr std::uint32_t third_argument = offsetof(seccomp_data, args) + 2 * sizeof(std::uint64_t);
  const bool every = call.third_argument_bits == 0;
  std::array<sock_filter, 6> filter{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call.number, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, third_argument),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, call.third_argument_bits, 0,
               static_cast<std::uint8_t>(every ? 0 : 1)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | call.error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program{.len = static_cast<unsigned short>(filter.size()), .filter = filter.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace litecluster::test
