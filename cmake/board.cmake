# What the toolchain files share. They set:
#   TPU_PROCESSOR   CMAKE_SYSTEM_PROCESSOR
#   TPU_GCC         names of the cross gcc, best first
#   TPU_GCC_PACKAGE its Debian package
#   TPU_GCC_FLAGS   its options
#   TPU_ZIG_TARGET, TPU_ZIG_CPU
#   TPU_STATIC      static library and programs
# TPU_COMPILER (variable or environment): zig, gcc, or auto: zig where it is found, since what it
# makes runs with glibc 2.17 and later; what a gcc makes needs the glibc of its own system.
# Result: TPU_LIBC, musl or glibc. A toolchain file may add TPU_SMALL_CODE, options that make code
# smaller than -Os alone does.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${TPU_PROCESSOR})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ZIG TPU_COMPILER)
if(NOT TPU_COMPILER)
  set(TPU_COMPILER $ENV{TPU_COMPILER})
endif()
if(NOT TPU_COMPILER STREQUAL "gcc")
  include(${CMAKE_CURRENT_LIST_DIR}/zig.cmake)
endif()
if(TPU_COMPILER STREQUAL "gcc" OR NOT (ZIG OR TPU_COMPILER STREQUAL "zig"))
  find_program(TPU_CROSS_GCC_${TPU_PROCESSOR} NAMES ${TPU_GCC})
  set(TPU_CROSS_GCC ${TPU_CROSS_GCC_${TPU_PROCESSOR}})
endif()

if(TPU_CROSS_GCC)
  set(CMAKE_C_COMPILER ${TPU_CROSS_GCC})
  set(CMAKE_C_FLAGS_INIT "${TPU_GCC_FLAGS}")
  set(TPU_LIBC ${TPU_CROSS_GCC})
elseif(ZIG AND NOT TPU_COMPILER STREQUAL "gcc")
  tpu_use_zig()
  set(TPU_LIBC ${TPU_ZIG_TARGET})
else()
  message(FATAL_ERROR "no cross compiler: `pip install ziglang` (and set -DZIG=<path of zig> if it is not found), or install the Debian package ${TPU_GCC_PACKAGE}")
endif()
if(TPU_LIBC MATCHES "musl")
  set(TPU_LIBC musl)
else()
  set(TPU_LIBC glibc)
endif()

# in an SDK: TPU_SDK_LIBC, for which its library was built
include(${CMAKE_CURRENT_LIST_DIR}/libc.cmake OPTIONAL)
if(TPU_STATIC AND TPU_SDK_LIBC AND NOT TPU_SDK_LIBC STREQUAL TPU_LIBC)
  message(FATAL_ERROR "the static library of this SDK was built for ${TPU_SDK_LIBC}, and ${CMAKE_C_COMPILER} links ${TPU_LIBC}: choose the other compiler with -DTPU_COMPILER=zig or gcc, or build the SDK again")
endif()
