# RISC-V boards (CV180x, CV181x; C906): static programs with musl, independent of the board's libc.
# Any gcc serves: one for musl, such as the one of the boards' vendors, or Debian's for glibc.
set(TPU_PROCESSOR riscv64)
set(TPU_GCC riscv64-unknown-linux-musl-gcc riscv64-linux-musl-gcc riscv64-linux-gnu-gcc)
set(TPU_GCC_PACKAGE gcc-riscv64-linux-gnu)
set(TPU_GCC_FLAGS "-march=rv64gc")
set(TPU_ZIG_TARGET riscv64-linux-musl)
set(TPU_ZIG_CPU generic_rv64+m+a+f+d+c)
set(TPU_STATIC ON)
include(${CMAKE_CURRENT_LIST_DIR}/board.cmake)
set(CMAKE_EXE_LINKER_FLAGS_INIT "-static")
