# 32-bit ARM boards with hardware floating point and glibc 2.17 or later (CV182x, CV183x 32-bit).
set(TPU_PROCESSOR arm)
set(TPU_GCC arm-linux-gnueabihf-gcc)
set(TPU_GCC_PACKAGE gcc-arm-linux-gnueabihf)
set(TPU_GCC_FLAGS "-march=armv7-a -mfpu=neon-vfpv4 -mfloat-abi=hard")
set(TPU_ZIG_TARGET arm-linux-gnueabihf.2.17)
set(TPU_ZIG_CPU cortex_a7)
include(${CMAKE_CURRENT_LIST_DIR}/board.cmake)
if(TPU_CROSS_GCC) # zig takes -mthumb without doing anything, and its own libraries are no Thumb code
  set(TPU_SMALL_CODE -mthumb)
else()
  set(TPU_SMALL_CODE -mcpu=${TPU_ZIG_CPU}+thumb_mode)
endif()
