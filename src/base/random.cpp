#include "base/random.hpp"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>

#include "base/hex.hpp"

namespace litecluster::base {

std::uint64_t random_u64() {
  std::uint64_t value = 0;
  // Up to 256 bytes come whole once the kernel's pool is seeded; before that an interrupt may cut in.
  while (::getrandom(&value, sizeof(value), 0) != static_cast<ssize_t>(sizeof(value))) {
    if (errno != EINTR) std::abort();  // No source of randomness: no unique name can be promised.
  }
  return value;
}

std::string random_hex(std::size_t digits) {
  std::string text;
  while (text.size() < digits) text += to_hex16(random_u64());
  text.resize(digits);
  return text;
}

}  // namespace litecluster::base
