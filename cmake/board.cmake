# What the toolchain files share. They set:
#   TPU_PROCESSOR   CMAKE_SYSTEM_PROCESSOR
#   TPU_GCC         prefix of the cross gcc, e.g. aarch64-linux-gnu-
#   TPU_GCC_PACKAGE its Debian package
#   TPU_GCC_FLAGS   its options
#   TPU_ZIG_TARGET, TPU_ZIG_CPU
# TPU_COMPILER (variable or environment): gcc, zig, or auto: the gcc if it is installed, else zig.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${TPU_PROCESSOR})
if(NOT TPU_COMPILER)
  set(TPU_COMPILER $ENV{TPU_COMPILER})
endif()
find_program(TPU_CROSS_GCC_${TPU_PROCESSOR} ${TPU_GCC}gcc)
set(TPU_CROSS_GCC ${TPU_CROSS_GCC_${TPU_PROCESSOR}})
if(TPU_COMPILER STREQUAL "gcc" OR (NOT TPU_COMPILER STREQUAL "zig" AND TPU_CROSS_GCC))
  if(NOT TPU_CROSS_GCC)
    message(FATAL_ERROR "${TPU_GCC}gcc not found: install the Debian package ${TPU_GCC_PACKAGE}")
  endif()
  set(CMAKE_C_COMPILER ${TPU_CROSS_GCC})
  set(CMAKE_C_FLAGS_INIT "${TPU_GCC_FLAGS}")
else()
  include(${CMAKE_CURRENT_LIST_DIR}/zig.cmake)
endif()
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
