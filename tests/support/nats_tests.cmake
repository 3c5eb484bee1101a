# litecluster_add_nats_test(NAME ...): as litecluster_add_test() with the label integration, and every test a second
# time against the current nats-server that scripts/optional-partners installs ("current-server." before the name).
# Where it is not installed those are skipped.
set(LITECLUSTER_PARTNERS "$ENV{LITECLUSTER_PARTNERS}" CACHE PATH "Where scripts/optional-partners installs")
if(NOT LITECLUSTER_PARTNERS)
  set(LITECLUSTER_PARTNERS ${PROJECT_SOURCE_DIR}/build/partners)
endif()

function(litecluster_add_nats_test name)
  cmake_parse_arguments(PARSE_ARGV 1 test "" "TIMEOUT" "")
  if(NOT test_TIMEOUT)
    set(test_TIMEOUT 120)
  endif()
  litecluster_add_test(${name} LABEL integration TIMEOUT ${test_TIMEOUT} ${test_UNPARSED_ARGUMENTS})
  target_compile_definitions(${name} PRIVATE LITECLUSTER_PARTNERS="${LITECLUSTER_PARTNERS}")
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST TEST_PREFIX current-server.
    PROPERTIES LABELS "integration;current-server" TIMEOUT ${test_TIMEOUT}
               ENVIRONMENT LITECLUSTER_NATS_SERVER=${LITECLUSTER_PARTNERS}/python/bin/nats-server)
endfunction()
