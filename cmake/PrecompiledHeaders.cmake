# What most sources include from outside of the project, compiled once for the layers and once for the tests: a
# third of a build from nothing. None of our own headers is in it, so that a change to one rebuilds only its users.
# Sources include what they use all the same: scripts/tidy reads them without.
set(litecluster_common_headers
  <algorithm> <array> <atomic> <charconv> <chrono> <condition_variable> <cstddef> <cstdint> <cstdlib> <deque> <expected>
  <filesystem> <fstream> <functional> <map> <memory> <mutex> <optional> <set> <span> <string> <string_view> <thread>
  <unordered_map> <utility> <variant> <vector> <fmt/format.h>)

# litecluster_add_precompiled(NAME LIBRARIES targets... HEADERS headers...): for REUSE_FROM. Its options have to be
# those of the targets that use it; the compiler refuses it otherwise (-Winvalid-pch).
function(litecluster_add_precompiled name)
  cmake_parse_arguments(PARSE_ARGV 1 pch "" "" "LIBRARIES;HEADERS")
  add_library(${name} OBJECT ${PROJECT_SOURCE_DIR}/cmake/precompiled.cpp)
  target_link_libraries(${name} PRIVATE litecluster_options Threads::Threads fmt::fmt spdlog::spdlog ${pch_LIBRARIES})
  target_precompile_headers(${name} PRIVATE ${pch_HEADERS})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")  # or ccache takes every build of it for a new one
    target_compile_options(${name} PRIVATE "SHELL:-Xclang -fno-pch-timestamp")
  endif()
endfunction()
