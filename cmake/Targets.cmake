# litecluster_add_layer(NAME SOURCES files... [USES layers...] [LIBRARIES targets...])
# One folder under src/ = one layer = one static library litecluster_NAME. USES names the layers above it
# that it may include; scripts/check-layers verifies the includes themselves.
function(litecluster_add_layer name)
  cmake_parse_arguments(PARSE_ARGV 1 layer "" "" "SOURCES;USES;LIBRARIES")
  set(target litecluster_${name})
  add_library(${target} STATIC ${layer_SOURCES})
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(${target} PRIVATE litecluster_options)
  foreach(used IN LISTS layer_USES)
    target_link_libraries(${target} PUBLIC litecluster_${used})
  endforeach()
  target_link_libraries(${target} PUBLIC ${layer_LIBRARIES})
  target_precompile_headers(${target} REUSE_FROM litecluster_layer_headers)
  set_property(GLOBAL APPEND PROPERTY LITECLUSTER_LAYER_TARGETS ${target})
endfunction()

# litecluster_add_test(NAME LABEL unit|integration|system LINK targets... SOURCES files... [TIMEOUT seconds])
# Unit tests run as one process per program, the others one process per case, so that they run in parallel.
function(litecluster_add_test name)
  cmake_parse_arguments(PARSE_ARGV 1 test "" "LABEL;TIMEOUT" "SOURCES;LINK")
  if(NOT test_TIMEOUT)
    set(test_TIMEOUT 120)
  endif()
  add_executable(${name} ${test_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${name} PRIVATE ${test_LINK} litecluster_options GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE
    LITECLUSTER_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data"
    LITECLUSTER_BINARY_DIR="${PROJECT_BINARY_DIR}"
    LITECLUSTER_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  if(NOT test_LABEL STREQUAL "sim")  # which has to be fast, and is three programs
    set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${name} PRIVATE $<$<CONFIG:Debug>:-O0>)
    target_precompile_headers(${name} REUSE_FROM litecluster_test_headers)
  endif()
  if(test_LABEL STREQUAL "unit")
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES LABELS unit TIMEOUT ${test_TIMEOUT})
  else()
    gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST
      PROPERTIES LABELS ${test_LABEL} TIMEOUT ${test_TIMEOUT})
  endif()
endfunction()

# litecluster_add_fuzzer(NAME SOURCES files...): corpus in fuzz/corpus/NAME.
function(litecluster_add_fuzzer name)
  cmake_parse_arguments(PARSE_ARGV 1 fuzzer "" "" "SOURCES")
  add_executable(${name} ${fuzzer_SOURCES})
  target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_libraries(${name} PRIVATE litecluster_parsers litecluster_options)
  if(NOT TARGET fuzzers)
    add_custom_target(fuzzers)
  endif()
  add_dependencies(fuzzers ${name})
endfunction()
