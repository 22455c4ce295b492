# `zig cc` as the C compiler: a complete cross compiler with C libraries in one Python package
# (pip install ziglang). Included by the toolchain files, which set TPU_ZIG_TARGET and TPU_ZIG_CPU.
#
#   ZIG  the program (variable or environment); otherwise `zig` on the PATH, then the Python package
if(NOT ZIG)
  set(ZIG $ENV{ZIG})
endif()
if(NOT ZIG)
  find_program(ZIG zig)
endif()
if(NOT ZIG)
  find_program(TPU_PYTHON NAMES python3 python)
  execute_process(COMMAND ${TPU_PYTHON} -c "import ziglang, os; print(os.path.join(os.path.dirname(ziglang.__file__), 'zig'))"
                  OUTPUT_VARIABLE ZIG OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT ZIG OR NOT EXISTS ${ZIG})
  message(FATAL_ERROR "no cross compiler: install the Debian package ${TPU_GCC_PACKAGE}, or `pip install ziglang` (and set -DZIG=<path of zig> if it is not found)")
endif()
set(ZIG ${ZIG} CACHE FILEPATH "the zig program")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ZIG TPU_COMPILER)

set(CMAKE_C_COMPILER ${ZIG} cc)
set(CMAKE_C_COMPILER_TARGET ${TPU_ZIG_TARGET})
set(CMAKE_C_FLAGS_INIT "-mcpu=${TPU_ZIG_CPU} -fno-sanitize=undefined")
set(CMAKE_C_COMPILER_AR ${ZIG})
set(CMAKE_C_COMPILER_RANLIB ${ZIG})
set(CMAKE_AR ${ZIG} CACHE FILEPATH "" FORCE)
set(CMAKE_RANLIB ${ZIG} CACHE FILEPATH "" FORCE)
set(CMAKE_C_ARCHIVE_CREATE "${ZIG} ar qc <TARGET> <OBJECTS>")
set(CMAKE_C_ARCHIVE_APPEND "${ZIG} ar q <TARGET> <OBJECTS>")
set(CMAKE_C_ARCHIVE_FINISH "${ZIG} ranlib <TARGET>")
