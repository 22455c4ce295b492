# `zig cc` as the C compiler: a complete cross compiler with C libraries in one Python package
# (pip install ziglang). Finds ZIG and defines tpu_use_zig(); included by board.cmake.
#
#   ZIG  the program (variable or environment); otherwise `zig` on the PATH, then the Python package
if(NOT ZIG)
  set(ZIG $ENV{ZIG})
endif()
if(NOT ZIG)
  find_program(TPU_ZIG zig)
  set(ZIG ${TPU_ZIG})
endif()
if(NOT ZIG)
  find_program(TPU_PYTHON NAMES python3 python)
  if(TPU_PYTHON)
    execute_process(COMMAND ${TPU_PYTHON} -c "import ziglang, os; print(os.path.join(os.path.dirname(ziglang.__file__), 'zig'))"
                    OUTPUT_VARIABLE ZIG OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
endif()
if(ZIG AND EXISTS "${ZIG}")
  set(ZIG ${ZIG} CACHE FILEPATH "the zig program")
else()
  set(ZIG "")
endif()

macro(tpu_use_zig)
  set(CMAKE_C_COMPILER ${ZIG} cc)
  set(CMAKE_C_COMPILER_TARGET ${TPU_ZIG_TARGET})
  # without -g0 zig adds debug information to every object
  set(CMAKE_C_FLAGS_INIT "-mcpu=${TPU_ZIG_CPU} -fno-sanitize=undefined -g0")
  set(CMAKE_C_COMPILER_AR ${ZIG})
  set(CMAKE_C_COMPILER_RANLIB ${ZIG})
  set(CMAKE_AR ${ZIG} CACHE FILEPATH "" FORCE)
  set(CMAKE_RANLIB ${ZIG} CACHE FILEPATH "" FORCE)
  set(CMAKE_C_ARCHIVE_CREATE "${ZIG} ar qc <TARGET> <OBJECTS>")
  set(CMAKE_C_ARCHIVE_APPEND "${ZIG} ar q <TARGET> <OBJECTS>")
  set(CMAKE_C_ARCHIVE_FINISH "${ZIG} ranlib <TARGET>")
endmacro()
