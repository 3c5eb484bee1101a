// The allocator's memory.
#pragma once

namespace litecluster::base {

/// Gives free memory that the allocator keeps back to the system, as far as the C library can. Takes a
/// millisecond or so, during which allocations of other threads wait: for quiet moments. Thread-safe.
void release_free_memory();

}  // namespace litecluster::base
