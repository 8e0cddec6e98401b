# find_package(vow): the targets vow::vow (shared) and vow::vow_static. What the static library needs is
# looked for and only missed when it is linked.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(CURL QUIET IMPORTED_TARGET libcurl>=7.87)
  pkg_check_modules(SQLITE QUIET IMPORTED_TARGET sqlite3)
  pkg_check_modules(MICROHTTPD QUIET IMPORTED_TARGET libmicrohttpd)
endif()
include(${CMAKE_CURRENT_LIST_DIR}/vowTargets.cmake)
