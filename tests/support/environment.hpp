// Sizes of tests that have a long version: the same test with a larger count from an environment variable.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace litecluster::test {

/// The number in the environment variable, or `otherwise` when it is not set or no number above 0.
inline std::uint64_t count_from_environment(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  const std::uint64_t count = text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
  return count == 0 ? otherwise : count;
}

}  // namespace litecluster::test
