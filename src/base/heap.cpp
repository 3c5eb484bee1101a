#include "base/heap.hpp"

#include <cstdlib>  // tells which C library it is

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace litecluster::base {

void release_free_memory() {
#if defined(__GLIBC__)
  ::malloc_trim(0);
#endif
}

void use_one_heap() {
#if defined(__GLIBC__)
  ::mallopt(M_ARENA_MAX, 1);
#endif
}

}  // namespace litecluster::base
