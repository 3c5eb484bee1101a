# Options of every target of ours, carried by litecluster_options.
add_library(litecluster_options INTERFACE)
target_compile_options(litecluster_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Wold-style-cast
  -Wextra-semi -Woverloaded-virtual -Wcast-align -Wformat=2)
# Every change is built unoptimised in CI, where a warning is an error. With -O3, GCC 12 sees overlaps and impossible
# sizes in std::string's own code (GCC bug 105651), now here and now there: who installs a release must not fail on it.
target_compile_options(litecluster_options INTERFACE
  $<$<OR:$<CXX_COMPILER_ID:Clang>,$<CONFIG:Debug>>:-Werror>
  $<$<AND:$<CXX_COMPILER_ID:GNU>,$<NOT:$<CONFIG:Debug>>>:-Wno-restrict;-Wno-stringop-overflow;-Wno-array-bounds>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(litecluster_options INTERFACE -Wthread-safety -Wimplicit-fallthrough)
endif()
if(LITECLUSTER_FAULT_POINTS)
  target_compile_definitions(litecluster_options INTERFACE LITECLUSTER_FAULT_POINTS=1)
endif()
if(LITECLUSTER_SANITIZERS)
  add_compile_options(-fsanitize=${LITECLUSTER_SANITIZERS} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${LITECLUSTER_SANITIZERS})
endif()
if(LITECLUSTER_COVERAGE)
  # The counters are relocatable so that scripts/coverage can map them to a file (%c): processes that a test kills count, and
  # those that end in _exit() or exec(). Atomic, since what is not counted itself is a difference of counters.
  add_compile_options(-fprofile-instr-generate -fcoverage-mapping -fprofile-update=atomic
                      "SHELL:-mllvm -runtime-counter-relocation")
  add_link_options(-fprofile-instr-generate)
endif()

find_program(LITECLUSTER_CCACHE ccache)
if(LITECLUSTER_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # What ccache has to be told before it works with precompiled headers.
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_SLOPPINESS=pch_defines,time_macros ${LITECLUSTER_CCACHE})
endif()
