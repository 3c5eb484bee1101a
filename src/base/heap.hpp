// The allocator's memory.
#pragma once

#include <cstdint>

namespace litecluster::base {

/// Gives free memory that the allocator keeps back to the system, as far as the C library can. Takes a
/// millisecond or so, during which allocations of other threads wait: for quiet moments. Thread-safe.
void release_free_memory();

/// Whoever has used less since the last time need not bother.
constexpr std::uint64_t bytes_worth_releasing = std::uint64_t{1} << 20U;

/// Lets all threads allocate from one heap. Otherwise each thread gets one of its own, and the free end of
/// those is kept whatever release_free_memory() does. For the start of a program that runs for long; costs
/// nothing measurable where threads allocate rarely and much at once, as ours do.
void use_one_heap();

}  // namespace litecluster::base
