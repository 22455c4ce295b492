# 64-bit ARM boards with glibc 2.17 or later (CV183x, CV186x, CV181x in 64-bit ARM mode).
set(TPU_PROCESSOR aarch64)
set(TPU_GCC aarch64-linux-gnu-gcc)
set(TPU_GCC_PACKAGE gcc-aarch64-linux-gnu)
set(TPU_GCC_FLAGS "-mcpu=cortex-a53")
set(TPU_ZIG_TARGET aarch64-linux-gnu.2.17)
set(TPU_ZIG_CPU cortex_a53)
include(${CMAKE_CURRENT_LIST_DIR}/board.cmake)
