// CRC-64/GO-ISO: polynomial 0x1B, reflected, initial value and final XOR all ones.
// Check value of "123456789": B90956C775A41001. Empty input: 0.
#pragma once

#include <cstdint>

#include "base/bytes.hpp"

namespace litecluster::ltx {

/// The CRC of all bytes so far, given the CRC `previous` of those before `bytes` (0 at the start).
/// Uses carry-less multiplication where the processor has it. Pure; thread-safe.
[[nodiscard]] std::uint64_t crc64(base::ByteView bytes, std::uint64_t previous = 0);

/// The same by table look-up, on any processor.
[[nodiscard]] std::uint64_t crc64_portable(base::ByteView bytes, std::uint64_t previous = 0);

/// The same by 128-bit carry-less multiplication, also where crc64() would use wider registers. Falls back to
/// the tables on a processor without it.
[[nodiscard]] std::uint64_t crc64_clmul(base::ByteView bytes, std::uint64_t previous = 0);

}  // namespace litecluster::ltx
