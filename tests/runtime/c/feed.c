/* Loads and runs the cvimodels of a stream through the public API: the far end of
 * tests/runtime/mutants.py.
 *
 *   feed SECONDS <records >answers
 *
 * Record: u32 size, u32 options (bit 0: every tensor is an output, bit 1: a clone runs too, bits 8
 * to 15: index of the program), the bytes of the file. Answer: i32 code of the first call that
 * failed (0: Forward succeeded), u32 microseconds of CPU. A file that takes longer than SECONDS of
 * CPU ends the process with SIGVTALRM; the sanitizers it is built with judge everything else. */
#define _POSIX_C_SOURCE 200809L
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "cviruntime.h"

enum { ALL_TENSORS = 1, CLONE = 2 };

static volatile unsigned sink;

static int forward(CVI_MODEL_HANDLE model, uint32_t options) {
  if (options & ALL_TENSORS) {
    CVI_NN_SetConfig(model, OPTION_OUTPUT_ALL_TENSORS, 1);
  }
  if (options >> 8) {
    CVI_NN_SetConfig(model, OPTION_PROGRAM_INDEX, (int)(options >> 8 & 255));
  }
  CVI_TENSOR *in, *out;
  int32_t nin, nout;
  int rc = CVI_NN_GetInputOutputTensors(model, &in, &nin, &out, &nout);
  if (rc) {
    return rc;
  }
  for (int32_t i = 0; i < nin; i++) {
    memset(in[i].sys_mem, 41 * i + 7, in[i].mem_size);
  }
  rc = CVI_NN_Forward(model, in, nin, out, nout);
  for (int32_t i = 0; i < nout; i++) { /* what the caller is told must be readable */
    for (size_t j = 0; j < out[i].mem_size; j++) {
      sink += out[i].sys_mem[j];
    }
    sink += (unsigned)strlen(out[i].name);
  }
  return rc;
}

static int use(const uint8_t *data, uint32_t size, uint32_t options) {
  CVI_MODEL_HANDLE model, twin = NULL;
  int rc = CVI_NN_RegisterModelFromBuffer((const int8_t *)data, size, &model);
  if (rc) {
    return rc;
  }
  if (options & CLONE && CVI_NN_CloneModel(model, &twin) == 0) {
    forward(twin, 0);
  }
  rc = forward(model, options);
  int last = CVI_NN_CleanupModel(model);
  if (twin) {
    CVI_NN_CleanupModel(twin);
  }
  return rc ? rc : last;
}

static int64_t cpu_microseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int main(int argc, char **argv) {
  const struct itimerval limit = {{0, 0}, {argc > 1 ? atol(argv[1]) : 20, 0}};
  uint32_t head[2];
  CVI_NN_Global_SetLogLevel(0);
  while (fread(head, sizeof head, 1, stdin) == 1) {
    uint8_t *data = malloc(head[0] ? head[0] : 1); /* exact: reads behind it are noticed */
    if (!data || fread(data, 1, head[0], stdin) != head[0]) {
      return 2;
    }
    const int64_t begin = cpu_microseconds();
    setitimer(ITIMER_VIRTUAL, &limit, NULL);
    int32_t answer[2];
    answer[0] = use(data, head[0], head[1]);
    answer[1] = (int32_t)(cpu_microseconds() - begin);
    free(data);
    if (fwrite(answer, sizeof answer, 1, stdout) != 1 || fflush(stdout)) {
      return 2;
    }
  }
  return 0;
}
