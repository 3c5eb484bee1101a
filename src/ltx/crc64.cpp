// Two ways to the same number.
//
// Portable: slicing-by-8, i.e. eight table look-ups for each eight bytes.
//
// Carry-less: the bytes are a polynomial over GF(2) of which the CRC is the remainder. A lane of 128 bits
// that lies D bits before another may be multiplied by x^D mod P and added to it without changing the
// remainder, and two carry-less multiplications do that ("folding"). Lanes are folded over the whole input
// until one is left, whose remainder the tables compute. All is in reflected bit order, in which the product
// of two 64-bit operands comes out multiplied by x; hence the exponents D + 63 and D - 1 below.
#include "ltx/crc64.hpp"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#define LITECLUSTER_CRC64_X86 1
#endif

namespace litecluster::ltx {
namespace {

constexpr std::uint64_t polynomial_reflected = 0xD800'0000'0000'0000ULL;
constexpr std::size_t slices = 8;

using Tables = std::array<std::array<std::uint64_t, 256>, slices>;

constexpr Tables make_tables() {
  Tables tables{};
  for (std::uint64_t byte = 0; byte < 256; ++byte) {
    std::uint64_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? polynomial_reflected : 0);
    tables[0][byte] = crc;
  }
  for (std::size_t slice = 1; slice < slices; ++slice) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint64_t before = tables[slice - 1][byte];
      tables[slice][byte] = (before >> 8U) ^ tables[0][before & 0xFFU];
    }
  }
  return tables;
}

constexpr Tables tables = make_tables();

/// Works on the register, i.e. without the initial and final inversion.
std::uint64_t update_by_tables(std::uint64_t crc, base::ByteView bytes) {
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; left -= 8, at += 8) {
    const std::uint64_t word = crc ^ base::load_little_endian<std::uint64_t>(at);
    crc = tables[7][word & 0xFFU] ^ tables[6][(word >> 8U) & 0xFFU] ^ tables[5][(word >> 16U) & 0xFFU] ^
          tables[4][(word >> 24U) & 0xFFU] ^ tables[3][(word >> 32U) & 0xFFU] ^
          tables[2][(word >> 40U) & 0xFFU] ^ tables[1][(word >> 48U) & 0xFFU] ^ tables[0][word >> 56U];
  }
  for (; left > 0; --left, ++at) {
    crc = (crc >> 8U) ^ tables[0][(crc ^ std::to_integer<std::uint64_t>(*at)) & 0xFFU];
  }
  return crc;
}

#if defined(LITECLUSTER_CRC64_X86)

/// x^exponent mod P with its bits reflected.
constexpr std::uint64_t power_reflected(unsigned exponent) {
  std::uint64_t value = 1;
  for (unsigned step = 0; step < exponent; ++step) {
    value = (value << 1U) ^ ((value >> 63U) != 0 ? 0x1BU : 0U);
  }
  std::uint64_t reflected = 0;
  for (unsigned bit = 0; bit < 64; ++bit) reflected |= ((value >> bit) & 1U) << (63U - bit);
  return reflected;
}

/// What a lane is multiplied with to move it `distance` bits on: its first word by `low`, its second by
/// `high`.
struct Fold {
  std::uint64_t low;
  std::uint64_t high;
};
constexpr Fold fold_by(unsigned distance) {
  return {power_reflected(distance + 63), power_reflected(distance - 1)};
}
constexpr Fold fold_128 = fold_by(128);
constexpr Fold fold_512 = fold_by(512);
constexpr Fold fold_1024 = fold_by(1024);
constexpr Fold fold_2048 = fold_by(2048);

// Macros of types carry the attribute: an inlined helper has to have the same target as its caller.
#define LITECLUSTER_TARGET_CLMUL __attribute__((target("pclmul,sse4.1")))
#define LITECLUSTER_TARGET_WIDE __attribute__((target("pclmul,sse4.1,avx512f,vpclmulqdq")))

LITECLUSTER_TARGET_CLMUL inline __m128i load_lane(const std::byte* at) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}

LITECLUSTER_TARGET_CLMUL inline __m128i constant(Fold fold) {
  return _mm_set_epi64x(static_cast<long long>(fold.high), static_cast<long long>(fold.low));
}

/// `lane` moved on by the distance of `factors` and added to `next`.
LITECLUSTER_TARGET_CLMUL inline __m128i folded(__m128i lane, __m128i factors, __m128i next) {
  const __m128i first = _mm_clmulepi64_si128(lane, factors, 0x00);
  const __m128i second = _mm_clmulepi64_si128(lane, factors, 0x11);
  return _mm_xor_si128(_mm_xor_si128(first, second), next);
}

/// The register after the lane, then the rest of the bytes that are whole lanes, then the tail.
LITECLUSTER_TARGET_CLMUL std::uint64_t finish_lane(__m128i lane, const std::byte* at, std::size_t left) {
  const __m128i factors = constant(fold_128);
  for (; left >= 16; left -= 16, at += 16) lane = folded(lane, factors, load_lane(at));
  std::array<std::byte, 16> last;
  _mm_storeu_si128(reinterpret_cast<__m128i*>(last.data()), lane);
  return update_by_tables(update_by_tables(0, last), {at, left});
}

/// At least 64 bytes.
LITECLUSTER_TARGET_CLMUL std::uint64_t update_by_clmul(std::uint64_t crc, base::ByteView bytes) {
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  __m128i a = _mm_xor_si128(load_lane(at), _mm_cvtsi64_si128(static_cast<long long>(crc)));
  __m128i b = load_lane(at + 16);
  __m128i c = load_lane(at + 32);
  __m128i d = load_lane(at + 48);
  at += 64;
  left -= 64;
  const __m128i factors = constant(fold_512);
  for (; left >= 64; left -= 64, at += 64) {
    a = folded(a, factors, load_lane(at));
    b = folded(b, factors, load_lane(at + 16));
    c = folded(c, factors, load_lane(at + 32));
    d = folded(d, factors, load_lane(at + 48));
  }
  const __m128i near = constant(fold_128);
  return finish_lane(folded(folded(folded(a, near, b), near, c), near, d), at, left);
}

/// The same from four lanes that lie one behind the other. A function of its own, so that it runs on SSE
/// registers.
[[gnu::noinline]] LITECLUSTER_TARGET_CLMUL std::uint64_t finish_four(const std::array<std::byte, 64>& four,
                                                                     const std::byte* at, std::size_t left) {
  const __m128i near = constant(fold_128);
  __m128i lane = load_lane(four.data());
  for (std::size_t offset = 16; offset < four.size(); offset += 16) {
    lane = folded(lane, near, load_lane(four.data() + offset));
  }
  return finish_lane(lane, at, left);
}

LITECLUSTER_TARGET_WIDE inline __m512i load_wide(const std::byte* at) {
  return _mm512_loadu_si512(at);
}

LITECLUSTER_TARGET_WIDE inline __m512i folded_wide(__m512i lanes, __m512i factors, __m512i next) {
  const __m512i first = _mm512_clmulepi64_epi128(lanes, factors, 0x00);
  const __m512i second = _mm512_clmulepi64_epi128(lanes, factors, 0x11);
  return _mm512_ternarylogic_epi64(first, second, next, 0x96);  // exclusive or of the three
}

LITECLUSTER_TARGET_WIDE inline __m512i wide_constant(Fold fold) {
  const auto high = static_cast<long long>(fold.high);
  const auto low = static_cast<long long>(fold.low);
  return _mm512_set4_epi64(high, low, high, low);
}

/// At least 256 bytes: four vectors of four lanes each.
LITECLUSTER_TARGET_WIDE std::uint64_t update_by_wide_clmul(std::uint64_t crc, base::ByteView bytes) {
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  const __m512i start = _mm512_zextsi128_si512(_mm_cvtsi64_si128(static_cast<long long>(crc)));
  __m512i a = _mm512_xor_si512(load_wide(at), start);
  __m512i b = load_wide(at + 64);
  __m512i c = load_wide(at + 128);
  __m512i d = load_wide(at + 192);
  at += 256;
  left -= 256;
  const __m512i factors = wide_constant(fold_2048);
  for (; left >= 256; left -= 256, at += 256) {
    a = folded_wide(a, factors, load_wide(at));
    b = folded_wide(b, factors, load_wide(at + 64));
    c = folded_wide(c, factors, load_wide(at + 128));
    d = folded_wide(d, factors, load_wide(at + 192));
  }
  const __m512i next = wide_constant(fold_512);
  const __m512i after_next = wide_constant(fold_1024);
  a = folded_wide(a, after_next, c);
  b = folded_wide(b, after_next, d);
  __m512i lanes = folded_wide(a, next, b);
  for (; left >= 64; left -= 64, at += 64) lanes = folded_wide(lanes, next, load_wide(at));
  std::array<std::byte, 64> four;
  _mm512_storeu_si512(four.data(), lanes);
  // Left dirty, the upper halves of the registers would slow down all SSE code from here on, LZ4 first of
  // all.
  _mm256_zeroupper();
  return finish_four(four, at, left);
}

enum class Acceleration { none, clmul, wide_clmul };

Acceleration detect() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("pclmul") || !__builtin_cpu_supports("sse4.1")) return Acceleration::none;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq")) {
    return Acceleration::wide_clmul;
  }
  return Acceleration::clmul;
}

Acceleration acceleration() {
  static const Acceleration detected = detect();
  return detected;
}

#endif

}  // namespace

std::uint64_t crc64_portable(base::ByteView bytes, std::uint64_t previous) {
  return ~update_by_tables(~previous, bytes);
}

#if defined(LITECLUSTER_CRC64_X86)

std::uint64_t crc64_clmul(base::ByteView bytes, std::uint64_t previous) {
  if (bytes.size() < 64 || acceleration() == Acceleration::none) return crc64_portable(bytes, previous);
  return ~update_by_clmul(~previous, bytes);
}

std::uint64_t crc64(base::ByteView bytes, std::uint64_t previous) {
  if (bytes.size() >= 256 && acceleration() == Acceleration::wide_clmul) {
    return ~update_by_wide_clmul(~previous, bytes);
  }
  return crc64_clmul(bytes, previous);
}

#else

std::uint64_t crc64_clmul(base::ByteView bytes, std::uint64_t previous) {
  return crc64_portable(bytes, previous);
}
std::uint64_t crc64(base::ByteView bytes, std::uint64_t previous) {
  return crc64_portable(bytes, previous);
}

#endif

}  // namespace litecluster::ltx
