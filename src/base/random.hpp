// Random names and numbers from the kernel, for incarnations, temporary names and jitter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace litecluster::base {

[[nodiscard]] std::uint64_t random_u64();
/// `digits` lower-case hexadecimal digits.
[[nodiscard]] std::string random_hex(std::size_t digits);

}  // namespace litecluster::base
