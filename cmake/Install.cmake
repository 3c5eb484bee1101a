# What `cmake --install` lays down: the public headers, one static library, the program, and what other
# builds need to find them (a CMake package and a pkg-config file).
include(CMakePackageConfigHelpers)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/litecluster DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS litecluster EXPORT litecluster-targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS litecluster_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(EXPORT litecluster-targets NAMESPACE litecluster::
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/litecluster)

configure_file(${PROJECT_SOURCE_DIR}/packaging/litecluster@.service.in
  ${PROJECT_BINARY_DIR}/litecluster@.service @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/litecluster@.service DESTINATION lib/systemd/system)

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/litecluster-config.cmake.in
  ${PROJECT_BINARY_DIR}/litecluster-config.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/litecluster)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/litecluster-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/litecluster-config.cmake
              ${PROJECT_BINARY_DIR}/litecluster-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/litecluster)

# Relative to the file itself, so that it is right wherever `cmake --install --prefix` puts it.
file(RELATIVE_PATH pc_to_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
set(LITECLUSTER_PC_PREFIX "\${pcfiledir}/${pc_to_prefix}")
configure_file(${PROJECT_SOURCE_DIR}/cmake/litecluster.pc.in ${PROJECT_BINARY_DIR}/litecluster.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/litecluster.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
